"""The HTTP engine below the transport: what opens connections to AWS.

``WireEngine`` is the default; ``httpx.AsyncHTTPTransport`` is the conservative alternative, used if
the environment names an HTTP proxy, or by a setting. Both pass the same contract tests.
Certificates are always verified (``AWS_CA_BUNDLE`` as botocore reads it, else certifi's bundle),
redirects never followed, bodies never decoded. Any call may need a connection that was never used
before, so engines come in pairs that share one TLS context.
"""

import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple

import httpx

from proxy.bedrock.wire import WireEngine

KEEP: Final = 256
"""Idle connections that are kept. The number in use is bounded by the answers under way, not here:
a pool that makes requests wait would hide an overload."""
_IDLE: Final = 50.0
"""Seconds that an idle connection is kept; AWS closes them after about a minute."""


class Engines(NamedTuple):
    """``fresh`` never reuses a connection."""

    pooled: httpx.AsyncBaseTransport
    fresh: httpx.AsyncBaseTransport


def open_engines(environment: Mapping[str, str], host: str, kind: str = "fast") -> Engines:
    """A pair of engines for ``host``; ``kind`` is ``fast`` or ``httpx``.

    Raises ``ValueError`` that names the variable which cannot be followed.
    """
    context, proxy = _trust(environment), _proxy(environment, host)
    if kind == "fast" and proxy is None:
        return Engines(
            WireEngine(context, keep=KEEP, keepalive_expiry=_IDLE), WireEngine(context, keep=0)
        )
    try:
        return Engines(proven_engine(context, KEEP, proxy), proven_engine(context, 0, proxy))
    except ImportError:
        raise ValueError("HTTPS_PROXY: a SOCKS proxy needs the package socksio") from None
    except (ValueError, httpx.InvalidURL):  # whose words may hold the proxy's password
        raise ValueError("HTTPS_PROXY: must be like http://host:3128") from None


def proven_engine(
    context: ssl.SSLContext, keep: int, proxy: str | None = None
) -> httpx.AsyncHTTPTransport:
    """httpx's own engine, without anything of the environment's."""
    return httpx.AsyncHTTPTransport(
        verify=context,
        http1=True,
        http2=False,
        trust_env=False,
        retries=0,
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=keep, keepalive_expiry=_IDLE
        ),
        proxy=None if proxy is None else httpx.Proxy(proxy),
    )


def _trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    bundle = environment.get("AWS_CA_BUNDLE")
    if not bundle:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=bundle)
    except ssl.SSLError:
        raise ValueError(f"AWS_CA_BUNDLE: {bundle} contains no certificates") from None
    except OSError as fault:
        raise ValueError(f"AWS_CA_BUNDLE: {bundle}: {fault.strerror}") from None


def _proxy(environment: Mapping[str, str], host: str) -> str | None:
    """The HTTP proxy for ``host``, by ``HTTPS_PROXY`` and ``NO_PROXY`` in either case."""
    lower = {name.lower(): value.strip() for name, value in environment.items()}
    proxy = lower.get("https_proxy", "")
    if not proxy or _is_spared(host, lower.get("no_proxy", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_spared(host: str, names: str) -> bool:
    """Whether ``host`` is one of the names of a ``NO_PROXY`` list, or below one; ``*`` is all."""
    for name in names.lower().split(","):
        name = name.strip()
        bare = name.removeprefix("*").lstrip(".")
        if name == "*" or (bare and (host == bare or host.endswith(f".{bare}"))):
            return True
    return False
