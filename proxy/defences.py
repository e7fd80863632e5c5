"""Keys, limits, fixed parameters, remote media and browser checks, built from the settings.

Settings become the values that ``endpoints/borders.py``, the guard and the browser check are built
from. Nothing is read or connected here: keys are loaded, and limits reach their server, once the
``Defences`` are opened and used. Settings that exclude each other are a ``SettingsError`` that says
what to write instead.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from proxy.access.browser import ANY, Browser, parse_origins
from proxy.access.guard import Guard
from proxy.access.key_sources import (
    FileSource,
    SecretPlace,
    SecretSource,
    secret_call,
    secret_place,
    secret_text,
)
from proxy.access.keyfile import KeysError, read_guardrail, read_metadata
from proxy.access.keys import KeyStore
from proxy.access.limits import LocalLimiter
from proxy.access.quota import Limiter
from proxy.access.refusals import Refusals
from proxy.access.shared_limits import SharedLimiter
from proxy.access.tenant import Allowance, Tenant
from proxy.bedrock.account import Account
from proxy.bedrock.credentials import Credentials, SigV4
from proxy.bedrock.engine import open_engines
from proxy.bedrock.regions import AwsConfig, endpoint
from proxy.bedrock.transport import Outgoing, SignedTransport, read_whole
from proxy.endpoints.borders import Borders
from proxy.errors import ProxyError
from proxy.media.fetch import Fetcher
from proxy.metrics import Metrics
from proxy.settings import Loaded, Settings, SettingsError
from proxy.valkey import connect

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

_EVERYONE: Final = "everyone"
_SECRET_LIMIT: Final = 4_000_000
_SECRET_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Defences:
    """``told`` is for the start-up line: where limits are counted; "" if there are none."""

    borders: Borders
    keys: KeyStore | None
    told: str
    _settings: Settings
    _engine: httpx.AsyncBaseTransport | None

    def around(
        self,
        app: App,
        metrics: Metrics,
        render: Callable[[ProxyError], bytes],
        refusals: Refusals,
    ) -> Browser:
        """``app`` behind the door, and the door behind the browser check."""
        settings = self._settings
        guard = Guard(
            app,
            keys=self.keys,
            metrics_public=settings.metrics_public,
            metrics=metrics,
            render=render,
            refusals=refusals,
        )
        # With --no-auth on loopback something in front asks for keys, and sends its own Host.
        alone = self.keys is None and not settings.client_keys and not settings.no_auth
        return Browser(
            guard,
            origins=_origins(settings),
            guard_loopback=alone and is_loopback(settings.host),
            render=render,
            refusals=refusals,
            reject=lambda reason: metrics.rejected.labels(reason).inc(),
        )

    async def open(self) -> None:
        """Read the keys: a file now, or nothing is served; keys in AWS as soon as they can be had,
        since AWS may be what is slow. Raises ``KeysError``."""
        if self.keys is None:
            return
        if self._engine is None:
            await self.keys.load()
        self.keys.start()
        if self._engine is not None:
            self.keys.reload()

    @property
    def ready(self) -> bool:
        """Whether keys can be told."""
        return self.keys is None or self.keys.ready

    async def close(self) -> None:
        if self.keys is not None:
            await self.keys.close()
        if self._engine is not None:
            await self._engine.aclose()
        if self.borders.fetcher is not None:
            self.borders.fetcher.close()
        await self.borders.limiter.close()


def open_defences(
    loaded: Loaded,
    account: Account,
    aws: AwsConfig,
    metrics: Metrics,
    engine: httpx.AsyncBaseTransport | None = None,
) -> Defences:
    """``engine`` replaces the network between us and AWS. Raises ``SettingsError``."""
    settings = loaded.settings
    _check_origins(settings)
    place = _place(settings)
    if place is None:
        network, keys = None, _keys(settings, metrics, None)
    else:
        url = secret_url(place, account.region, aws)
        network = engine or open_engines(loaded.environment, httpx.URL(url).host).fresh
        fetch = _fetching(place, url, _signing(place, account, network))
        keys = _keys(settings, metrics, fetch)
    overall = Allowance(
        settings.max_concurrent,
        settings.requests_per_minute,
        settings.tokens_per_minute,
        settings.daily_budget_usd,
    )
    limiter = _limiter(settings, overall)
    borders = Borders(metrics, limiter, overall, _fixed(settings), _fetcher(settings, metrics))
    return Defences(borders, keys, limits_told(settings), settings, network)


def limits_told(settings: Settings) -> str:
    """Where limits are counted, if there can be any: for the start-up line. Keys have limits of
    their own, which may come while we run."""
    limits = (
        settings.max_concurrent, settings.requests_per_minute, settings.tokens_per_minute,
        settings.daily_budget_usd,
    )  # fmt: skip
    if settings.keys is None and not any(limits):
        return ""
    if settings.valkey_url is None:
        many = f", by each of {settings.workers} workers for itself" if settings.workers > 1 else ""
        return LocalLimiter().describe() + many
    away = "each process counts for itself"
    if settings.limits_fail == "closed":
        away = "requests are refused"
    return f"limits are shared in Valkey/Redis; while it is unreachable, {away}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _keys(
    settings: Settings, metrics: Metrics, fetch: Callable[[], Awaitable[str]] | None
) -> KeyStore | None:
    source: FileSource | SecretSource | None = None
    if settings.keys is not None:
        path = settings.keys
        source = FileSource(Path(path)) if fetch is None else SecretSource(path, fetch)
    if source is None and settings.api_key is None:
        return None
    return KeyStore(
        source,
        single=settings.api_key,
        observe=lambda outcome: metrics.key_reloads.labels(outcome).inc(),
    )


def _place(settings: Settings) -> SecretPlace | None:
    try:
        return None if settings.keys is None else secret_place(settings.keys)
    except KeysError as fault:
        raise SettingsError(f"keys: {fault}") from None


def secret_url(place: SecretPlace, own: str, aws: AwsConfig) -> str:
    """Where the place is asked; ``own`` is our region. Secrets Manager has no second name for
    dual-stack, and SSM in GovCloud none for FIPS. Raises ``SettingsError``."""
    region = place.region or own
    dual = aws.dualstack and place.service == "ssm"
    fips = aws.fips and (dual or place.service != "ssm" or "us-gov" not in region)
    configured = aws.endpoints.get(place.service)
    try:
        return (configured or endpoint(place.service, region, fips, dual)) + "/"
    except ValueError as fault:
        raise SettingsError(f"keys: {fault}") from None


def _signing(
    place: SecretPlace, account: Account, engine: httpx.AsyncBaseTransport
) -> SignedTransport:
    credentials: Credentials | None = account.credentials
    if credentials is None:
        raise SettingsError(
            f"keys: {place.service} cannot be read with a Bedrock API key; use AWS credentials "
            "(a profile, a role), or a keys file"
        )
    region = place.region or account.region
    return SignedTransport(engine, SigV4(credentials, region, place.service))


def _fetching(
    place: SecretPlace, url: str, transport: SignedTransport
) -> Callable[[], Awaitable[str]]:
    call = secret_call(place)

    async def fetch() -> str:
        request = Outgoing("POST", httpx.URL(url), call.body)
        request.add(call.headers)
        try:
            async with asyncio.timeout(_SECRET_SECONDS):
                reply = await transport.send(request)
                body = await read_whole(reply, _SECRET_LIMIT)
        except TimeoutError:
            raise KeysError(f"{place.service} did not answer in time") from None
        return secret_text(place, reply.status, body)

    return fetch


def _limiter(settings: Settings, overall: Allowance) -> Limiter:
    if settings.valkey_url is None:
        return LocalLimiter(overall)
    try:
        client, faults = connect(settings.valkey_url, text=True)
    except ValueError as fault:
        raise SettingsError(str(fault)) from None
    return SharedLimiter(client, faults, overall, fail_open=settings.limits_fail == "open")


def _fixed(settings: Settings) -> Tenant:
    """What is fixed for all, in the shape of a tenant."""
    guardrail: Mapping[str, str] | None = None
    try:
        if settings.guardrail is not None:
            name, _, version = settings.guardrail.rpartition(":")
            guardrail = read_guardrail({"guardrailIdentifier": name, "guardrailVersion": version})
        pairs = dict(settings.request_metadata)
        metadata = read_metadata(pairs) if pairs else {}
    except ValueError as fault:
        raise SettingsError(f"{fault}") from None
    return Tenant(
        _EVERYONE,
        guardrail=guardrail,
        request_metadata=metadata,
        service_tier=settings.service_tier,
    )


def _fetcher(settings: Settings, metrics: Metrics) -> Fetcher | None:
    """Only for those who were let in by a key of ours: nobody else's errands are run."""
    guarded = settings.api_key is not None or settings.keys is not None
    if settings.fetch_media == "off" or not guarded:
        return None
    return Fetcher(
        hosts=settings.media_hosts,
        observe=lambda outcome: metrics.image_fetches.labels(outcome).inc(),
    )


def _origins(settings: Settings) -> frozenset[str]:
    try:
        return parse_origins(settings.cors_origins)
    except ValueError as fault:
        raise SettingsError(f"cors_origins: {fault}") from None


def _check_origins(settings: Settings) -> None:
    guarded = settings.api_key is not None or settings.keys is not None or settings.client_keys
    if ANY in _origins(settings) and not guarded:
        raise SettingsError(
            "cors_origins: `*` lets any web page spend your money; set a key, or name the origins"
        )
