"""Browser requests: which web pages may call this proxy, and which Host names it accepts.

This ASGI layer is in front of the key check. For allowed origins it answers preflights (which carry
no key) and adds CORS headers; other origins get none. Where no key is needed, on loopback, any web
page could spend the operator's money. A page whose own name resolves to 127.0.0.1 (DNS rebinding)
is recognised by its Host header, a page that posts to localhost by its Origin; both are refused
first. A request with neither header does not come from a browser.
Source: Fetch standard, *CORS protocol*; Private Network Access; RFC 9110, 7.2 (Host).
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import monotonic
from typing import Any, Final

from proxy.access.guard import request_id_of
from proxy.access.refusals import Refusals
from proxy.errors import ProxyError, invalid

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ANY: Final = "*"
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_TOKENS: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9_-]+)*")
_METHODS: Final = b"GET, POST, OPTIONS"
_DEFAULT_HEADERS: Final = b"authorization, content-type, api-key, x-api-key, x-request-id"
_EXPOSED: Final = (
    b"x-request-id, x-amzn-requestid, retry-after, retry-after-ms, x-should-retry, "
    b"x-bedrock-proxy-model, x-bedrock-proxy-notes, x-bedrock-proxy-mode, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_MAX_AGE: Final = b"600"


def parse_origins(words: Iterable[str]) -> frozenset[str]:
    """Origins as browsers send them: ``https://app.example.com``, ``http://localhost:3000``, or
    ``*``. Raises ``ValueError`` that says what to write instead."""
    origins: set[str] = set()
    for word in words:
        origin = word.strip().lower()
        if origin != ANY and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{word!r} is not an origin; write only scheme, host and port, such as "
                "https://app.example.com"
            )
        scheme, _, rest = origin.partition("://")
        default = {"https": ":443", "http": ":80"}.get(scheme, "\0")
        origins.add(f"{scheme}://{rest.removesuffix(default)}" if rest else origin)
    return frozenset(origins)


class Browser:
    """Wraps ``app``. ``origins`` are as ``parse_origins`` gives them; none: no CORS at all.

    ``guard_loopback``: no key is needed and only this machine can connect, so Host and Origin are
    checked. ``render`` makes an error's body, ``reject`` is told ``host`` or ``origin``, and
    ``refusals`` writes the log line.
    """

    def __init__(
        self,
        app: App,
        *,
        origins: frozenset[str] = frozenset(),
        guard_loopback: bool = False,
        render: Callable[[ProxyError], bytes],
        refusals: Refusals,
        reject: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._app = app
        self._origins = origins
        self._guard_loopback = guard_loopback
        self._render = render
        self._refusals = refusals
        self._reject = reject

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not (self._origins or self._guard_loopback):
            await self._app(scope, receive, send)
            return
        headers: Headers = scope["headers"]
        origin = _only(headers, b"origin")
        allowed = self._allows(origin)
        if self._guard_loopback and (refusal := self._refusal(headers, origin, allowed)):
            await self._refuse(refusal, request_id_of(headers), send)
            return
        if not self._origins or origin is None:
            await self._app(scope, receive, send)
            return
        asked = _only(headers, b"access-control-request-method")
        if scope["method"] == "OPTIONS" and asked is not None:
            await _answer_preflight(headers, self._marks(origin) if allowed else [], send)
            return
        marks = self._marks(origin) if allowed else [(b"vary", b"Origin")]
        await self._app(scope, receive, _marked(send, marks))

    def _allows(self, origin: bytes | None) -> bool:
        if origin is None or not self._origins:
            return False
        return ANY in self._origins or origin.decode("latin-1").lower() in self._origins

    def _marks(self, origin: bytes) -> Headers:
        exposed = (b"access-control-expose-headers", _EXPOSED)
        if ANY in self._origins:
            return [(b"access-control-allow-origin", b"*"), exposed]
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), exposed]

    def _refusal(self, headers: Headers, origin: bytes | None, allowed: bool) -> ProxyError | None:
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) > 1 or (hosts and not _is_loopback(hosts[0])):
            self._reject("host")
            return invalid(
                "Without an API key this proxy accepts only localhost in the Host header.",
                code="host_not_allowed",
                status=403,
            )
        if origin is not None and not allowed and not _is_loopback_origin(origin):
            self._reject("origin")
            return invalid(
                "Without an API key this proxy refuses requests from web pages of other origins; "
                "set BEDROCK_PROXY_CORS_ORIGINS to allow this one.",
                code="origin_not_allowed",
                status=403,
            )
        return None

    async def _refuse(self, refusal: ProxyError, request_id: str, send: Any) -> None:
        began, body = monotonic(), self._render(refusal)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"x-should-retry", b"false"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._refusals.tell(refusal, request_id, began)


async def _answer_preflight(headers: Headers, marks: Headers, send: Any) -> None:
    """204 with the CORS headers for an allowed origin, an empty 403 for any other."""
    answer: Headers = [*(marks or [(b"vary", b"Origin")]), (b"content-length", b"0")]
    if marks:
        wanted = _only(headers, b"access-control-request-headers") or b""
        shown = wanted if len(wanted) <= 2000 and _TOKENS.fullmatch(wanted) else _DEFAULT_HEADERS
        answer += [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", shown),
            (b"access-control-max-age", _MAX_AGE),
        ]
        if _only(headers, b"access-control-request-private-network") == b"true":
            answer.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204 if marks else 403, "headers": answer})
    await send({"type": "http.response.body", "body": b""})


def _marked(send: Any, marks: Headers) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    """``send`` that adds ``marks`` to the answer's head."""

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *marks]}
        await send(message)

    return marked


def _only(headers: Headers, name: bytes) -> bytes | None:
    """The value of a header, the first one of several (a browser sends one)."""
    return next((value for known, value in headers if known == name), None)


def _is_loopback_origin(origin: bytes) -> bool:
    _, separator, host = origin.partition(b"://")
    return bool(separator) and _is_loopback(host)


def _is_loopback(host: bytes) -> bool:
    """Whether a Host header's value (with or without port) names this machine and nothing else."""
    match = re.fullmatch(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?", host.strip())
    if match is None:
        return False
    name = match[1].decode("ascii").lower().strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
