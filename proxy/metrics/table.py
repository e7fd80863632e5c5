"""Every metric by name: kind, labels, buckets, meaning, and how the figures of workers add up.

The one place that names them. The registry is built from it, the dashboards and rules in
``grafana/`` are held to it by a test, and so is the README's table. Names carry the base unit;
ages are not measured here: timestamps are exported and PromQL subtracts.

Buckets are supersets of the edges that OpenTelemetry's GenAI conventions and vLLM use, so recording
rules can publish those names exactly. Sources: Prometheus, *Metric and label naming*;
OpenTelemetry, *Semantic conventions for generative AI metrics*.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

PREFIX: Final = "bedrock_proxy_"
OTHER: Final = "other"
"""The label of whatever is not told apart."""

Kind = Literal["counter", "gauge", "histogram", "info"]
Merge = Literal["sum", "max", "min"]

FIRST_EDGES: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
PACE_EDGES: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
DURATION_EDGES: Final = tuple(0.01 * 2**power for power in range(17))
OVERHEAD_EDGES: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
)  # fmt: skip
LAG_EDGES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

# Words that are known beforehand: their series start at zero, so that rate() sees the first event.
REJECTIONS: Final = (
    "overload", "draining", "body_too_large", "auth", "rate_limit", "budget", "model_not_allowed",
    "host", "origin", "unknown_url", "malformed",
)  # fmt: skip
OUTCOMES: Final = (
    "ok", "throttled", "client_error", "server_error", "timeout", "connect_error"
)  # fmt: skip
TOKEN_TYPES: Final = ("input", "output", "cache_read", "cache_write")
PHASES: Final = ("request", "first_event", "response")
FETCHES: Final = ("ok", "blocked", "too_large", "timeout", "bad_type", "error")
REFRESHES: Final = ("ok", "partial", "error")
LEAVINGS: Final = ("before_first_token", "streaming")


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. ``name`` is without prefix and, for counters, without ``_total``.

    ``merge``: what several workers' values become in one page.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    merge: Merge = "sum"
    optional: bool = False
    """Exported only where the operator asks for it."""

    @property
    def family(self) -> str:
        return PREFIX + self.name

    @property
    def exported(self) -> str:
        """As PromQL spells it (of a histogram, without ``_bucket`` and so on)."""
        return self.family + {"counter": "_total", "info": "_info"}.get(self.kind, "")

    @property
    def unit(self) -> str:
        last = self.name.rpartition("_")[2]
        return last if last in {"seconds", "tokens", "usd"} else ""


def _counter(name: str, labels: str, help: str, *, optional: bool = False) -> Definition:
    return Definition(name, "counter", help, tuple(labels.split()), optional=optional)


def _gauge(name: str, labels: str, help: str, merge: Merge = "sum") -> Definition:
    return Definition(name, "gauge", help, tuple(labels.split()), merge=merge)


def _histogram(name: str, labels: str, edges: tuple[float, ...], help: str) -> Definition:
    return Definition(name, "histogram", help, tuple(labels.split()), edges)


DEFINITIONS: Final = (
    _counter(
        "requests", "endpoint model stream status code",
        "Finished client requests. code is ok or the error's code; a stream that failed after its "
        "response head has status 200, a disconnected client 499.",
    ),
    _histogram(
        "request_duration_seconds", "endpoint model stream", DURATION_EDGES,
        "Request received to last byte handed to the socket.",
    ),
    _histogram(
        "time_to_first_token_seconds", "model", FIRST_EDGES,
        "Request received to first content delta written (streams only).",
    ),
    _histogram(
        "upstream_first_event_seconds", "model", FIRST_EDGES,
        "Request sent to Bedrock (last try) to its first event.",
    ),
    _histogram(
        "time_per_output_token_seconds", "model", PACE_EDGES,
        "Mean time per billed output token after the first, once per whole stream.",
    ),
    _histogram(
        "inter_chunk_seconds", "model", PACE_EDGES,
        "Gap between consecutive writes of content to a client; a chunk holds several tokens.",
    ),
    _histogram(
        "overhead_seconds", "phase", OVERHEAD_EDGES,
        "Time this proxy added: request (body read to sent), first_event (Bedrock's bytes read to "
        "first chunk written), response (whole answer read to written).",
    ),
    _gauge("streams_in_flight", "model", "Streams in progress."),
    _gauge("requests_in_flight", "endpoint", "Requests in progress, streams included."),
    _gauge(
        "stream_limit", "",
        "Largest number of answers in progress (max_streams, summed over all workers).",
    ),
    _counter("requests_rejected", "reason", "Requests refused before any upstream call."),
    _counter(
        "tokens", "model type",
        "Tokens as Bedrock bills them; input excludes cached ones, unlike OpenAI's prompt_tokens.",
    ),
    _counter("cost_usd", "model", "Cost of models that have a price in the configuration, in USD."),
    _counter(
        "upstream_requests", "operation model region outcome", "Calls to Bedrock, retries included."
    ),
    _counter("upstream_retries", "operation reason", "Retried calls, by reason."),
    _counter("upstream_throttles", "model region", "Calls that Bedrock throttled."),
    _counter(
        "upstream_failovers", "region to reason",
        "Calls moved to the next target: the region left, the region gone to, and the reason.",
    ),
    _counter(
        "repairs", "repair how",
        "Requests changed because Bedrock refuses a capability: how is learned (resent after a "
        "refusal) or known (changed in advance).",
    ),
    _counter(
        "client_disconnects", "model phase", "Clients that disconnected before their answer ended."
    ),
    _counter("stream_errors", "model code", "Errors sent inside a stream that had already begun."),
    _counter("translation_notes", "note", "Parameters dropped, clamped, renamed or emulated."),
    _counter("image_fetches", "outcome", "Remote images and files fetched for a request."),
    _counter("discovery_refreshes", "region outcome", "Refreshes of the model list."),
    _gauge(
        "discovery_last_success_timestamp_seconds", "region",
        "Unix time of the last successful refresh of the model list; 0 before the first one.",
        "min",
    ),
    _gauge(
        "discovery_interval_seconds", "",
        "Configured time between refreshes of the model list; 0 means one for every listing.",
        "max",
    ),
    _histogram("discovery_duration_seconds", "region", DURATION_EDGES, "How long a refresh took."),
    _gauge("discovered_models", "region kind", "Models and profiles in the list.", "max"),
    _gauge(
        "credentials_expiry_timestamp_seconds", "source",
        "Unix time at which the AWS credentials expire; +Inf if never, 0 while there are none.",
        "min",
    ),
    _counter("credentials_refreshes", "source outcome", "Refreshes of the AWS credentials."),
    _counter("key_reloads", "outcome", "Reloads of the API key source."),
    _counter("log_lines_dropped", "", "Log lines dropped because stderr was not read."),
    _histogram(
        "event_loop_lag_seconds", "", LAG_EDGES, "Lateness of a timer that is due every 100 ms."
    ),
    _gauge("workers", "", "Processes that serve."),
    Definition(
        "build", "info", "What is running; in mode simulator there is no real Bedrock.", merge="max"
    ),
    _counter(
        "key_requests", "key status", "Finished client requests by key name.", optional=True
    ),
    _counter("key_tokens", "key type", "Billed tokens by key name.", optional=True),
    _counter("key_cost_usd", "key", "Cost by key name, in USD.", optional=True),
)  # fmt: skip

BY_NAME: Final = MappingProxyType({one.name: one for one in DEFINITIONS})
MERGES: Final = MappingProxyType({one.family: one.merge for one in DEFINITIONS})
