"""Model discovery: pages through the control plane's listings and swaps in a new catalog.

It runs beside the requests, never in them. A chat reads ``snapshot``; only ``GET /v1/models`` may
wait, for the very first listing or if the operator turned caching off. There is one refresh at a
time; each listing may be denied, fail or hang independently, and then keeps its last result.
Without any listing the catalog resolves names from the built-in table.

``lookup`` finds the model behind an ARN that does not name it (an application profile). Source:
Amazon Bedrock API reference, the List and Get calls of the control plane (paged: ``pager.py``).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import httpx

from proxy.bedrock.lookups import learn
from proxy.bedrock.pager import Answer, Call, Pager, Source, fetch, reason_of
from proxy.bedrock.regions import geographies
from proxy.bedrock.resolved import Resolved
from proxy.catalog.entries import Learned, Listing, Options, Summary
from proxy.catalog.listing import build
from proxy.catalog.model import Model
from proxy.catalog.resolve import Catalog
from proxy.errors import ProxyError
from proxy.tasks import tell

logger = logging.getLogger(__name__)

_PAUSES: Final = (5.0, 15.0, 60.0, 300.0)
"""Seconds between refreshes while all listings fail."""
_WATCH: Final = 60.0
_LOOKUP_LIMIT: Final = 3.0
_LOOKUPS_AT_ONCE: Final = 4
_UNKNOWN_FOR: Final = 300.0
_KEPT: Final = 2048

_MOST: Final = (("maxResults", "1000"),)
SOURCES: Final = (
    Source("foundation_models", "/foundation-models", (), "modelSummaries"),
    Source("system_profiles", "/inference-profiles", (*_MOST, ("type", "SYSTEM_DEFINED")),
           "inferenceProfileSummaries"),
    Source("application_profiles", "/inference-profiles", (*_MOST, ("type", "APPLICATION")),
           "inferenceProfileSummaries"),
    Source("provisioned", "/provisioned-model-throughputs", _MOST, "provisionedModelSummaries"),
    Source("custom_models", "/custom-models", _MOST, "modelSummaries"),
    Source("deployments", "/model-customization/custom-model-deployments", _MOST,
           "modelDeploymentSummaries"),
    Source("imported", "/imported-models", _MOST, "modelSummaries"),
    Source("marketplace", "/marketplace-model/endpoints", _MOST, "marketplaceModelEndpoints"),
)  # fmt: skip


class Observer(Protocol):
    """Called after each refresh of a region; for metrics."""

    def refreshed(self, region: str, outcome: str, seconds: float) -> None:
        """``ok``, ``partial`` (a listing failed otherwise than by being denied) or ``error``."""

    def listed(self, region: str, kind: str, count: int) -> None:
        """How many ``foundation`` models and ``profile`` s the region listed."""

    def succeeded(self, region: str, at: float) -> None:
        """The unix time of a refresh that was not an ``error``."""


class Unobserved:
    """An ``Observer`` that does nothing."""

    def refreshed(self, region: str, outcome: str, seconds: float) -> None: ...
    def listed(self, region: str, kind: str, count: int) -> None: ...
    def succeeded(self, region: str, at: float) -> None: ...


@dataclass(frozen=True, slots=True)
class State:
    """What readiness and ``doctor`` may know. ``at``: unix time of the last good refresh.
    ``failed``: short reasons by ``region/listing``, as ``denied`` or ``timeout``."""

    enabled: bool
    at: float | None
    refreshing: bool
    models: int
    failed: Mapping[str, str]


_Good = dict[tuple[str, str], tuple[Summary, ...]]


class Discovery:
    """Keeps ``snapshot`` current. ``interval`` in seconds; 0: each ``fresh`` asks.

    ``regions``: where to list (default: all of ``options.regions``). ``limit``: seconds for one
    refresh; ``patience``: seconds that a reader of the list waits for one. ``identity`` tells
    whose listing it is: when that changes (another account, another source of credentials), it is
    fetched anew and nothing of the old one is kept.
    """

    def __init__(
        self,
        call: Call,
        options: Options,
        *,
        regions: Sequence[str] | None = None,
        interval: float = 3600.0,
        enabled: bool = True,
        limit: float = 30.0,
        patience: float = 5.0,
        identity: Callable[[], Hashable] = lambda: None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._call = call
        self._options = options
        self._regions = tuple(regions or options.regions)
        self._interval = interval
        self._enabled = enabled
        self._limit = limit
        self._patience = patience
        self._identity = identity
        self._observer: Observer = observer or Unobserved()
        self._clock = clock
        self._jitter = jitter
        self._good: _Good = {}
        self._failed: dict[str, str] = {}
        self._learned: dict[str, Learned] = {}
        self._unknown: dict[str, float] = {}
        self._resolved = Resolved()
        self._lookups: dict[str, asyncio.Task[None]] = {}
        self._key: Hashable = None
        self._at: float | None = None
        self._tried = False
        self._misses = 0
        self._flight: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.snapshot: Catalog = self._catalog({})

    def start(self) -> None:
        """Start listing and refreshing. Returns at once; call in the loop."""
        if self._enabled and self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="discovery")
            self._keeper.add_done_callback(tell)

    async def close(self) -> None:
        tasks = [*self._lookups.values(), self._keeper, self._flight]
        self._keeper = self._flight = None
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def fresh(self) -> Catalog:
        """The catalog for a reader of the list. Waits (up to ``patience``) for the first refresh,
        or for one of its own with interval 0; what is there when that is over is given."""
        if self._enabled and (self._interval == 0 or not self._tried):
            await asyncio.wait({self.refresh()}, timeout=self._patience)
        elif self._enabled and self._identity() != self._key:
            self.refresh()
        return self.snapshot

    def refresh(self) -> asyncio.Task[None]:
        """The refresh that is under way, or a new one."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._refresh(), name="discovery-refresh")
            self._flight.add_done_callback(self._landed)
        return self._flight

    async def ask(self, call: Call) -> Catalog:
        """A listing of its own with ``call``, kept from everybody else: a client's own key."""
        good: _Good = {}
        for region in self._regions:
            for field, answer in (await self._list(region, call)).items():
                if answer.items is not None:
                    good[region, field] = answer.items
        return self._catalog(good)

    async def resolve(self, name: str) -> Model:
        """``Catalog.resolve``, after looking up once which model an opaque ARN stands for."""
        if (model := self._resolved.known(name, self.snapshot)) is not None:
            return model
        if (arn := self.snapshot.needs_lookup(name)) is not None:
            await self.lookup(arn)
            return self.snapshot.resolve(name)  # not kept: it may be looked up later
        return self._resolved.resolve(name, self.snapshot)

    async def lookup(self, arn: str) -> None:
        """Ask what stands behind ``arn`` and put it into the catalog. Never raises: what cannot be
        had (denied, slow) is not asked for again for a while, and the name is tried unknown."""
        task = self._lookups.get(arn)
        if task is None:
            full = len(self._lookups) >= _LOOKUPS_AT_ONCE
            if full or self._clock() < self._unknown.get(arn, 0.0):
                return
            task = self._lookups[arn] = asyncio.create_task(self._look(arn), name="lookup")
            task.add_done_callback(tell)
        await asyncio.wait({task})

    def state(self) -> State:
        refreshing = self._flight is not None and not self._flight.done()
        models = sum(entry.listed for entry in self.snapshot.entries.values())
        return State(self._enabled, self._at, refreshing, models, dict(self._failed))

    def rename(self, aliases: Mapping[str, str]) -> None:
        """The operator's aliases are these from now on."""
        self._options = replace(self._options, aliases=aliases)
        self.snapshot = replace(self.snapshot, options=self._options)

    async def _look(self, arn: str) -> None:
        learned = None
        try:
            async with asyncio.timeout(_LOOKUP_LIMIT):
                learned = await learn(arn, self._get)
        except (ProxyError, OSError, httpx.TransportError, ValueError) as failure:
            logger.info("the model behind an ARN could not be looked up: %s", reason_of(failure))
        finally:
            self._lookups.pop(arn, None)
        if learned is None:
            _bounded(self._unknown)[arn] = self._clock() + _UNKNOWN_FOR
        else:
            _bounded(self._learned)[arn] = learned
            self.snapshot = self.snapshot.learn(arn, learned)

    async def _get(self, region: str, path: str) -> Mapping[str, Any]:
        return await fetch(self._call, region, path, {})

    async def _refresh(self) -> None:
        answers = await asyncio.gather(*(self._region(region) for region in self._regions))
        key = self._identity()
        good = dict(self._good) if key == self._key else {}
        failed: dict[str, str] = {}
        any_good = False
        for region, listed in zip(self._regions, answers, strict=True):
            for field, answer in listed.items():
                if answer.failure:
                    failed[f"{region}/{field}"] = answer.failure
                if answer.items is not None and not (answer.failure and (region, field) in good):
                    good[region, field] = answer.items
                    any_good = True
        self._tried, self._failed = True, failed
        self._misses = 0 if any_good else self._misses + 1
        if any_good or key != self._key:
            self._good, self._key = good, key
            self.snapshot = self._catalog(good)
        if any_good:
            self._at = self._clock()
        self._count(good)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        """A refresh with an unexpected exception counts as one in which all listings failed."""
        tell(flight)
        if not flight.cancelled() and flight.exception() is not None:
            self._tried = True
            self._misses += 1

    async def _region(self, region: str) -> dict[str, Answer]:
        began = time.monotonic()
        listed = await self._list(region, self._call)
        failures = {answer.failure for answer in listed.values()} - {""}
        if all(answer.items is None for answer in listed.values()):
            outcome = "error"
        else:
            outcome = "partial" if failures - {"denied"} else "ok"
            self._observer.succeeded(region, self._clock())
        self._observer.refreshed(region, outcome, time.monotonic() - began)
        if failures:
            logger.info("listing of %s: %s (%s)", region, outcome, ", ".join(sorted(failures)))
        return listed

    async def _list(self, region: str, call: Call) -> dict[str, Answer]:
        """All listings of a region, each within the one deadline."""
        pager = Pager(call, region, asyncio.get_running_loop().time() + self._limit)
        answers = await asyncio.gather(*(pager.read(source) for source in SOURCES))
        return {source.field: answer for source, answer in zip(SOURCES, answers, strict=True)}

    def _catalog(self, good: _Good) -> Catalog:
        listings = []
        for region in self._regions:
            found = {field: items for (where, field), items in good.items() if where == region}
            listings.append(Listing(region, geographies(region), **found))
        for region in dict.fromkeys((self._options.regions[0], *self._options.failover)):
            if region not in self._regions:  # not listed, but its geographies are known
                listings.append(Listing(region, geographies(region)))
        return build(listings, self._options, self._learned)

    def _count(self, good: _Good) -> None:
        for region in self._regions:
            kinds = ("system_profiles", "application_profiles")
            profiles = [good.get((region, kind), ()) for kind in kinds]
            models = good.get((region, "foundation_models"), ())
            self._observer.listed(region, "foundation", len(models))
            self._observer.listed(region, "profile", sum(map(len, profiles)))

    async def _keep(self) -> None:
        due = self._clock()
        while True:
            if self._clock() >= due or self._identity() != self._key:
                await asyncio.wait({self.refresh()})
                due = self._clock() + self._pause()
            await asyncio.sleep(max(0.0, min(_WATCH, due - self._clock())))

    def _pause(self) -> float:
        """Seconds until the next refresh, spread so that replicas do not ask together."""
        spread = 0.9 + 0.2 * self._jitter()
        if self._misses:
            pause = _PAUSES[min(self._misses, len(_PAUSES)) - 1]
            return spread * (min(pause, self._interval) if self._interval else pause)
        return spread * self._interval if self._interval else float("inf")


def _bounded(kept: dict[str, Any]) -> dict[str, Any]:
    """``kept`` with room for one more: the oldest goes."""
    if len(kept) >= _KEPT:
        del kept[next(iter(kept))]
    return kept
