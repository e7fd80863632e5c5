"""The short way to the endpoints that answer most requests: POST, and the path exactly.

Starlette's router finds the same endpoint for them; on its way stand layers that catch exceptions,
each a coroutine around every ``send``. These endpoints tell their clients of faults themselves, so
a table is enough. Whatever else is asked (a wrong method, a listing, an unknown path) goes on to
Starlette.
"""

from collections.abc import Awaitable, Iterable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from proxy.endpoints.generate import Generate


class Front:
    """Wraps ``app``; ``routes`` are its own."""

    def __init__(self, app: Starlette, routes: Iterable[Route]) -> None:
        self._app = app
        self._endpoints = {
            route.path: route.endpoint for route in routes if isinstance(route.endpoint, Generate)
        }

    def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> Awaitable[None]:
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
        answering: Awaitable[None] = (endpoint or self._app)(scope, receive, send)
        return answering
