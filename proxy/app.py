"""The composition root: the one place where components are built and connected.

``build`` takes the settings and the AWS configuration and returns a ``Service``: an ASGI app and
the handles that the server and the command line need. It does no I/O; the lifespan starts and stops
the components. Adding a client API is one line in ``_routes``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from proxy import __version__
from proxy.access.browser import Browser
from proxy.access.refusals import UNKNOWN, Refusals
from proxy.bedrock.account import Account
from proxy.bedrock.failover import Course
from proxy.bedrock.learned import Learned
from proxy.bedrock.regions import AwsConfig
from proxy.bedrock.retries import Budget
from proxy.bedrock.upstream import Call, Upstream
from proxy.defences import Defences, open_defences
from proxy.dialect import Dialect, Options
from proxy.endpoints.borders import Borders
from proxy.endpoints.explain import explaining
from proxy.endpoints.faults import fault_handlers
from proxy.endpoints.front import Front
from proxy.endpoints.gate import Gate
from proxy.endpoints.generate import Deps, Generate
from proxy.endpoints.models import each_ones, everyones, list_models, one_model
from proxy.endpoints.openapi import openapi
from proxy.endpoints.ops import healthz, metrics_page, readyz
from proxy.endpoints.question import TranslationContext
from proxy.errors import ProxyError
from proxy.logs import logger
from proxy.memory.opening import open_memory
from proxy.memory.store import Memory, NoMemory
from proxy.metrics import Metrics
from proxy.metrics.lag import LoopLag
from proxy.openai.chat.api import CHAT, chat
from proxy.openai.completions.api import completions
from proxy.openai.embeddings.api import embeddings
from proxy.openai.errors import error_body
from proxy.openai.models import render_list, render_one
from proxy.parts import client_keys, open_account
from proxy.relay import Limits
from proxy.settings import Loaded, Settings, SettingsError
from proxy.tracing import PassOn, open_spans

PREFIXES: Final = ("/v1", "", "/api/v1", "/openai/v1")

Page = Callable[[str], Awaitable[tuple[bytes, str]]]
"""An ``accept`` header to a page of metrics and its content type."""


@dataclass(frozen=True, slots=True)
class Service:
    """The assembled proxy. The server awaits ``leave``, then ``drain``, when it stops."""

    asgi: Browser
    gate: Gate
    metrics: Metrics
    account: Account
    settings: Settings
    deps: Deps
    defences: Defences
    side: Starlette | None
    """What the metrics port serves, where there is one."""
    again: Callable[[], Loaded] | None
    _door: Refusals

    def refused(self, error: ProxyError) -> None:
        """Count and log a request that the server refused as invalid HTTP."""
        self.metrics.rejected.labels("malformed").inc()
        self._door.tell(error, "", time.monotonic())

    async def leave(self) -> None:
        """Report not ready; keep listening for the pre-stop time."""
        self.gate.leaving = True
        await asyncio.sleep(self.settings.pre_stop)

    async def drain(self) -> None:
        await self.gate.drain(self.settings.drain_timeout)

    def reload(self) -> None:
        """SIGHUP: reload the API keys and the aliases. Streams are not touched."""
        if self.defences.keys is not None:
            self.defences.keys.reload()
        if self.again is not None:
            try:
                aliases = self.again().settings.aliases
            except SettingsError as fault:
                logger.warning("SIGHUP: the aliases were not reloaded: %s", fault)
            else:
                self.account.discovery.rename(dict(aliases))


def build(
    loaded: Loaded,
    aws: AwsConfig,
    *,
    mode: str = "aws",
    engine: httpx.AsyncBaseTransport | None = None,
    page: Page | None = None,
) -> Service:
    """Assemble the proxy. ``engine`` replaces the network (a test's ``httpx.MockTransport``),
    ``page`` renders the metrics of several workers. Raises ``SettingsError`` for settings that
    exclude each other."""
    settings, environment = loaded.settings, loaded.environment
    metrics = Metrics(
        version=__version__, mode=mode, stream_limit=settings.max_streams,
        key_label=settings.metrics_key_label,
    )  # fmt: skip
    account = open_account(settings, environment, aws, engine, metrics)
    gate = Gate(metrics, settings.max_streams, max(256_000_000, 8 * _max_body(settings)))
    defences = open_defences(loaded, account, aws, metrics, engine)
    deps = _deps(settings, account, metrics, gate, defences.borders, mode)
    report = _report(mode, account, defences)
    prefixes = tuple(dict.fromkeys((*PREFIXES, settings.route_prefix or "")))
    health, figures = _operator_routes(gate, report, page or metrics.page)
    beside = settings.metrics_port is not None
    # Where any key is let in to be judged by AWS, none of them opens the figures.
    hidden = beside or (settings.client_keys and not settings.metrics_public)
    routes = _routes(_spoken(settings), deps, account, prefixes)
    served = [
        *routes,
        *(_explain_routes(deps, account, prefixes) if settings.explain else ()),
        *health,
        *(() if hidden else figures),
    ]
    app = Starlette(
        routes=[*served, _described(served)],
        exception_handlers=fault_handlers(error_body, metrics, Refusals(UNKNOWN)),
        lifespan=_lifespan(account, deps, defences, LoopLag(metrics.loop_lag.observe)),
    )
    app.router.redirect_slashes = False
    door = Refusals()
    asgi = defences.around(Front(app, routes), metrics, error_body, door)
    side = Starlette(routes=[*health, *figures]) if beside else None
    return Service(asgi, gate, metrics, account, settings, deps, defences, side, loaded.again, door)


def _lifespan(
    account: Account, deps: Deps, defences: Defences, lag: LoopLag
) -> Callable[[Starlette], Any]:
    """Starts and stops what runs beside the requests."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        account.start()
        await defences.open()
        lag.start()
        logger.info(deps.context.memory.describe())
        try:
            yield {}
        finally:
            lag.stop()
            await defences.close()
            await deps.context.memory.close()
            await account.close()
            await asyncio.to_thread(deps.tracing.close)

    return lifespan


def _deps(
    settings: Settings,
    account: Account,
    metrics: Metrics,
    gate: Gate,
    borders: Borders,
    mode: str,
) -> Deps:
    discovery, targets = account.discovery, account.targets
    budget = Budget(time.monotonic)

    def course(call: Call) -> Course:
        return targets.course(call.model_id, call.region, call.elsewhere, call.authorizer)

    return Deps(
        upstream=Upstream(course, metrics, budget, settings.first_byte_timeout),
        resolver=discovery,
        nearest=lambda name: discovery.snapshot.nearest(name),
        context=TranslationContext(
            _options(settings),
            Learned(time.monotonic, settings.repair_ttl),
            remembering(settings),
            lambda name, learned: metrics.repaired(name, learned=learned),
        ),
        limits=_limits(settings),
        gate=gate,
        metrics=metrics,
        borders=borders,
        max_body=_max_body(settings),
        tracing=open_spans(__version__) if settings.tracing else PassOn(),
        clients=client_keys(settings, account),
        headers={b"x-bedrock-proxy-mode": b"simulator"} if mode == "simulator" else {},
    )


def remembering(settings: Settings) -> Memory:
    """The memory of these settings, not connected to anything yet. Raises ``SettingsError``."""
    if not settings.memory:
        return NoMemory()
    if settings.workers > 1 and settings.valkey_url is None:
        raise SettingsError(
            f"{settings.workers} workers cannot share a memory without Valkey: a client's next"
            " request may reach another worker, which does not know its reasoning.\n\n"
            "  export BEDROCK_PROXY_VALKEY_URL=redis://localhost:6379/0\n"
            "  export BEDROCK_PROXY_VALKEY_KEY=$(openssl rand -hex 32)\n\n"
            "or use --no-memory if your clients send reasoning_details back or use no reasoning."
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


def _spoken(settings: Settings) -> Mapping[str, Dialect]:
    """The client APIs, by their path below a prefix."""
    return {
        "chat/completions": chat(),
        "completions": completions(CHAT),
        "embeddings": embeddings(settings.default_embedding_model),
    }


def _routes(
    apis: Mapping[str, Dialect], deps: Deps, account: Account, prefixes: Sequence[str]
) -> Sequence[Route]:
    spoken = {path: Generate(dialect, deps) for path, dialect in apis.items()}
    catalog_for = everyones(account.discovery) if deps.clients is None else each_ones(deps.clients)
    listing = list_models(catalog_for, render_list)
    single = one_model(catalog_for, render_one, deps.context.learned)
    routes: list[Route] = []
    for prefix in prefixes:
        routes += (Route(f"{prefix}/{path}", api, methods=["POST"]) for path, api in spoken.items())
        routes.append(Route(f"{prefix}/models", listing, methods=["GET"]))
        routes.append(Route(f"{prefix}/models/{{model:path}}", single, methods=["GET"]))
    return routes


def _explain_routes(deps: Deps, account: Account, prefixes: Sequence[str]) -> Sequence[Route]:
    endpoint = explaining(CHAT, deps, account.discovery, account.targets)
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


def _described(served: Sequence[Route]) -> Route:
    """The document of what is served."""
    path = "/openapi.json"
    paths = {one.path.replace(":path}", "}") for one in served}
    return Route(path, openapi(__version__, paths | {path}), methods=["GET"])


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


def _report(
    mode: str, account: Account, defences: Defences
) -> Callable[[], tuple[bool, Mapping[str, object]]]:
    """What readiness tells."""

    def report() -> tuple[bool, Mapping[str, object]]:
        now = account.state()
        credentials = {"mode": now.mode, "source": now.source, "ok": now.ok, "error": now.error}
        listed = account.discovery.state()
        catalog = {"enabled": listed.enabled, "models": listed.models, "at": listed.at,
                   "failed": listed.failed}  # fmt: skip
        others = [(one.name, one.state()) for one in account.identities[1:]]
        targets = [
            {"name": name, "ok": state.ok, "source": state.source, "error": state.error}
            for name, state in others
        ]
        return now.ok and defences.ready, {
            "mode": mode, "region": account.region, "credentials": credentials, "catalog": catalog,
            "keys": {"ok": defences.ready},
            **({"targets": targets} if targets else {}),
        }  # fmt: skip

    return report
