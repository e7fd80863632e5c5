"""Model listings: the catalog as the client API shows it.

``GET …/models`` (chat models; ``?type=embedding`` and ``?type=all`` show others) and
``GET …/models/{id}``; an id may hold dots, colons and slashes, encoded or not. The answer comes
from the snapshot; only the very first listing, and a cache that the operator switched off, are
waited for.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from proxy.bedrock.client_keys import ClientKeys
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.learned import Learned
from proxy.catalog.resolve import KINDS, Catalog, ListKind
from proxy.endpoints.body import headers_of
from proxy.errors import invalid

Endpoint = Callable[[Request], Awaitable[Response]]
Entry = Mapping[str, object]
CatalogFor = Callable[[Request], Awaitable[Catalog]]
"""The catalog that whoever sent the request may see."""


def everyones(discovery: Discovery) -> CatalogFor:
    """The same for everybody."""
    return lambda request: discovery.fresh()


def each_ones(clients: ClientKeys) -> CatalogFor:
    """Each client's own. Raises ``ProxyError`` 401 or 403."""

    async def catalog_for(request: Request) -> Catalog:
        return await clients.catalog(clients.caller(headers_of(request.scope)))

    return catalog_for


def list_models(catalog_for: CatalogFor, render: Callable[[Iterable[Entry]], bytes]) -> Endpoint:
    """The endpoint of the whole list."""

    async def endpoint(request: Request) -> Response:
        catalog = await catalog_for(request)
        return Response(render(catalog.list(_kind(request))), media_type="application/json")

    return endpoint


def one_model(
    catalog_for: CatalogFor, render: Callable[[Entry], bytes], learned: Learned
) -> Endpoint:
    """The endpoint of one entry, with what refusals have taught about that model. Raises
    ``ProxyError`` 404 that names the nearest ids."""

    async def endpoint(request: Request) -> Response:
        catalog = await catalog_for(request)
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
