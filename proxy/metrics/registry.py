"""The registry: what ``table.py`` defines, and how it is written.

Nothing is observed per event: a gauge goes up and down with an answer, everything else is written
once when the answer ends, from its ``Record``. Children are bound once per label set and kept.
Every label is bounded: a word beyond the first ``MOST_WORDS`` of its label is ``other``, whatever
it is and wherever it came from.
"""

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from proxy.metrics import exposition, table
from proxy.metrics.histogram import Histogram, Series
from proxy.metrics.record import Record
from proxy.metrics.table import BY_NAME, OTHER, PREFIX

MOST_WORDS: Final = 64
"""Of a label, as many words are told apart; a model costs about 140 series."""
_EXEMPLAR: Final = 100
"""Characters of an id that fit into an exemplar (128 with its name)."""


class Metrics:
    """A registry of its own, so that two apps in one process (tests, demo) never mix.

    ``key_label``: count requests and tokens by the name of the client's key, too.
    """

    def __init__(
        self, *, version: str, mode: str, stream_limit: int, key_label: bool = False
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's gap
        self.registry = CollectorRegistry()
        self._words: dict[str, set[str]] = {}
        self._requests = self._counter("requests")
        self._duration = self._histogram("request_duration_seconds")
        self._first_token = self._histogram("time_to_first_token_seconds")
        self._first_event = self._histogram("upstream_first_event_seconds")
        self._per_token = self._histogram("time_per_output_token_seconds")
        self._gaps = self._histogram("inter_chunk_seconds")
        overhead = self._histogram("overhead_seconds")
        self._overhead = {phase: overhead.labels(phase) for phase in table.PHASES}
        self.streams_in_flight = self._gauge("streams_in_flight")
        self.requests_in_flight = self._gauge("requests_in_flight")
        self._gauge("stream_limit").set(stream_limit)
        self.rejected = self._counter("requests_rejected", table.REJECTIONS)
        self._tokens = self._counter("tokens")
        self._cost = self._counter("cost_usd")
        self._calls = self._counter("upstream_requests")
        self._retries = self._counter("upstream_retries")
        self._throttles = self._counter("upstream_throttles")
        self._failovers = self._counter("upstream_failovers")
        self._repairs = self._counter("repairs")
        self._disconnects = self._counter("client_disconnects")
        self._stream_errors = self._counter("stream_errors")
        self._notes = self._counter("translation_notes")
        self.image_fetches = self._counter("image_fetches", table.FETCHES)
        self._operator()
        self._keys = _Keys(self) if key_label else None
        self.loop_lag = self._histogram("event_loop_lag_seconds").labels()
        self._gauge("workers").set(1)
        Info(f"{PREFIX}build", BY_NAME["build"].help, registry=self.registry).info(
            {"version": version, "python": platform.python_version(), "mode": mode}
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._bound: dict[tuple[str, str, bool], _Bound] = {}
        self._bound_calls: dict[tuple[str, str, str], Calls] = {}

    def _operator(self) -> None:
        """What the operator's own side does: discovery, credentials, keys, the log."""
        self.discovery_refreshes = self._counter("discovery_refreshes")
        self.discovery_success = self._gauge("discovery_last_success_timestamp_seconds")
        self.discovery_interval = self._gauge("discovery_interval_seconds")
        self.discovery_duration = self._histogram("discovery_duration_seconds")
        self.discovered_models = self._gauge("discovered_models")
        self.credentials_expiry = self._gauge("credentials_expiry_timestamp_seconds")
        self.credentials_refreshes = self._counter("credentials_refreshes")
        self.key_reloads = self._counter("key_reloads", ("ok", "failed"))
        self.log_lines_dropped = self._counter("log_lines_dropped")

    # -- bounded labels -------------------------------------------------------------------------

    def word(self, label: str, value: str) -> str:
        """``value`` if it is among the first ``MOST_WORDS`` of this label, else ``other``."""
        known = self._words.setdefault(label, set())
        if value not in known:
            if len(known) >= MOST_WORDS:
                return OTHER
            known.add(value)
        return value

    def model(self, label: str) -> str:
        """The ``model`` label of a catalog's own label (an id, or ``other``)."""
        return self.word("model", label)

    # -- one request ----------------------------------------------------------------------------

    def begin(self, record: Record) -> None:
        """The request's model is known: its series exist from now on, at zero."""
        self._bind(record.endpoint, record.model, record.stream)

    def streams_of(self, record: Record) -> Gauge:
        """How many streams of the request's model are under way."""
        bound = self._bind(record.endpoint, record.model, record.stream)
        if bound.streams is None:
            bound.streams = self.streams_in_flight.labels(record.model)
        return bound.streams

    def calls(self, operation: str, model: str, region: str) -> "Calls":
        """The counters of calls to Bedrock, each outcome at zero from now on."""
        key = (operation, model, region)
        calls = self._bound_calls.get(key)
        if calls is None:
            outcomes = {one: self._calls.labels(*key, one) for one in table.OUTCOMES}
            calls = Calls(operation, outcomes, self._throttles.labels(model, region), self)
            self._bound_calls[key] = calls
        return calls

    def retried(self, operation: str, reason: str) -> None:
        self._retries.labels(operation, self.word("reason", reason)).inc()

    def failed_over(self, region: str, to: str, reason: str) -> None:
        self._failovers.labels(region, to, self.word("reason", reason)).inc()

    def repaired(self, repair: str, *, learned: bool) -> None:
        """A request was changed by what was refused: just now, or before and remembered."""
        how = "learned" if learned else "known"
        self._repairs.labels(self.word("repair", repair), how).inc()

    def finish(self, record: Record) -> None:
        """Write one request's numbers. Called once, after its last byte."""
        bound = self._bind(record.endpoint, record.model, record.stream)
        exemplar = _exemplar(record)
        code = self.word("code", record.code)
        bound.requests(record.status, code).inc()
        bound.duration.observe(record.ended - record.began, exemplar)
        if record.first_event:
            bound.first_event.observe(record.first_event - record.sent)
        if record.first_content and record.stream:
            self._finish_stream(record, bound, exemplar)
        self._finish_overhead(record)
        bound.count_tokens(record)
        if record.in_band:
            self._stream_errors.labels(record.model, code).inc()
        if record.disconnect:
            self._disconnects.labels(record.model, record.disconnect).inc()
        for note in record.notes:
            self._notes.labels(self.word("note", note)).inc()
        if self._keys is not None:
            self._keys.finish(record)

    def _finish_stream(
        self, record: Record, bound: "_Bound", exemplar: dict[str, str] | None
    ) -> None:
        bound.first_token.observe(record.first_content - record.began, exemplar)
        bound.gaps.add(record.gaps, record.last_content - record.first_content)
        if record.code == "ok" and record.output_tokens > 1:
            pace = (record.ended - record.first_content) / (record.output_tokens - 1)
            bound.per_token.observe(pace)

    def _finish_overhead(self, record: Record) -> None:
        if record.first_sent and record.read:
            self._overhead["request"].observe(record.first_sent - record.read)
        if record.stream and record.first_lag:
            self._overhead["first_event"].observe(record.first_lag)
        if record.answered and record.first_write:
            self._overhead["response"].observe(record.first_write - record.answered)

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The page of this process and its content type, in the format ``accept`` asks for."""
        return await exposition.page(self.registry.collect(), accept)

    async def snapshot(self) -> bytes:
        """This process's figures, for the page of several (``workers.py``)."""
        return await exposition.snapshot(self.registry.collect())

    def samples(self) -> Iterator[tuple[str, float]]:
        """Every sample as (name with labels, value): for tests and ``doctor``."""
        for family in self.registry.collect():
            for sample in family.samples:
                labels = ",".join(f'{key}="{sample.labels[key]}"' for key in sorted(sample.labels))
                yield f"{sample.name}{{{labels}}}", sample.value

    def _bind(self, endpoint: str, model: str, stream: bool) -> "_Bound":
        key = (endpoint, model, stream)
        bound = self._bound.get(key)
        if bound is None:
            word = "true" if stream else "false"
            for phase in table.LEAVINGS:
                self._disconnects.labels(model, phase)
            bound = self._bound[key] = _Bound(
                parent=self._requests,
                key=(endpoint, model, word),
                duration=self._duration.labels(endpoint, model, word),
                first_token=self._first_token.labels(model),
                first_event=self._first_event.labels(model),
                per_token=self._per_token.labels(model),
                gaps=self._gaps.labels(model),
                tokens=tuple(self._tokens.labels(model, one) for one in table.TOKEN_TYPES),
                cost=self._cost,
                ended={},
            )
            bound.requests(200, "ok")
        return bound

    # -- making them ----------------------------------------------------------------------------

    def _counter(self, name: str, words: Iterable[str] = ()) -> Counter:
        one = BY_NAME[name]
        made = Counter(
            one.family, one.help, one.labels, unit=one.unit, registry=self.registry
        )  # fmt: skip
        for word in words:
            made.labels(word)
        return made

    def _gauge(self, name: str) -> Gauge:
        one = BY_NAME[name]
        return Gauge(one.family, one.help, one.labels, unit=one.unit, registry=self.registry)

    def _histogram(self, name: str) -> Histogram:
        made = Histogram(BY_NAME[name])
        self.registry.register(made)
        return made


@dataclass(frozen=True, slots=True)
class Calls:
    """The counters of one (operation, model, region), looked up once."""

    operation: str
    outcomes: dict[str, Counter]
    throttles: Counter
    metrics: Metrics

    def count(self, outcome: str) -> None:
        self.outcomes[outcome].inc()
        if outcome == "throttled":
            self.throttles.inc()

    def retried(self, reason: str) -> None:
        self.metrics.retried(self.operation, reason)


@dataclass(slots=True)
class _Bound:
    """The children of one (endpoint, model, stream), looked up once."""

    parent: Counter
    key: tuple[str, str, str]
    duration: Series
    first_token: Series
    first_event: Series
    per_token: Series
    gaps: Series
    tokens: tuple[Counter, ...]
    cost: Counter
    ended: dict[tuple[int, str], Counter]
    streams: Gauge | None = None

    def requests(self, status: int, code: str) -> Counter:
        child = self.ended.get((status, code))
        if child is None:
            child = self.ended[status, code] = self.parent.labels(*self.key, str(status), code)
        return child

    def count_tokens(self, record: Record) -> None:
        for counter, count in zip(self.tokens, record.tokens, strict=True):
            if count:
                counter.inc(count)
        if record.price:
            self.cost.labels(record.model).inc(record.cost)


class _Keys:
    """What is counted by the name of the client's key, where the operator wants that."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests = metrics._counter("key_requests")
        self._tokens = metrics._counter("key_tokens")
        self._cost = metrics._counter("key_cost_usd")

    def finish(self, record: Record) -> None:
        key = self._metrics.word("key", record.key or "anonymous")
        self._requests.labels(key, str(record.status)).inc()
        for word, count in zip(table.TOKEN_TYPES, record.tokens, strict=True):
            self._tokens.labels(key, word).inc(count)
        if record.price:
            self._cost.labels(key).inc(record.cost)


def _exemplar(record: Record) -> dict[str, str] | None:
    """What leads from a bucket to a trace or a log line; a longer id than fits leads nowhere."""
    if record.trace_id:
        return {"trace_id": record.trace_id}
    if 0 < len(record.request_id) <= _EXEMPLAR:
        return {"request_id": record.request_id}
    return None
