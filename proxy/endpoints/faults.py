"""Refusals and faults: what each carries beside its envelope, and how Starlette's own get it too.

Starlette's own 404 and 405, a ``ProxyError`` of a listing, and whatever nobody foresaw. A URL that
is none has a line in the log, since it is what a client's wrong base URL looks like from here; of
its path, long words (an id, a key) are not shown.
"""

import re
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from proxy.access.refusals import Refusals
from proxy.converse.masking import mask
from proxy.errors import ProxyError, invalid
from proxy.metrics import Metrics
from proxy.relay import ClientGone

_UNFIT: Final = re.compile(r"[^\x20-\x7e]")
_OTHER_CHATS: Final = ("/responses", "/messages", "/api/chat")
_INSTEAD: Final = " This proxy speaks Chat Completions: POST /v1/chat/completions."
_PROBED: Final = frozenset({"/healthz", "/health", "/readyz", "/metrics"})
_LONG_WORD: Final = re.compile(r"[^/]{25,}")


def fault_handlers(
    render: Callable[[ProxyError], bytes], metrics: Metrics, unknown: Refusals
) -> dict[Any, Any]:
    """Starlette's ``exception_handlers``; ``render`` makes an error's body, ``unknown`` writes the
    log lines of URLs that are none."""

    def answer(request: Request, error: ProxyError, headers: Mapping[str, str]) -> Response:
        shown = {**headers, "x-request-id": request.scope["state"]["request_id"]}
        shown |= {name.decode(): value.decode() for name, value in error_headers(error)}
        return Response(render(error), error.status, shown, "application/json")

    async def refused(request: Request, fault: HTTPException) -> Response:
        error = _refusal(request, fault)
        metrics.rejected.labels("unknown_url").inc()
        path, state = request.scope["path"], request.scope["state"]
        if path not in _PROBED:
            url = f"{request.method} {mask(_LONG_WORD.sub('*', path))[:200]}"
            unknown.tell(error, state["request_id"], monotonic(), state["tenant"].name, url)
        return answer(request, error, fault.headers or {})

    async def failed(request: Request, fault: ProxyError) -> Response:
        return answer(request, fault, {})

    async def left(request: Request, fault: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    async def unseen(request: Request, fault: Exception) -> Response:
        return answer(request, unforeseen(), {})

    return {HTTPException: refused, ProxyError: failed, ClientGone: left, Exception: unseen}


def _refusal(request: Request, fault: HTTPException) -> ProxyError:
    method, path = request.method, request.scope["path"][:200]
    if fault.status_code == 405:
        return invalid(f"{method} is not allowed here.", code="method_not_allowed", status=405)
    if fault.status_code == 404:
        instead = _INSTEAD if path.rstrip("/").endswith(_OTHER_CHATS) else ""
        message = f"There is no {method} {path}.{instead}"
        return invalid(message, code="unknown_url", status=404)
    return invalid(str(fault.detail), code=None, status=fault.status_code)


def error_headers(error: ProxyError) -> list[tuple[bytes, bytes]]:
    """What SDKs act upon: whether to try again, and when."""
    retryable = error.retry in {"transient", "throttle", "once"}
    headers = [(b"x-should-retry", b"true" if retryable else b"false")]
    wait = error.retry_after
    if wait is None and error.status == 429:
        wait = 1.0
    if wait is not None:
        headers.append((b"retry-after", str(max(1, int(wait + 0.999))).encode()))
    if error.upstream_id:
        headers.append((b"x-amzn-requestid", header_value(error.upstream_id)))
    return [*headers, *error.headers]


def unforeseen() -> ProxyError:
    """What a client is told of a fault of ours."""
    return ProxyError(500, "The proxy failed; the reason is in its log.", code="internal_error")


def header_value(text: str) -> bytes:
    """``text`` as a header value that cannot end its line."""
    if not (text.isascii() and text.isprintable()):
        text = _UNFIT.sub("?", text)
    return text[:4000].encode()
