"""Clients that send their own Bedrock API keys: calls on their behalf, and the models they see.

The client's key is passed on to AWS and not stored. What is cached, for a while and for that client
only, is its catalog, under a digest of the key. A chat never waits for a listing: names are
resolved from the cached catalog, else from the built-in table. A problem with the key is reported
to the client: 401 if AWS does not know it, 403 if it lacks a permission.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx
import orjson

from proxy.bedrock.bearer import Bearer
from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.lookups import learn
from proxy.bedrock.pager import Call
from proxy.catalog.entries import Learned
from proxy.catalog.model import Model
from proxy.catalog.resolve import Catalog
from proxy.converse.exceptions import from_response
from proxy.errors import ProxyError

_HEADERS: Final = ("authorization", "api-key", "x-api-key")
_KEPT: Final = 256
_LOOKUP_LIMIT: Final = 3.0
_UNKNOWN_FOR: Final = 300.0
"""Seconds for which an ARN that was asked about in vain is not asked about again."""
_REFUSED: Final = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class Caller:
    """One client. ``mark`` is a digest of its key, to tell clients apart by."""

    bearer: Bearer
    mark: str


@dataclass(slots=True)
class _Kept:
    catalog: Catalog
    until: float


class ClientKeys:
    """``list_as`` makes a control-plane call of somebody; ``keep`` is how long a listing is kept,
    in seconds (0: every reader of the list asks)."""

    def __init__(
        self,
        list_as: Callable[[Authorizer], Call],
        discovery: Discovery,
        keep: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._list_as = list_as
        self._discovery = discovery
        self._keep = keep
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._vain: dict[tuple[str, str], float] = {}

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who asks, by the (lower-case) headers. Raises ``ProxyError`` 401."""
        shown = next((headers[name] for name in _HEADERS if headers.get(name)), "")
        scheme, _, rest = shown.partition(" ")
        key = (rest if scheme.lower() == "bearer" else shown).strip()
        if not key:
            raise ProxyError(
                401, "Send your Amazon Bedrock API key: 'Authorization: Bearer <key>'.",
                type="invalid_request_error", code="invalid_api_key",
            )  # fmt: skip
        return Caller(Bearer(key), hashlib.sha256(key.encode()).hexdigest())

    async def catalog(self, caller: Caller) -> Catalog:
        """What this client may list. Raises ``ProxyError``: 401, 403, or why AWS was not asked."""
        kept = self._kept.get(caller.mark)
        if kept is not None and self._clock() < kept.until:
            return kept.catalog
        asking = _Asking(self._list_as(caller.bearer))
        catalog = await self._discovery.ask(asking)
        if not asking.answered:
            raise asking.fault()
        self._keep_for(caller, catalog, self._keep)
        return catalog

    async def resolve(self, name: str, caller: Caller) -> Model:
        """See ``Catalog.resolve``. What an opaque ARN stands for is asked once, with its key."""
        kept = self._kept.get(caller.mark)
        catalog = ours = self._discovery.snapshot
        if kept is not None:  # the operator's aliases are those of now, whenever it was listed
            catalog = replace(kept.catalog, options=ours.options)
        arn = catalog.needs_lookup(name)
        if arn is not None and self._clock() >= self._vain.get((caller.mark, arn), 0.0):
            learned = await self._look(arn, caller)
            if learned is None:
                self._put_off(caller, arn)
            else:
                catalog = catalog.learn(arn, learned)
                self._keep_for(caller, catalog, 0.0 if kept is None else kept.until - self._clock())
        return catalog.resolve(name)

    def nearest(self, name: str) -> tuple[str, ...]:
        """Of nobody's listing: names from our own table only."""
        return self._discovery.snapshot.nearest(name)

    async def _look(self, arn: str, caller: Caller) -> Learned | None:
        """``None``: it could not be had, and the name is tried as an unknown model's."""
        call = self._list_as(caller.bearer)

        async def get(region: str, path: str) -> Mapping[str, Any]:
            status, _, body = await call(region, path, {})
            found = orjson.loads(body) if status == 200 else None
            return found if isinstance(found, dict) else {}

        try:
            async with asyncio.timeout(_LOOKUP_LIMIT):
                return await learn(arn, get)
        except (ProxyError, OSError, httpx.TransportError, ValueError):
            return None

    def _put_off(self, caller: Caller, arn: str) -> None:
        self._vain[caller.mark, arn] = self._clock() + _UNKNOWN_FOR
        if len(self._vain) > _KEPT:
            del self._vain[next(iter(self._vain))]

    def _keep_for(self, caller: Caller, catalog: Catalog, seconds: float) -> None:
        self._kept[caller.mark] = _Kept(catalog, self._clock() + seconds)
        self._kept.move_to_end(caller.mark)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


class _Asking:
    """A control-plane call that remembers how it went: a listing forgives refusals one by one,
    but a key that is refused everywhere is no key."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._faults: list[ProxyError] = []
        self.answered = False

    async def __call__(
        self, region: str, path: str, query: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            status, headers, body = await self._call(region, path, query)
        except ProxyError as fault:
            self._faults.append(fault)
            raise
        if status == 200:
            self.answered = True
        elif status in _REFUSED:
            self._faults.append(from_response(status, headers, body))
        return status, headers, body

    def fault(self) -> ProxyError:
        """Why there is no listing: the key itself, if it was ever refused as such."""
        for fault in self._faults:
            if fault.retry == "credentials":
                return ProxyError(
                    401, "Amazon Bedrock does not accept this API key.",
                    type="invalid_request_error", code="invalid_api_key",
                    upstream_id=fault.upstream_id,
                )  # fmt: skip
        denied = [fault for fault in self._faults if fault.status == 403]
        if denied:
            return denied[0]
        unreachable = "Amazon Bedrock's model listings could not be reached."
        return (*self._faults, ProxyError(502, unreachable, code="upstream_unreachable"))[0]
