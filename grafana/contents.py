"""What the two dashboards show: one for whoever is on call, one for who pays.

``NOT_SHOWN`` lists the metrics that no panel and no rule uses, each with its reason; a test holds
this and the panels to the metric definitions, in both directions.
"""

from panels import Panel, Query, dashboard, quantiles, rates

ON_CALL = ("bedrock-proxy-on-call", "Bedrock proxy: on call")
USAGE = ("bedrock-proxy-usage", "Bedrock proxy: usage")

NOT_SHOWN: dict[str, str] = {}

_WARN = ((None, "green"), (0.01, "orange"), (0.05, "red"))
_FAILED = 'code!="ok", status=~"200|5.."'


def _ratio(part: str, whole: str) -> str:
    return f"{part} / ({whole} > 0) or vector(0)"


_ERROR_RATIO = _ratio(
    f"sum(rate(bedrock_proxy_requests_total{{@, {_FAILED}}}[$__rate_interval]))",
    "sum(rate(bedrock_proxy_requests_total{@}[$__rate_interval]))",
)
_FULLNESS = "sum(bedrock_proxy_requests_in_flight{@}) / sum(bedrock_proxy_stream_limit{@})"

_NOW = (
    Panel(
        "Processes", [Query("sum(bedrock_proxy_workers{@})")], kind="stat", width=3,
        about="Processes that serve, of all instances.",
    ),
    Panel(
        "Simulators", [Query('count(bedrock_proxy_build_info{@, mode="simulator"}) or vector(0)')],
        kind="stat", width=3, thresholds=((None, "green"), (1, "red")),
        about="Instances that answer with invented text. In production: none.",
    ),
    Panel(
        "Requests", [Query("sum(rate(bedrock_proxy_requests_total{@}[$__rate_interval]))")],
        unit="reqps", kind="stat", width=3,
    ),
    Panel(
        "Failing", [Query(_ERROR_RATIO)], unit="percentunit", kind="stat", width=3,
        thresholds=_WARN,
        about="Share of requests that failed on our side of the wire: a 5xx, or an error inside a "
        "stream that had begun. A client's own 4xx do not count.",
    ),
    Panel(
        "First token, p95", quantiles("time_to_first_token_seconds")[1:2], kind="stat", width=3,
        thresholds=((None, "green"), (5, "orange"), (10, "red")),
    ),
    Panel(
        "Full", [Query(_FULLNESS)], unit="percentunit", kind="stat", width=3,
        thresholds=((None, "green"), (0.7, "orange"), (0.9, "red")), limits=(0, 1),
        about="Requests under way, as a share of the ceiling (max_streams).",
    ),
    Panel(
        "Credentials last",
        [Query("min(bedrock_proxy_credentials_expiry_timestamp_seconds{@}) - time()")],
        unit="s", kind="stat", width=3, limits=(None, None),
        thresholds=((None, "red"), (600, "orange"), (900, "green")),
        about="Time until the AWS credentials end; infinite where they do not. They are renewed 15 "
        "minutes ahead, so less than 10 means that renewal fails.",
    ),
    Panel(
        "Model list's age",
        [
            Query(
                "time() - min(bedrock_proxy_discovery_last_success_timestamp_seconds{@})"
            )
        ],
        unit="s", kind="stat", width=3,
        about="Age of the oldest model list in use. Models can be called without one.",
    ),
)  # fmt: skip

_TRAFFIC = (
    Panel(
        "Requests by code", rates("requests_total", "code"), unit="reqps", stacked=True,
    ),
    Panel(
        "Failures by code", rates("requests_total", "status, code", 'code!="ok"'), unit="reqps",
        about="Everything but ok: the status the client saw, and the error's code. Status 200 is a "
        "stream that failed after its head, 499 a client that left.",
    ),
    Panel(
        "In flight and ceiling",
        [
            Query("sum by (endpoint) (bedrock_proxy_requests_in_flight{@})", "{{endpoint}}"),
            Query("sum(bedrock_proxy_streams_in_flight{@})", "streams"),
            Query("sum(bedrock_proxy_stream_limit{@})", "ceiling"),
        ],
    ),
    Panel("Refused before any call", rates("requests_rejected_total", "reason"), unit="reqps"),
    Panel(
        "Errors inside streams", rates("stream_errors_total", "code"), unit="reqps",
    ),
    Panel("Clients that left", rates("client_disconnects_total", "phase"), unit="reqps"),
)  # fmt: skip

_LATENCY = (
    Panel("Time to first token", quantiles("time_to_first_token_seconds")),
    Panel("Bedrock's first event", quantiles("upstream_first_event_seconds")),
    Panel("Gap between chunks", quantiles("inter_chunk_seconds")),
    Panel("Time per output token", quantiles("time_per_output_token_seconds")),
    Panel("Duration of streams", quantiles("request_duration_seconds", where='stream="true"')),
    Panel("Duration of whole answers",
          quantiles("request_duration_seconds", where='stream="false"')),
    Panel("Overhead of this proxy, p99", quantiles("overhead_seconds", "phase")[2:3]),
    Panel("Event loop lag", quantiles("event_loop_lag_seconds"),
          about="Lateness of a timer that is due every 100 ms. What holds it up holds up every "
          "stream by as much."),
    Panel(
        "First token by model, p95", quantiles("time_to_first_token_seconds", "model")[1:2]
    ),
)  # fmt: skip

_BEDROCK = (
    Panel("Calls by outcome", rates("upstream_requests_total", "outcome"), unit="reqps",
          stacked=True),
    Panel("Throttled by region", rates("upstream_throttles_total", "region, model"), unit="reqps"),
    Panel("Made again, by why", rates("upstream_retries_total", "reason"), unit="reqps"),
    Panel("Gone to another region", rates("upstream_failovers_total", "region, to"), unit="reqps"),
    Panel("Calls by region", rates("upstream_requests_total", "region"), unit="reqps"),
    Panel("Repaired requests", rates("repairs_total", "repair, how"), unit="reqps"),
    Panel("Remote media", rates("image_fetches_total", "outcome"), unit="reqps"),
)  # fmt: skip


def _hourly(name: str, by: str) -> tuple[Query, ...]:
    """What happens about once an hour, counted over one."""
    [query] = rates(name, by)
    expr = query.expr.replace("rate(", "increase(").replace("$__rate_interval", "1h")
    return (Query(expr, query.legend),)


_OPERATION = (
    Panel(
        "Model list: age by region",
        [
            Query(
                "time() - bedrock_proxy_discovery_last_success_timestamp_seconds{@}",
                "{{instance}} {{region}}",
            ),
            Query("max(bedrock_proxy_discovery_interval_seconds{@})", "interval"),
        ],
        about="Above three intervals an alert fires.",
    ),
    Panel("Model list: refreshes", _hourly("discovery_refreshes_total", "region, outcome"),
          about="Refreshes of the model list in the last hour, by outcome."),
    Panel(
        "Model list: duration",
        [
            Query(
                "sum by (region) (bedrock_proxy_discovery_duration_seconds_sum{@}) / "
                "sum by (region) (bedrock_proxy_discovery_duration_seconds_count{@})",
                "{{region}}",
            )
        ],
        about="How long a refresh takes: the mean since the processes began.",
    ),
    Panel(
        "Models in the list",
        [
            Query(
                "max by (region, kind) (bedrock_proxy_discovered_models{@})",
                "{{region}} {{kind}}",
            )
        ],
    ),
    Panel(
        "Credentials: time left",
        [
            Query(
                "(bedrock_proxy_credentials_expiry_timestamp_seconds{@} - time() < Inf) "
                "or vector(0)",
                "{{instance}} {{source}}",
            )
        ],
        limits=(None, None),
        about="By source; zero where none that end are in use.",
    ),
    Panel("Credentials: refreshes", _hourly("credentials_refreshes_total", "source, outcome"),
          about="Refreshes of the AWS credentials in the last hour, by outcome."),
    Panel("API keys: readings", _hourly("key_reloads_total", "outcome"),
          about="Readings of the API key source in the last hour, by outcome."),
    Panel("Log lines lost", _hourly("log_lines_dropped_total", "instance"),
          about="Lines lost in the last hour because whoever reads stderr had stopped."),
    Panel(
        "CPU by process",
        [
            Query(
                "rate(process_cpu_seconds_total{@}[$__rate_interval]) "
                "and on (job, instance) bedrock_proxy_build_info",
                "{{instance}} {{worker}}",
            )
        ],
        unit="percentunit", about="Cores used. A process uses at most one.",
    ),
    Panel(
        "Memory by process",
        [
            Query(
                "process_resident_memory_bytes{@} and on (job, instance) bedrock_proxy_build_info",
                "{{instance}} {{worker}}",
            )
        ],
        unit="bytes", about="Resident memory.",
    ),
)  # fmt: skip


def on_call() -> dict[str, object]:
    return dashboard(
        *ON_CALL,
        "Is it working, and if not, whose fault is it: ours, Bedrock's or the client's.",
        USAGE,
        (
            ("Now", _NOW),
            ("Traffic", _TRAFFIC),
            ("Latency", _LATENCY),
            ("Bedrock", _BEDROCK),
            ("Operation", _OPERATION),
        ),
    )


def _over_range(name: str, by: str, where: str = "") -> tuple[Query, ...]:
    where = f", {where}" if where else ""
    expr = f"sum by ({by}) (increase(bedrock_proxy_{name}{{@{where}}}[$__range]))"
    return (Query(expr, f"{{{{{by}}}}}"),)


def _tokens(where: str) -> str:
    return f"rate(bedrock_proxy_tokens_total{{@, {where}}}[$__rate_interval])"


_READ, _INPUT = 'type="cache_read"', 'type!="output"'
_CACHE_RATIO = f"sum by (model) ({_tokens(_READ)}) / (sum by (model) ({_tokens(_INPUT)}) > 0)"


_TOTALS = (
    Panel("Requests", [Query("sum(increase(bedrock_proxy_requests_total{@}[$__range]))")],
          kind="stat", width=4, about="Finished requests in the time shown."),
    Panel("Input tokens", [Query(
        'sum(increase(bedrock_proxy_tokens_total{@, type!="output"}[$__range]))')],
        kind="stat", width=4, about="Billed input, cached input included, in the time shown."),
    Panel("Output tokens", [Query(
        'sum(increase(bedrock_proxy_tokens_total{@, type="output"}[$__range]))')],
        kind="stat", width=4, about="Billed output in the time shown."),
    Panel("From the cache", [Query(
        'sum(increase(bedrock_proxy_tokens_total{@, type="cache_read"}[$__range])) / '
        '(sum(increase(bedrock_proxy_tokens_total{@, type!="output"}[$__range])) > 0) or vector(0)'
        )],
        unit="percentunit", kind="stat", width=4, limits=(0, 1),
        about="Share of the input that was read from the prompt cache, in the time shown."),
    Panel("Cost", [Query("sum(increase(bedrock_proxy_cost_usd_total{@}[$__range])) or vector(0)")],
          kind="stat", width=4,
          about="Of models that have a price in the configuration; others count nothing."),
    Panel("Successful", [Query(
        'sum(increase(bedrock_proxy_requests_total{@, code="ok"}[$__range])) / '
        "(sum(increase(bedrock_proxy_requests_total{@}[$__range])) > 0) or vector(0)")],
        unit="percentunit", kind="stat", width=4, limits=(0, 1),
        thresholds=((None, "red"), (0.95, "orange"), (0.99, "green")),
        about="Share of requests that ended ok, in the time shown."),
)  # fmt: skip

_TOKENS = (
    Panel("Tokens by type", rates("tokens_total", "type"), stacked=True),
    Panel("Output tokens by model", rates("tokens_total", "model", 'type="output"'), stacked=True),
    Panel("Input tokens by model", rates("tokens_total", "model", 'type!="output"'), stacked=True,
          about="Billed input, cached input included."),
    Panel("Cache ratio by model", [Query(_CACHE_RATIO, "{{model}}")], unit="percentunit",
          limits=(0, 1), about="Share of the input that was read from the prompt cache."),
    Panel("Cache: read and written", rates("tokens_total", "type", 'type=~"cache_.*"'),
          about="Written tokens cost more than plain input, read ones much less: more written than "
          "read does not pay."),
    Panel("Requests by model", rates("requests_total", "model"), unit="reqps", stacked=True),
)  # fmt: skip

_COST = (
    Panel("Cost per hour by model",
          [Query("sum by (model) (rate(bedrock_proxy_cost_usd_total{@}[$__rate_interval])) * 3600",
                 "{{model}}")], unit="currencyUSD", stacked=True),
    Panel("Cost by model", _over_range("cost_usd_total", "model"), kind="bargauge",
          unit="currencyUSD", about="In the time shown."),
    Panel("Tokens by model", _over_range("tokens_total", "model"), kind="bargauge",
          about="All billed tokens in the time shown."),
)  # fmt: skip

_CLIENTS = (
    Panel("Requests by key", _over_range("key_requests_total", "key"), kind="bargauge",
          about="In the time shown. Needs the setting metrics_key_label."),
    Panel("Tokens by key", _over_range("key_tokens_total", "key"), kind="bargauge",
          about="In the time shown. Needs the setting metrics_key_label."),
    Panel("Cost by key", _over_range("key_cost_usd_total", "key"), kind="bargauge",
          unit="currencyUSD", about="In the time shown. Needs the setting metrics_key_label."),
    Panel("What was not carried over as asked", rates("translation_notes_total", "note"),
          unit="reqps", width=16),
    Panel("Streams and whole answers", rates("requests_total", "stream"), unit="reqps"),
)  # fmt: skip


def usage() -> dict[str, object]:
    return dashboard(
        *USAGE,
        "Who uses what, how much of it comes from the cache, and what it costs.",
        ON_CALL,
        (
            ("In the time shown", _TOTALS),
            ("Tokens", _TOKENS),
            ("Cost", _COST),
            ("Clients", _CLIENTS),
        ),
    )
