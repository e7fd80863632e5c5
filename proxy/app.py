"""The one place where parts are built and joined; the lifespan starts and stops them.

``build`` takes what was read (settings, AWS configuration) and returns a ``House``: an ASGI app and
the few handles that the server and the command line need. It does no IO. Adding a client API is one
line in ``_routes``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from proxy import __version__
from proxy.access.guard import Guard
from proxy.bedrock.account import Account, Identity, by_chain, by_key
from proxy.bedrock.chain import Role
from proxy.bedrock.client_keys import ClientKeys
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.engine import Engines, open_engines
from proxy.bedrock.failover import Circuits, Course
from proxy.bedrock.learned import Learned
from proxy.bedrock.regions import AwsConfig, choose_region, endpoint
from proxy.bedrock.retries import Budget
from proxy.bedrock.targets import Backup, Targets
from proxy.bedrock.upstream import Call, Upstream
from proxy.catalog.entries import ManualModel
from proxy.catalog.entries import Options as CatalogOptions
from proxy.dialect import Dialect, Options
from proxy.endpoints.explain import explaining
from proxy.endpoints.faults import fault_handlers
from proxy.endpoints.gate import Gate
from proxy.endpoints.generate import Generate, Shop
from proxy.endpoints.models import each_ones, everyones, list_models, one_model
from proxy.endpoints.ops import healthz, metrics_page, readyz
from proxy.endpoints.question import Desk
from proxy.logs import logger
from proxy.memory.opening import open_memory
from proxy.memory.store import Memory, NoMemory
from proxy.metrics import Metrics
from proxy.metrics.lag import LoopLag
from proxy.metrics.news import DiscoveryNews, credentials_news
from proxy.openai.chat.api import CHAT
from proxy.openai.completions.api import completions
from proxy.openai.embeddings.api import EMBEDDINGS
from proxy.openai.errors import error_body
from proxy.openai.models import render_list, render_one
from proxy.relay import Limits
from proxy.settings import Loaded, Settings, SettingsError
from proxy.tracing import PassOn, open_spans

PREFIXES: Final = ("/v1", "", "/api/v1", "/openai/v1")
SPOKEN: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        "chat/completions": CHAT,
        "completions": completions(CHAT),
        "embeddings": EMBEDDINGS,
    }
)
"""The client APIs, by their path below a prefix."""
_LISTING_LIMIT: Final = 32_000_000

Page = Callable[[str], Awaitable[tuple[bytes, str]]]
"""An ``accept`` header to a page of metrics and its content type."""


@dataclass(frozen=True, slots=True)
class House:
    """The built proxy. ``leave`` and ``drain`` are what the server awaits when it stops."""

    asgi: Guard
    gate: Gate
    metrics: Metrics
    account: Account
    settings: Settings
    shop: Shop
    side: Starlette | None
    """What the metrics port serves, where there is one."""

    async def leave(self) -> None:
        """Not ready any more; still listening for the pre-stop time."""
        self.gate.leaving = True
        await asyncio.sleep(self.settings.pre_stop)

    async def drain(self) -> None:
        await self.gate.drain(self.settings.drain_timeout)

    def reload(self) -> None:
        """SIGHUP: nothing here is read from files that change while running."""
        logger.info("SIGHUP: nothing to reload")


def build(
    loaded: Loaded,
    aws: AwsConfig,
    *,
    mode: str = "aws",
    engine: httpx.AsyncBaseTransport | None = None,
    page: Page | None = None,
) -> House:
    """Join the parts. ``engine`` replaces the network (a test's ``httpx.MockTransport``), ``page``
    gives the metrics of several workers. Raises ``SettingsError`` for settings that do not go
    together."""
    settings, environment = loaded.settings, loaded.environment
    metrics = Metrics(
        version=__version__, mode=mode, stream_limit=settings.max_streams,
        key_label=settings.metrics_key_label,
    )  # fmt: skip
    account = _open_account(settings, environment, aws, engine, metrics)
    gate = Gate(metrics, settings.max_streams, max(256_000_000, 8 * _max_body(settings)))
    shop = _shop(settings, account, metrics, gate, mode)
    report = _report(mode, account)
    prefixes = tuple(dict.fromkeys((*PREFIXES, settings.route_prefix or "")))
    health, figures = _operator_routes(gate, report, page or metrics.page)
    beside = settings.metrics_port is not None
    # Where any key is let in to be judged by AWS, none of them opens the figures.
    hidden = beside or (settings.client_keys and not settings.metrics_public)
    app = Starlette(
        routes=[
            *_routes(shop, account, prefixes),
            *(_explain_routes(shop, account, prefixes) if settings.explain else ()),
            *health,
            *(() if hidden else figures),
        ],
        exception_handlers=fault_handlers(error_body),
        lifespan=_lifespan(account, shop, LoopLag(metrics.loop_lag.observe)),
    )
    app.router.redirect_slashes = False
    guard = Guard(
        app,
        key=settings.api_key,
        metrics_public=settings.metrics_public,
        metrics=metrics,
        render=error_body,
    )
    side = Starlette(routes=[*health, *figures]) if beside else None
    return House(guard, gate, metrics, account, settings, shop, side)


def _lifespan(account: Account, shop: Shop, lag: LoopLag) -> Callable[[Starlette], Any]:
    """What runs while the house is served."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        account.start()
        lag.start()
        logger.info(shop.desk.memory.describe())
        try:
            yield {}
        finally:
            lag.stop()
            await shop.desk.memory.close()
            await account.close()
            await asyncio.to_thread(shop.tracing.close)

    return lifespan


def runtime_region(
    settings: Settings, environment: Mapping[str, str], aws: AwsConfig
) -> tuple[str, str]:
    """The region that calls go to and where that was said. Who only says where to list means to
    call there, too."""
    region, origin = choose_region(settings.region, environment, aws.region)
    if origin == "default" and settings.discovery_region:
        return settings.discovery_region[0], "discovery_region"
    return region, origin


def _open_account(
    settings: Settings,
    environment: Mapping[str, str],
    aws: AwsConfig,
    engine: httpx.AsyncBaseTransport | None,
    metrics: Metrics,
) -> Account:
    region, _ = runtime_region(settings, environment, aws)
    own = by_key(environment, partial(credentials_news, metrics)) or by_chain(
        environment, region, partial(credentials_news, metrics),
        profile=settings.profile, role=_role(settings),
    )  # fmt: skip
    others, backups = _backups(settings, environment, metrics)
    given = {"bedrock-runtime": settings.runtime_endpoint, "bedrock": settings.control_endpoint}
    endpoints = {**aws.endpoints, **{name: url for name, url in given.items() if url}}
    aws = replace(aws, endpoints=endpoints)
    host = httpx.URL(endpoint("bedrock-runtime", region)).host
    engines = (
        Engines(engine, engine) if engine else open_engines(environment, host, settings.engine)
    )
    targets = Targets(
        region, aws, *engines,
        own.authorizer_for, Circuits(time.monotonic), backups,
    )  # fmt: skip
    discovery = _discovery(settings, region, targets, metrics, own)
    return Account(region, targets, discovery, (own, *others), settings.client_keys)


def _role(settings: Settings) -> Role | None:
    if settings.role_arn is None:
        return None
    return Role(settings.role_arn, settings.role_external_id, settings.role_session_name)


def _backups(
    settings: Settings, environment: Mapping[str, str], metrics: Metrics
) -> tuple[Sequence[Identity], Sequence[Backup]]:
    """The fail-over targets, and who is somebody else there."""
    identities: list[Identity] = []
    backups: list[Backup] = []
    for place, row in enumerate(settings.targets, start=1):
        name, identity = f"targets[{place}] {row.region}", None
        if row.profile or row.role_arn:

            def observe(source: str, outcome: str, expiry: float | None, name: str = name) -> None:
                credentials_news(metrics, f"{name} {source}", outcome, expiry)

            role = row.role_arn and Role(row.role_arn, row.external_id, settings.role_session_name)
            other = by_chain(
                environment, row.region, observe, profile=row.profile, role=role or None, name=name
            )
            identities.append(other)
            identity = other.authorizer_for
        backups.append(Backup(name, row.region, identity, row.endpoint))
    return identities, backups


def _shop(settings: Settings, account: Account, metrics: Metrics, gate: Gate, mode: str) -> Shop:
    discovery, targets = account.discovery, account.targets
    budget = Budget(time.monotonic)

    def course(call: Call) -> Course:
        return targets.course(call.model_id, call.region, call.elsewhere, call.authorizer)

    return Shop(
        upstream=Upstream(course, metrics, budget, settings.first_byte_timeout),
        resolver=discovery,
        nearest=lambda name: discovery.snapshot.nearest(name),
        desk=Desk(
            _options(settings),
            Learned(time.monotonic, settings.repair_ttl),
            remembering(settings),
            lambda name, learned: metrics.repaired(name, learned=learned),
        ),
        limits=_limits(settings),
        gate=gate,
        metrics=metrics,
        max_body=_max_body(settings),
        tracing=open_spans(__version__) if settings.tracing else PassOn(),
        clients=_clients(settings, account),
        headers=((b"x-bedrock-proxy-mode", b"simulator"),) if mode == "simulator" else (),
    )


def remembering(settings: Settings) -> Memory:
    """The memory of these settings, not connected to anything yet. Raises ``SettingsError``."""
    if not settings.memory:
        return NoMemory()
    if settings.workers > 1 and settings.valkey_url is None:
        raise SettingsError(
            f"{settings.workers} workers cannot remember together: a client's next request may"
            " reach another worker, which does not know its reasoning.\n\n"
            "  export BEDROCK_PROXY_VALKEY_URL=redis://localhost:6379/0\n"
            "  export BEDROCK_PROXY_VALKEY_KEY=$(openssl rand -hex 32)\n\n"
            "or say --no-memory if your clients send reasoning_details back, or never think."
        )
    try:
        return open_memory(
            room=int(settings.memory_mb * 1_000_000),
            ttl=settings.memory_ttl,
            url=settings.valkey_url,
            secret=settings.valkey_key,
        )
    except ValueError as fault:
        raise SettingsError(str(fault)) from None


def _routes(shop: Shop, account: Account, prefixes: Sequence[str]) -> Sequence[Route]:
    spoken = {path: Generate(dialect, shop) for path, dialect in SPOKEN.items()}
    catalog_for = everyones(account.discovery) if shop.clients is None else each_ones(shop.clients)
    listing = list_models(catalog_for, render_list)
    single = one_model(catalog_for, render_one, shop.desk.learned)
    routes: list[Route] = []
    for prefix in prefixes:
        routes += (Route(f"{prefix}/{path}", api, methods=["POST"]) for path, api in spoken.items())
        routes.append(Route(f"{prefix}/models", listing, methods=["GET"]))
        routes.append(Route(f"{prefix}/models/{{model:path}}", single, methods=["GET"]))
    return routes


def _explain_routes(shop: Shop, account: Account, prefixes: Sequence[str]) -> Sequence[Route]:
    endpoint = explaining(CHAT, shop, account.discovery, account.targets)
    return [Route(f"{prefix}/explain", endpoint, methods=["POST"]) for prefix in prefixes]


def _operator_routes(
    gate: Gate, report: Callable[[], tuple[bool, Mapping[str, object]]], page: Page
) -> tuple[Sequence[Route], Sequence[Route]]:
    """Health, and metrics."""
    health = (
        *(Route(path, healthz, methods=["GET"]) for path in ("/healthz", "/health")),
        Route("/readyz", readyz(gate, report), methods=["GET"]),
    )
    return health, (Route("/metrics", metrics_page(page), methods=["GET"]),)


def _clients(settings: Settings, account: Account) -> ClientKeys | None:
    if not settings.client_keys:
        return None
    return ClientKeys(account.targets.list_as, account.discovery, settings.refresh_interval)


def _discovery(
    settings: Settings, region: str, targets: Targets, metrics: Metrics, own: Identity
) -> Discovery:
    listed = settings.discovery_region or (region,)
    manual = (ManualModel(**{f.name: getattr(row, f.name) for f in fields(row)})
              for row in settings.manual)  # fmt: skip
    return Discovery(
        targets.list,
        CatalogOptions(
            regions=tuple(dict.fromkeys((region, *listed))),
            failover=tuple(dict.fromkeys(row.region for row in settings.targets)),
            provider_filter=settings.provider_filter,
            include_legacy=settings.include_legacy,
            default_context_window=settings.default_context_window,
            default_max_tokens=settings.default_max_tokens,
            geographies=settings.geographies or None,
            manual=tuple(manual),
            aliases=MappingProxyType(dict(settings.aliases)),
            default_model=settings.default_model,
            default_embedding_model=settings.default_embedding_model,
            application_profiles=settings.application_profiles,
        ),
        regions=listed,
        interval=settings.refresh_interval,
        # Where clients bring their own keys, we may well have none.
        enabled=settings.enabled if settings.enabled is not None else not settings.client_keys,
        identity=own.credentials.identity if own.credentials is not None else lambda: None,
        observer=DiscoveryNews(metrics, settings.refresh_interval),
    )


def _options(settings: Settings) -> Options:
    return Options(
        strict=settings.strict,
        forward_user=settings.forward_user,
        stream_usage=settings.stream_usage,
        reasoning_as=settings.reasoning_as,
        auto_cache=settings.auto_cache,
        max_choices=settings.max_choices,
        usage_cost=settings.usage_cost,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        grace=settings.grace,
        stall=settings.stall_timeout,
        total=settings.total_timeout,
        keepalive=settings.keepalive_interval,
        heartbeat=settings.heartbeat_interval,
    )


def _max_body(settings: Settings) -> int:
    return int(settings.max_body_mb * 1_000_000)


def _report(mode: str, account: Account) -> Callable[[], tuple[bool, Mapping[str, object]]]:
    """What readiness tells."""

    def report() -> tuple[bool, Mapping[str, object]]:
        now = account.state()
        credentials = {"mode": now.mode, "source": now.source, "ok": now.ok, "error": now.error}
        listed = account.discovery.state()
        catalog = {"enabled": listed.enabled, "models": listed.models, "at": listed.at,
                   "failed": listed.failed}  # fmt: skip
        return now.ok, {
            "mode": mode, "region": account.region, "credentials": credentials, "catalog": catalog,
        }  # fmt: skip

    return report
