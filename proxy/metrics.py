"""Every metric: its name, help, labels and buckets, in one place.

Nothing is observed per event: a ``Gauge`` goes up and down with an answer, everything else is
written once when the answer ends, from local numbers. Children are bound once per label set and
kept (a bound ``observe`` costs half a ``labels().observe``). Labels are bounded: ``model`` is an id
of the catalog or ``other``, never the client's raw string.

Buckets are supersets of the edges that OpenTelemetry's GenAI conventions and vLLM use, so recording
rules can publish those names exactly. Source: OpenTelemetry semantic conventions for GenAI metrics.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

PREFIX: Final = "bedrock_proxy"

TOKEN_EDGES: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1, 2.5, 5, 7.5, 10, 20, 40, 80,
)  # fmt: skip
PACE_EDGES: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5,
)  # fmt: skip
DURATION_EDGES: Final = tuple(0.01 * 2**power for power in range(17))
OVERHEAD_EDGES: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
)  # fmt: skip


@dataclass(slots=True)
class Record:
    """The numbers of one client request, filled in as it goes, written once at its end.

    Times are of one monotonic clock, in seconds; 0 means "never".
    """

    endpoint: str
    model: str = "other"
    stream: bool = False
    began: float = 0.0
    sent: float = 0.0
    """The request left for Bedrock (the last try)."""
    first_event: float = 0.0
    first_write: float = 0.0
    first_content: float = 0.0
    ended: float = 0.0
    status: int = 200
    code: str = "ok"
    in_band: bool = False
    """The failure was told inside a stream that had already begun."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    notes: tuple[str, ...] = ()
    finish: str | None = None
    retries: int = 0
    upstream_id: str | None = None


class Metrics:
    """A registry of its own, so that two apps in one process (tests, demo) never mix."""

    def __init__(self, *, version: str, mode: str, stream_limit: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's gap
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = self._counter(
            "requests",
            "Finished client requests; code is `ok` or the error's code, 499 means client gone.",
            "endpoint", "model", "stream", "status", "code",
        )  # fmt: skip
        self._duration = self._histogram(
            "request_duration_seconds", "Request read to last byte handed to the socket.",
            DURATION_EDGES, "endpoint", "model", "stream",
        )  # fmt: skip
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "Request read to first content delta (streams only).",
            TOKEN_EDGES, "model",
        )  # fmt: skip
        self._first_event = self._histogram(
            "upstream_first_event_seconds", "Request sent to Bedrock to its first event.",
            TOKEN_EDGES, "model",
        )  # fmt: skip
        self._per_token = self._histogram(
            "time_per_output_token_seconds",
            "Mean time between billed output tokens after the first, once per whole stream.",
            PACE_EDGES, "model",
        )  # fmt: skip
        self._overhead = self._histogram(
            "overhead_seconds", "Time this proxy added, by phase.", OVERHEAD_EDGES, "phase"
        )
        self.streams_in_flight = self._gauge("streams_in_flight", "Open streams.", "model")
        self.requests_in_flight = self._gauge("requests_in_flight", "Requests.", "endpoint")
        self._gauge("stream_limit", "Ceiling of answers under way.").set(stream_limit)
        self.rejected = self._counter(
            "requests_rejected", "Requests refused before any upstream call.", "reason"
        )
        for reason in ("overload", "draining", "body_too_large", "auth"):
            self.rejected.labels(reason)
        self._tokens = self._counter(
            "tokens", "Tokens as Bedrock bills them; `input` excludes cached ones.", "model", "type"
        )
        self.upstream_requests = self._counter(
            "upstream_requests", "Calls to Bedrock, retries included.",
            "operation", "model", "region", "outcome",
        )  # fmt: skip
        self.retries = self._counter(
            "upstream_retries", "Calls made again, and why.", "operation", "reason"
        )
        self.throttles = self._counter(
            "upstream_throttles", "Calls that Bedrock throttled.", "model", "region"
        )
        self.disconnects = self._counter(
            "client_disconnects", "Clients that left before their answer ended.", "model", "phase"
        )
        self._stream_errors = self._counter(
            "stream_errors", "Errors told inside a stream that had begun.", "model", "code"
        )
        self._notes = self._counter(
            "translation_notes", "Parameters dropped, clamped, renamed or emulated.", "note"
        )
        self._discovery()
        Info(f"{PREFIX}_build", "What is running.", registry=self.registry).info(
            {"version": version, "mode": mode}
        )
        self._bound: dict[tuple[str, str, bool], _Bound] = {}

    def _discovery(self) -> None:
        self.discovery_refreshes = self._counter(
            "discovery_refreshes", "Refreshes of the model list.", "region", "outcome"
        )
        self.discovery_success = self._gauge(
            "discovery_last_success_timestamp_seconds", "When the model list was last good.",
            "region",
        )  # fmt: skip
        self.discovery_duration = self._histogram(
            "discovery_duration_seconds", "How long a refresh took.", DURATION_EDGES, "region"
        )
        self.discovered_models = self._gauge(
            "discovered_models", "Models and profiles in the list.", "region", "kind"
        )
        self.credentials_expiry = self._gauge(
            "credentials_expiry_timestamp_seconds", "When the credentials end; +Inf if never.",
            "source",
        )  # fmt: skip
        self.credentials_refreshes = self._counter(
            "credentials_refreshes", "Refreshes of the AWS credentials.", "source", "outcome"
        )

    def finish(self, record: Record) -> None:
        """Write one request's numbers. Called once, after its last byte."""
        bound = self._bind(record.endpoint, record.model, record.stream)
        self._requests.labels(
            record.endpoint, record.model, bound.stream, str(record.status), record.code
        ).inc()
        bound.duration.observe(record.ended - record.began)
        if record.first_event:
            bound.first_event.observe(record.first_event - record.sent)
        if record.first_content and record.stream:
            bound.first_token.observe(record.first_content - record.began)
            if record.code == "ok" and record.output_tokens > 1:
                pace = (record.ended - record.first_content) / (record.output_tokens - 1)
                bound.per_token.observe(pace)
        if record.sent:
            bound.request_overhead.observe(record.sent - record.began)
        if record.first_write and record.first_event:
            bound.first_overhead.observe(record.first_write - record.first_event)
        bound.count_tokens(record)
        if record.in_band:
            self._stream_errors.labels(record.model, record.code).inc()
        for note in record.notes:
            self._notes.labels(note).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type, in the format that ``accept`` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

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
            bound = self._bound[key] = _Bound(
                stream=word,
                duration=self._duration.labels(endpoint, model, word),
                first_token=self._first_token.labels(model),
                first_event=self._first_event.labels(model),
                per_token=self._per_token.labels(model),
                request_overhead=self._overhead.labels("request"),
                first_overhead=self._overhead.labels("first_event"),
                input=self._tokens.labels(model, "input"),
                output=self._tokens.labels(model, "output"),
                cache_read=self._tokens.labels(model, "cache_read"),
                cache_write=self._tokens.labels(model, "cache_write"),
            )
        return bound

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, edges: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", help, labels, registry=self.registry, buckets=edges)


@dataclass(frozen=True, slots=True)
class _Bound:
    """The children of one (endpoint, model, stream), looked up once."""

    stream: str
    duration: Histogram
    first_token: Histogram
    first_event: Histogram
    per_token: Histogram
    request_overhead: Histogram
    first_overhead: Histogram
    input: Counter
    output: Counter
    cache_read: Counter
    cache_write: Counter

    def count_tokens(self, record: Record) -> None:
        if record.input_tokens:
            self.input.inc(record.input_tokens)
        if record.output_tokens:
            self.output.inc(record.output_tokens)
        if record.cache_read_tokens:
            self.cache_read.inc(record.cache_read_tokens)
        if record.cache_write_tokens:
            self.cache_write.inc(record.cache_write_tokens)
