"""AWS-facing components from the settings: identities, targets, and what may be called.

Settings become the plain values that the packages below are built from. Nothing is requested or
started here: identities resolve credentials, and discovery lists models, once the ``Account`` is
started.
"""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final

import httpx

from proxy.bedrock.account import Account, Identity, by_chain, by_key
from proxy.bedrock.chain import Role
from proxy.bedrock.client_keys import ClientKeys
from proxy.bedrock.credentials import Observer
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.engine import Engines, open_engines
from proxy.bedrock.failover import Circuits
from proxy.bedrock.regions import AwsConfig, choose_region, endpoint, known_geographies
from proxy.bedrock.targets import Backup, Targets
from proxy.catalog.entries import Options as CatalogOptions
from proxy.errors import ProxyError
from proxy.metrics import Metrics
from proxy.metrics.news import DiscoveryNews, credentials_news
from proxy.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

_GEOGRAPHY: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,4})?")
"""The form of those there are, but for ``global``: a region or a capital is a slip."""
_CLIENTS_LISTING: Final = 300.0
"""Seconds for which a client's own listing is kept at most: its key may be revoked meanwhile."""


def runtime_region(
    settings: Settings, environment: Mapping[str, str], aws: AwsConfig
) -> tuple[str, str]:
    """The region that calls go to and where that was said. Who only says where to list means to
    call there, too."""
    region, origin = choose_region(settings.region, environment, aws.region)
    if origin == "default" and settings.discovery_region:
        return settings.discovery_region[0], "discovery_region"
    return region, origin


def open_account(
    settings: Settings,
    environment: Mapping[str, str],
    aws: AwsConfig,
    engine: httpx.AsyncBaseTransport | None,
    metrics: Metrics,
) -> Account:
    """Raises ``SettingsError``."""
    region, _ = runtime_region(settings, environment, aws)
    own = _own(settings, environment, region, partial(credentials_news, metrics))
    others, backups = _backups(settings, environment, metrics)
    given = {"bedrock-runtime": settings.runtime_endpoint, "bedrock": settings.control_endpoint}
    endpoints = {**aws.endpoints, **{name: url for name, url in given.items() if url}}
    aws = replace(aws, endpoints=endpoints)
    base = endpoints.get("bedrock-runtime") or endpoint("bedrock-runtime", region)
    host = httpx.URL(base).host
    engines = Engines(engine, engine) if engine else network(environment, host, settings.engine)
    targets = Targets(
        region, aws, *engines,
        own.authorizer_for, Circuits(time.monotonic), backups,
    )  # fmt: skip
    discovery = _discovery(settings, region, targets, metrics, own)
    return Account(region, targets, discovery, (own, *others), settings.client_keys)


def _own(
    settings: Settings, environment: Mapping[str, str], region: str, observe: Observer
) -> Identity:
    try:
        by_bearer = by_key(environment, observe)
    except ProxyError as fault:
        raise SettingsError(f"AWS_BEARER_TOKEN_BEDROCK: {fault.message}") from None
    return by_bearer or by_chain(
        environment, region, observe, profile=settings.profile, role=_role(settings)
    )


def network(environment: Mapping[str, str], host: str, kind: str = "fast") -> Engines:
    """What opens connections to ``host``. Raises ``SettingsError``."""
    try:
        return open_engines(environment, host, kind)
    except ValueError as fault:
        raise SettingsError(str(fault)) from None


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


def _geographies(settings: Settings) -> tuple[str, ...] | None:
    """The residency policy; ``None``: there is none. A prefix that is not known here may be newer
    than this proxy: then it is logged, for it may be a slip as well. Raises ``SettingsError`` for
    what can be no prefix."""
    known = (*known_geographies(), "none")
    told = f"known are {', '.join(known)}"
    for one in settings.geographies:
        if one in known:
            continue
        if not _GEOGRAPHY.fullmatch(one):
            raise SettingsError(f"geographies: {one!r} is not the prefix of a profile; {told}")
        logger.warning("geographies: %r is not a geography known to this proxy; %s", one, told)
    return settings.geographies or None


def client_keys(settings: Settings, account: Account) -> ClientKeys | None:
    if not settings.client_keys:
        return None
    keep = min(settings.refresh_interval, _CLIENTS_LISTING)
    return ClientKeys(account.targets.list_as, account.discovery, keep)


def _discovery(
    settings: Settings, region: str, targets: Targets, metrics: Metrics, own: Identity
) -> Discovery:
    listed = settings.discovery_region or (region,)
    return Discovery(
        targets.list,
        CatalogOptions(
            regions=tuple(dict.fromkeys((region, *listed))),
            failover=tuple(dict.fromkeys(row.region for row in settings.targets)),
            provider_filter=settings.provider_filter,
            include_legacy=settings.include_legacy,
            default_context_window=settings.default_context_window,
            default_max_tokens=settings.default_max_tokens,
            geographies=_geographies(settings),
            manual=settings.manual,
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
