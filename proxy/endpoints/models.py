"""Model listings: the catalog as the client API shows it.

``GET …/models`` (chat models; ``?type=embedding`` and ``?type=all`` show others) and
``GET …/models/{id}``; an id may hold dots, colons and slashes, encoded or not. The answer comes
from the snapshot; only the very first listing, and a cache that the operator switched off, are
waited for.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from proxy.bedrock.discovery import Discovery
from proxy.bedrock.learned import Learned
from proxy.catalog.resolve import KINDS, ListKind
from proxy.errors import invalid

Endpoint = Callable[[Request], Awaitable[Response]]
Entry = Mapping[str, object]


def list_models(discovery: Discovery, render: Callable[[Iterable[Entry]], bytes]) -> Endpoint:
    """The endpoint of the whole list."""

    async def endpoint(request: Request) -> Response:
        catalog = await discovery.fresh()
        return Response(render(catalog.list(_kind(request))), media_type="application/json")

    return endpoint


def one_model(discovery: Discovery, render: Callable[[Entry], bytes], learned: Learned) -> Endpoint:
    """The endpoint of one entry, with what refusals have taught about that model. Raises
    ``ProxyError`` 404 that names the nearest ids."""

    async def endpoint(request: Request) -> Response:
        catalog = await discovery.fresh()
        asked = request.path_params["model"]
        entry = catalog.find(asked)
        if entry is None:
            raise catalog.not_found(asked)
        model = catalog.resolve(asked)
        lessons = learned.shown(model.id, model.region)
        shown = entry if lessons is None else {**entry, "learned": lessons}
        return Response(render(shown), media_type="application/json")

    return endpoint


def _kind(request: Request) -> ListKind:
    asked = request.query_params.get("type", "chat")
    for kind in KINDS:
        if asked == kind:
            return kind
    raise invalid(f"Invalid value for 'type': supported values are: {', '.join(KINDS)}.", "type")
