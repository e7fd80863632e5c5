"""The door: a plain ASGI wrapper that knows who may pass, and nothing of what lies behind.

It decides on ``scope["path"]`` (normalised here, once) and never on a URL rebuilt from the Host
header: that confusion has opened other gateways. Health stays open; everything else needs the key
where one is set, unknown paths included. A refusal is sent before the body is read, and closes.

The key is compared by its SHA-256 digest in constant time, so neither content nor length leaks.
"""

import hashlib
import hmac
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from proxy.errors import ProxyError, invalid
from proxy.metrics import Metrics

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

_OPEN: Final = frozenset({"/healthz", "/readyz"})
_HEADERS: Final = frozenset({b"authorization", b"api-key", b"x-api-key"})
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")


class Guard:
    """Wraps ``app``. ``key`` ``None`` lets everyone in. ``render`` makes an error's body."""

    def __init__(
        self,
        app: App,
        *,
        key: str | None,
        metrics_public: bool,
        metrics: Metrics,
        render: Callable[[ProxyError], bytes],
    ) -> None:
        self._app = app
        self._digest = hashlib.sha256(key.encode()).digest() if key is not None else None
        self._open = _OPEN | ({"/metrics"} if metrics_public else frozenset())
        self._metrics = metrics
        self._render = render

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = path = _normal(scope["path"])
        scope["state"]["request_id"] = request_id = _request_id(scope["headers"])
        if self._digest is None or path in self._open:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["headers"], self._digest)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._metrics.rejected.labels("auth").inc()
        body = self._render(refusal)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"www-authenticate", b"Bearer"),
            (b"x-should-retry", b"false"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, headers: list[tuple[bytes, bytes]], digest: bytes) -> ProxyError | None:
        """Why these headers do not open the door."""
        shown = [(name, value) for name, value in headers if name in _HEADERS]
        if not shown:
            return _unauthorized(
                "No API key was sent: use 'Authorization: Bearer <key>' (or 'api-key')."
            )
        if len(shown) > 1:
            return _unauthorized("More than one API key was sent.")
        name, value = shown[0]
        if name == b"authorization":
            scheme, _, value = value.partition(b" ")
            if scheme.lower() != b"bearer":
                return _unauthorized("The authorization scheme must be Bearer.")
        given = hashlib.sha256(value.strip()).digest()
        if not hmac.compare_digest(given, digest):
            return _unauthorized("The API key is not valid for this proxy.")
        return None


def _unauthorized(message: str) -> ProxyError:
    return invalid(message, code="invalid_api_key", status=401)


def _normal(path: str) -> str:
    """``path`` with doubled and trailing slashes folded: misjoined base URLs are common."""
    if "//" in path:
        path = re.sub(r"/{2,}", "/", path)
    return path.rstrip("/") if len(path) > 1 else path


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The caller's ``x-request-id`` where it is safe to repeat, else one of ours."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"req_{uuid.uuid4().hex}"
