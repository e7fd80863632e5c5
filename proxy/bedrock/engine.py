"""The engine below the seam: what really opens connections to AWS.

``httpx.AsyncHTTPTransport`` is the proven one. It verifies certificates always (``AWS_CA_BUNDLE``
as botocore reads it, else certifi's bundle), never follows a redirect, never decodes a body, and
goes through the operator's HTTP proxy where the environment names one, as AWS's own tools do.
"""

import ssl
from collections.abc import Mapping

import httpx


def open_engine(
    environment: Mapping[str, str], host: str, *, keep: int
) -> httpx.AsyncHTTPTransport:
    """An engine for ``host`` that keeps at most ``keep`` idle connections (0: never reuses one).

    The number of connections is bounded by the answers under way, not here: a pool that makes
    requests wait would hide an overload.
    """
    proxy = _proxy(environment, host)
    return httpx.AsyncHTTPTransport(
        verify=_trust(environment),
        http1=True,
        http2=False,
        trust_env=False,
        retries=0,
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=keep, keepalive_expiry=50.0
        ),
        proxy=None if proxy is None else httpx.Proxy(proxy),
    )


def _trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    bundle = environment.get("AWS_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle) if bundle else httpx.create_ssl_context()


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
