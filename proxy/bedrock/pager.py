"""One region's listings, page by page, within one deadline and one limit of calls for all of them.

Pagination repeats ``nextToken`` until it is absent. An empty page may carry one; a token that was
seen before would loop for ever and ends the listing. A page may have any shape: what is not a list
of objects counts as empty.
Source: Amazon Bedrock API reference, the List calls of the control plane.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import httpx
import orjson

from proxy.catalog.entries import Summary
from proxy.errors import ProxyError

Call = Callable[[str, str, Mapping[str, str]], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""A signed GET on the control plane: region, encoded path, query (not encoded) to status, headers,
body. May raise ``ProxyError``, ``OSError`` (so also ``TimeoutError``) or ``httpx.TransportError``.
"""

_PAGES: Final = 50
_CALLS: Final = 96
"""Calls of one refresh in one region, over all its listings."""
_AT_ONCE: Final = 4


class Source(NamedTuple):
    """One listing: the ``Listing`` field it fills, its path and query, the key of its items."""

    field: str
    path: str
    query: tuple[tuple[str, str], ...]
    key: str


class Answer(NamedTuple):
    """What one listing gave: ``items`` is ``None`` if nothing of it was had."""

    items: tuple[Summary, ...] | None
    failure: str = ""


class Pager:
    """Reads the pages of a region's listings within one deadline and one count of calls."""

    def __init__(self, call: Call, region: str, deadline: float) -> None:
        self._call = call
        self._region = region
        self._deadline = deadline
        self._left = _CALLS
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def read(self, source: Source) -> Answer:
        """Every page, up to the cap. What a fault or the deadline left is given with its reason."""
        items: list[Summary] = []
        failure = ""
        try:
            async with asyncio.timeout_at(self._deadline), self._gate:
                failure = await self._pages(source, items)
        except (ProxyError, OSError, httpx.TransportError, ValueError) as fault:
            failure = reason_of(fault)
            if not items:
                return Answer(None, failure)
        return Answer(tuple(items), failure)

    async def _pages(self, source: Source, items: list[Summary]) -> str:
        token: str | None = None
        seen: set[str] = set()
        for _ in range(_PAGES):
            if self._left <= 0:
                return "cap"
            self._left -= 1
            query = dict(source.query) | ({"nextToken": token} if token else {})
            page = await fetch(self._call, self._region, source.path, query)
            found = page.get(source.key)
            found = found if isinstance(found, list) else ()
            items.extend(item for item in found if isinstance(item, dict))
            token = page.get("nextToken")
            if not isinstance(token, str) or not token:
                return ""
            if token in seen:
                return "repeated"
            seen.add(token)
        return "cap"


async def fetch(call: Call, region: str, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
    """One answer's JSON object. Raises ``ProxyError`` with the reason of a refusal."""
    status, _, body = await call(region, path, query)
    if status != 200:
        reason = {403: "denied", 404: "absent", 429: "throttled"}.get(status, f"status {status}")
        raise ProxyError(502, f"the control plane answered {status}", reason=reason)
    parsed = orjson.loads(body)
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")
    return parsed


def reason_of(fault: BaseException) -> str:
    """A short word for a listing's failure."""
    if isinstance(fault, ProxyError):
        return "denied" if fault.status == 403 else fault.reason
    if isinstance(fault, TimeoutError | httpx.TimeoutException):
        return "timeout"
    return "malformed" if isinstance(fault, ValueError) else "unreachable"
