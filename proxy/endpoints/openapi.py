"""``GET /openapi.json``: the API described in OpenAPI 3.1, for clients' generators and for people.

The document is kept by hand beside this file, and a test holds it to the routes, to the fields that
are read, and to real answers. What is not served here is taken out of it. It stands behind the key
like everything else.
"""

from collections.abc import Awaitable, Callable, Collection
from importlib.resources import files
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Awaitable[Response]]


def openapi(version: str, served: Collection[str]) -> Endpoint:
    """``served`` are the paths that are, with one prefix: ``/v1/models/{model}``."""
    body = orjson.dumps(document(version, served))

    async def endpoint(request: Request) -> Response:
        return Response(body, media_type="application/json")

    return endpoint


def document(version: str, served: Collection[str]) -> dict[str, Any]:
    """The document of this release."""
    text = files("proxy.endpoints").joinpath("openapi.json").read_bytes()
    found: dict[str, Any] = orjson.loads(text)
    found["info"]["version"] = version
    found["paths"] = {path: one for path, one in found["paths"].items() if path in served}
    return found
