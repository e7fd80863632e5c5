"""Model listings: the catalog as the client API shows it.

``GET …/models`` (chat models; ``?type=embedding`` and ``?type=all`` show others) and
``GET …/models/{id}``; an id may hold dots, colons and slashes, encoded or not. The answer comes
from the snapshot; only the very first listing, and a cache that the operator switched off, are
waited for. Each request has its line in the log, and is in no metric: these are of answers.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from proxy.access.tenant import Tenant
from proxy.bedrock.client_keys import ClientKeys
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.learned import Learned
from proxy.catalog.names import no_model
from proxy.catalog.resolve import KINDS, Catalog, ListKind
from proxy.converse.masking import mask
from proxy.endpoints.body import headers_of
from proxy.endpoints.borders import names_of
from proxy.errors import ProxyError, invalid
from proxy.logs import request_line
from proxy.metrics import Record

_UNKNOWN: Final = "it is not one of the models that this API key may use"

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
        tenant: Tenant = request.scope["state"]["tenant"]
        entries = [one for one in catalog.list(_kind(request)) if _shown_to(tenant, one)]
        return Response(render(entries), media_type="application/json")

    return _told(endpoint)


def one_model(
    catalog_for: CatalogFor, render: Callable[[Entry], bytes], learned: Learned
) -> Endpoint:
    """The endpoint of one entry, with what refusals have taught about that model. Raises
    ``ProxyError`` 404: names the nearest ids, or nothing but that this key has no such model."""

    async def endpoint(request: Request) -> Response:
        catalog = await catalog_for(request)
        tenant: Tenant = request.scope["state"]["tenant"]
        asked = request.path_params["model"]
        entry = catalog.find(asked)
        if entry is None:
            raise no_model(asked, _UNKNOWN) if tenant.models else catalog.not_found(asked)
        model = catalog.resolve(asked)
        if not tenant.may_use(*names_of(model)):
            raise no_model(asked, _UNKNOWN)
        lessons = learned.shown(model.id, model.region)
        shown = entry if lessons is None else {**entry, "learned": lessons}
        return Response(render(shown), media_type="application/json")

    return _told(endpoint)


def _told(endpoint: Endpoint) -> Endpoint:
    """``endpoint`` with the request's id and a line in the log. A name is shown once it is found
    to be a model's."""

    async def telling(request: Request) -> Response:
        state = request.scope["state"]
        record = Record(
            "models", request_id=state["request_id"], key=state["tenant"].name,
            began=monotonic(), status=500, code="internal_error",
        )  # fmt: skip
        shown = ""
        try:
            response = await endpoint(request)
        except ProxyError as error:
            record.status, record.code = error.status, error.code or error.type
            raise
        else:
            response.headers["x-request-id"] = record.request_id
            record.status, record.code = response.status_code, "ok"
            shown = mask(request.path_params.get("model", ""))
            return response
        finally:
            record.ended = monotonic()
            request_line(record, shown, "")

    return telling


def _shown_to(tenant: Tenant, entry: Entry) -> bool:
    return tenant.may_use(str(entry["id"]), str(entry.get("foundation") or ""))


def _kind(request: Request) -> ListKind:
    asked = request.query_params.get("type", "chat")
    for kind in KINDS:
        if asked == kind:
            return kind
    raise invalid(f"Invalid value for 'type': supported values are: {', '.join(KINDS)}.", "type")
