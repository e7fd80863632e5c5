"""Authentication: a plain ASGI wrapper around the app, which decides who may pass.

It decides on ``scope["path"]`` (normalised here, once), never on a URL rebuilt from the Host
header; that confusion has opened other gateways. Health checks stay open; if any key is configured,
everything else needs one, unknown paths included. A refusal is sent before the body is read and
closes the connection.

The app inside identifies the caller by ``scope["state"]["tenant"]`` only; the key is not passed on.
It is compared by its SHA-256 digest in constant time (``keys.py``), so neither its content nor its
length leaks.
"""

import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from secrets import token_hex
from time import monotonic
from typing import Any, Final

from proxy.access.keys import KeyStore, invalid_key
from proxy.access.refusals import Refusals
from proxy.access.tenant import ANYONE, Tenant
from proxy.errors import ProxyError
from proxy.metrics import Metrics

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

_OPEN: Final = frozenset({"/healthz", "/health", "/readyz"})
_HEADERS: Final = frozenset({b"authorization", b"api-key", b"x-api-key"})
_ANYONE: Final = Tenant(ANYONE)
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")


class Guard:
    """Wraps ``app``. ``keys`` maps a key to its tenant; ``key`` is short for a store of that one.
    With neither, everyone is let in. ``render`` makes an error's body, ``refusals`` log lines."""

    def __init__(
        self,
        app: App,
        *,
        key: str | None = None,
        keys: KeyStore | None = None,
        metrics_public: bool,
        metrics: Metrics,
        render: Callable[[ProxyError], bytes],
        refusals: Refusals,
    ) -> None:
        self._app = app
        self._keys = KeyStore(single=key) if keys is None and key is not None else keys
        self._open = _OPEN | ({"/metrics"} if metrics_public else frozenset())
        self._metrics = metrics
        self._render = render
        self._refusals = refusals

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = path = _normal(scope["path"])
        scope["state"]["request_id"] = request_id = request_id_of(scope["headers"])
        scope["state"]["tenant"] = _ANYONE
        if self._keys is None or path in self._open:
            await self._app(scope, receive, send)
            return
        began = monotonic()
        try:
            scope["state"]["tenant"] = await self._keys.lookup(_shown(scope["headers"]))
        except ProxyError as refusal:
            await self._refuse(refusal, request_id, send)
            self._refusals.tell(refusal, request_id, began)
            return
        await self._app(scope, receive, send)

    async def _refuse(self, refusal: ProxyError, request_id: str, send: Any) -> None:
        self._metrics.rejected.labels("auth").inc()
        body = self._render(refusal)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"x-should-retry", b"false" if refusal.retry == "never" else b"true"),
            (b"connection", b"close"),
        ]
        if refusal.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if refusal.retry_after is not None:
            headers.append((b"retry-after", str(math.ceil(refusal.retry_after)).encode()))
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _shown(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The one key in these headers. Raises ``ProxyError`` 401.

    Some clients send the same key twice, as ``api-key`` too (Continue, in case it is Azure).
    """
    shown = [(name, value) for name, value in headers if name in _HEADERS and value.strip()]
    if not shown:
        raise invalid_key("No API key was sent: use 'Authorization: Bearer <key>' (or 'api-key').")
    keys = {_key_in(name, value) for name, value in shown}
    if len(keys) > 1 or len({name for name, _ in shown}) < len(shown):
        raise invalid_key("More than one API key was sent.")
    return keys.pop()


def _key_in(name: bytes, value: bytes) -> bytes:
    if name == b"authorization":
        scheme, _, value = value.partition(b" ")
        if scheme.lower() != b"bearer":
            raise invalid_key("The authorization scheme must be Bearer.")
    return value.strip()


def _normal(path: str) -> str:
    """``path`` with doubled and trailing slashes folded: misjoined base URLs are common."""
    if "//" in path:
        path = re.sub(r"/{2,}", "/", path)
    return path.rstrip("/") if len(path) > 1 else path


def request_id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """The caller's ``x-request-id`` where it is safe to repeat, else one of ours."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"req_{token_hex(16)}"
