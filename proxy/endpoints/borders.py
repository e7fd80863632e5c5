"""What a client may do once the door has let it in: its models, its limits, its media, and what the
operator has fixed for it.

The door (``access/guard.py``) says who asks; here that is applied to one request, in this order:
may it use the model, is there room for it, and only then are the files fetched that it links to. So
nobody spends anything, not even a name look-up, that he was not given.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from proxy.access.quota import Demand, Lease, Limiter, LimitExceeded
from proxy.access.tenant import Allowance, Tenant
from proxy.catalog.model import Model
from proxy.dialect import Dialect, Linked, Options, Request
from proxy.endpoints.gate import Held
from proxy.endpoints.question import price_of
from proxy.errors import ProxyError
from proxy.media.fetch import Fetcher, Wanted
from proxy.metrics import Metrics, Record


@dataclass(frozen=True, slots=True)
class Borders:
    """``overall`` limits all tenants together, ``fixed`` holds for each that has nothing of its
    own. Without a ``fetcher`` no URL is followed."""

    metrics: Metrics
    limiter: Limiter
    overall: Allowance
    fixed: Tenant
    fetcher: Fetcher | None = None

    def options(self, options: Options, tenant: Tenant) -> Options:
        """``options`` with the parameters fixed for ``tenant``: its own, else the global ones.
        Metadata pairs are merged."""
        fixed = self.fixed
        pairs = {**fixed.request_metadata, **tenant.request_metadata}
        guardrail = tenant.guardrail or fixed.guardrail
        tier = tenant.service_tier or fixed.service_tier
        if not (pairs or guardrail or tier):
            return options
        return replace(
            options,
            guardrail=guardrail,
            request_metadata=MappingProxyType(pairs),
            service_tier=tier,
        )

    def check_model(self, tenant: Tenant, model: Model) -> None:
        """Raises ``ProxyError`` 403 for a model that is not the tenant's."""
        if not tenant.models:
            return
        try:
            tenant.check_model(model.name, *names_of(model))
        except ProxyError:
            self.metrics.rejected.labels("model_not_allowed").inc()
            raise

    async def admit(
        self, dialect: Dialect, request: Request, model: Model, tenant: Tenant, *, large: bool
    ) -> Lease:
        """Reserve what the request may use. Raises ``ProxyError``: 429 over a limit, 503 if limits
        cannot be told."""
        if tenant.allowance.unlimited and self.overall.unlimited:
            return Lease(None)
        if large:
            weight = await asyncio.to_thread(dialect.weigh, request, model)
        else:
            weight = dialect.weigh(request, model)
        price = price_of(model) or {}
        cost = weight.input * price.get("input", 0.0) + weight.output * price.get("output", 0.0)
        demand = Demand(tenant.name, tenant.allowance, weight.input, weight.output, cost / 1e6)
        try:
            return await self.limiter.admit(demand)
        except LimitExceeded as over:
            reason = "budget" if over.code == "insufficient_quota" else "rate_limit"
            self.metrics.rejected.labels(reason).inc()
            raise

    async def with_media(self, dialect: Dialect, request: Request, held: Held) -> Request:
        """The request with the files in it that it links to, accounted for in ``held``. Raises
        ``ProxyError`` 400 for a URL that must not or cannot be followed."""
        if self.fetcher is None:
            return request
        links = dialect.links(request)
        if not links:
            return request
        fetched = await self.fetcher.fetch_all([Wanted(*link) for link in links])
        held.more(sum(len(one.data) for one in fetched.values()))
        found: Mapping[str, Linked] = {
            url: Linked(one.data, one.content_type) for url, one in fetched.items()
        }
        filled: Request = await asyncio.to_thread(dialect.linked, request, found)
        return filled


def names_of(model: Model) -> tuple[str, ...]:
    """What allowlists are matched against: the id that is called, and the operator's own name for
    it. Names that a client can make up (routing prefixes, another ``gpt-*``) do not count."""
    return (model.known_as, model.id, model.foundation)


def within(tenant: Tenant, model: Model) -> Model:
    """``model`` without the fail-over ids that the tenant may not use: a key for ``us.*`` does not
    reach another geography because ours is busy."""
    if not tenant.models or not model.elsewhere:
        return model
    alias = model.known_as if model.known_as != model.id else ""
    kept = {
        region: called
        for region, called in model.elsewhere.items()
        if tenant.may_use(alias, called, model.foundation)
    }
    return replace(model, elsewhere=MappingProxyType(kept))


class Settling:
    """Books what the answer made within has used. One that broke off has used up what was reserved:
    Bedrock bills it and did not say how much. So has one that nobody waited for. One that never
    began, by Bedrock's doing, has used nothing."""

    __slots__ = ("_lease", "_record")

    def __init__(self, lease: Lease, record: Record) -> None:
        self._lease = lease
        self._record = record

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *more: object) -> None:
        record, whole = self._record, kind is None
        used = sum(record.tokens)
        if whole and used:
            self._lease.settle(used, record.cost)
        elif whole or record.first_event or record.abandoned:
            self._lease.settle(None)
