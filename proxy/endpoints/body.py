"""A request's head and body: the body is judged by its head, then read up to a limit.

What can be refused without reading is refused without reading: an encoded body, a form, a declared
length over the limit. Such an answer closes the connection, since the body is still on its way.
Source: RFC 9110, 8.4 (content codings) and 15.5.14 to 15.5.16 (413, 415).
"""

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

from proxy.errors import ProxyError, invalid
from proxy.relay import ClientGone, Receive

_JSON: Final = re.compile(r"[^/]+/(?:x-)?(?:[^/]+\+)?json")
"""``application/json`` and its kin. What a web form can send is none of them, so that a page of
another origin cannot post here without asking first."""
_DEADLINES: Final = ("x-stainless-read-timeout", "x-stainless-timeout")


def headers_of(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """The request's headers by lower-case name (ASGI's are); of a repeated one, the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def judge_head(headers: Mapping[str, str], limit: int) -> None:
    """Refuse what need not be read. Raises ``ProxyError`` 413 or 415."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise invalid(
            f"Request bodies must not be encoded; this one is {coding[:20]!r}.",
            code="unsupported_encoding",
            status=415,
        )
    kind = headers.get("content-type", "")
    if kind != "application/json":
        kind = kind.split(";")[0].strip().lower()
    if kind and kind != "application/json" and not _JSON.fullmatch(kind):
        raise invalid(
            f"The request body must be application/json, not {kind[:60]!r}.",
            code="unsupported_media_type",
            status=415,
        )
    length = headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > limit:
        raise _too_large(limit)


def own_deadline(headers: Mapping[str, str]) -> float:
    """Seconds after which the client itself gives up, where its SDK says so."""
    for name in _DEADLINES:
        value = headers.get(name, "")
        if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value) and float(value) > 0:
            return float(value)
    return float("inf")


async def read_body(receive: Receive, limit: int, more: Callable[[int], None]) -> bytes:
    """The whole body, at most ``limit`` bytes; ``more`` is told of each part as it comes, and may
    refuse it. Raises ``ProxyError`` 413 or ``ClientGone``."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        if part:
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            more(len(part))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> ProxyError:
    return invalid(
        f"The request body is over the limit of {limit} bytes.",
        code="request_too_large",
        status=413,
    )
