"""Recording and alert rules for Prometheus.

The recording rules publish OpenTelemetry's GenAI metrics under the names that Prometheus gives
them, for dashboards made for other gateways: our buckets are supersets of the convention's, so its
bounds are picked out exactly. Durations are exact, token usage has a sum and a count but no
buckets (the proxy keeps no histogram of tokens).

Each alert has cases in ``prometheus/rules_test.yml``: one in which it fires, one in which not.
Source: OpenTelemetry, *Semantic conventions for generative AI metrics* (status: development).
"""

from typing import Any

from prometheus_client.utils import floatToGoString

from proxy.metrics.table import BY_NAME, PREFIX

_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_DURATION = tuple(0.01 * 2**power for power in range(14))

# The convention's name, ours, and the convention's bounds.
HISTOGRAMS = (
    ("gen_ai_server_time_to_first_token_seconds", "time_to_first_token_seconds", _FIRST),
    ("gen_ai_server_time_per_output_token_seconds", "time_per_output_token_seconds", _PER_TOKEN),
    ("gen_ai_server_request_duration_seconds", "request_duration_seconds", _DURATION),
    ("gen_ai_client_operation_duration_seconds", "request_duration_seconds", _DURATION),
)
_LABELS = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "aws.bedrock"}
_MODEL = "gen_ai_request_model"


def _renamed(inner: str, extra: str = "") -> str:
    """``inner`` by instance and model, the model under the convention's label."""
    by = f"job, instance, {_MODEL}{extra}"
    return f'sum by ({by}) (label_replace({inner}, "{_MODEL}", "$1", "model", "(.*)"))'


def _histogram(theirs: str, ours: str, bounds: tuple[float, ...]) -> list[dict[str, Any]]:
    known = BY_NAME[ours].edges
    if not set(bounds) <= set(known):
        raise ValueError(f"{ours} has no buckets for {sorted(set(bounds) - set(known))}")
    words = [floatToGoString(bound).replace(".", "[.]") for bound in bounds] + ["[+]Inf"]
    chat = 'endpoint!="embeddings"' if "endpoint" in BY_NAME[ours].labels else ""
    picked = ", ".join(filter(None, (chat, f'le=~"{"|".join(words)}"')))
    expressions = {
        "bucket": _renamed(f"{PREFIX}{ours}_bucket{{{picked}}}", ", le"),
        "sum": _renamed(f"{PREFIX}{ours}_sum{{{chat}}}"),
        "count": _renamed(f"{PREFIX}{ours}_count{{{chat}}}"),
    }
    return [
        {"record": f"{theirs}_{part}", "expr": expr, "labels": _LABELS}
        for part, expr in expressions.items()
    ]


def _token_usage() -> list[dict[str, Any]]:
    name = "gen_ai_client_token_usage"
    rules = []
    for word, ours in (("input", 'type!="output"'), ("output", 'type="output"')):
        labels = _LABELS | {"gen_ai_token_type": word}
        total = _renamed(f"{PREFIX}tokens_total{{{ours}}}")
        count = _renamed(f'{PREFIX}requests_total{{code="ok", endpoint!="embeddings"}}')
        rules.append({"record": f"{name}_sum", "expr": total, "labels": labels})
        rules.append({"record": f"{name}_count", "expr": count, "labels": labels})
    return rules


def recording() -> dict[str, Any]:
    rules = [rule for row in HISTOGRAMS for rule in _histogram(*row)] + _token_usage()
    return {"groups": [{"name": "bedrock-proxy-gen-ai", "rules": rules}]}


def _alert(
    name: str, expr: str, wait: str, severity: str, summary: str, description: str
) -> dict[str, Any]:
    return {
        "alert": f"BedrockProxy{name}",
        "expr": expr,
        "for": wait,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


_REQUESTS = f"{PREFIX}requests_total"
_LAST_GOOD = f"{PREFIX}discovery_last_success_timestamp_seconds"


def alerts() -> dict[str, Any]:
    rules = [
        _alert(
            "Down",
            f"up == 0 and on (job, instance) last_over_time({PREFIX}build_info[6h])",
            "2m", "critical", "{{ $labels.instance }} is down",
            "It served metrics in the last six hours and cannot be scraped any more.",
        ),
        _alert(
            "Absent", f"absent({PREFIX}build_info)", "10m", "critical", "No proxy is running",
            "No instance of any job serves the proxy's metrics.",
        ),
        _alert(
            "Failing",
            f'sum by (job) (rate({_REQUESTS}{{code!="ok", status=~"200|5.."}}[5m]))'
            f" / sum by (job) (rate({_REQUESTS}[5m])) > 0.05",
            "5m", "critical", "{{ $value | humanizePercentage }} of requests fail",
            "Counted are 5xx and errors inside a stream that had begun. Look at failures by code, "
            "then at Bedrock's outcomes.",
        ),
        _alert(
            "Throttled",
            f"sum by (job, region) (rate({PREFIX}upstream_throttles_total[5m]))"
            f" / sum by (job, region) (rate({PREFIX}upstream_requests_total[5m])) > 0.1",
            "5m", "warning",
            "Bedrock throttles {{ $value | humanizePercentage }} of calls in {{ $labels.region }}",
            "The account's quota of requests or tokens per minute is used up. Ask for more, use a "
            "cross-region profile, or limit keys.",
        ),
        _alert(
            "SlowFirstToken",
            "histogram_quantile(0.95, sum by (job, model, le) "
            f"(rate({PREFIX}time_to_first_token_seconds_bucket[10m]))) > 10",
            "10m", "warning",
            "{{ $labels.model }} takes {{ $value | humanizeDuration }} to its first token (p95)",
            "If Bedrock's first event is as slow, it is the model; else see overhead and loop lag.",
        ),
        _alert(
            "CredentialsEnd",
            f"{PREFIX}credentials_expiry_timestamp_seconds - time() < 600",
            "2m", "critical",
            "AWS credentials {{ if gt $value 0.0 }}end in {{ $value | humanizeDuration }}"
            "{{ else }}have ended, or never came{{ end }}",
            "Renewal begins 15 minutes ahead and has not succeeded. The log says why.",
        ),
        _alert(
            "ModelListStale",
            f"time() - {_LAST_GOOD} > on (job, instance) group_left () "
            f"(3 * {PREFIX}discovery_interval_seconds > 0)",
            "5m", "warning", "The model list of {{ $labels.region }} is stale",
            "Three refreshes in a row failed. Models can still be called; new ones are not listed.",
        ),
        _alert(
            "Full",
            f"sum by (job, instance) ({PREFIX}requests_in_flight)"
            f" / on (job, instance) {PREFIX}stream_limit > 0.9",
            "2m", "warning", "{{ $labels.instance }} is {{ $value | humanizePercentage }} full",
            "Above its ceiling (max_streams) it answers 503. Add instances or raise the ceiling.",
        ),
        _alert(
            "Refusing",
            "sum by (job, instance) "
            f'(rate({PREFIX}requests_rejected_total{{reason="overload"}}[5m])) > 0',
            "2m", "critical", "{{ $labels.instance }} refuses requests: it is at its ceiling",
            "Clients get 503 overloaded. Add instances or raise max_streams.",
        ),
        _alert(
            "LoopLag",
            "histogram_quantile(0.99, sum by (job, instance, le) "
            f"(rate({PREFIX}event_loop_lag_seconds_bucket[5m]))) > 0.05",
            "5m", "warning",
            "The event loop of {{ $labels.instance }} lags {{ $value | humanizeDuration }} (p99)",
            "Every stream is held up by as much. The process is out of CPU, or something blocks.",
        ),
        _alert(
            "SimulatorInProduction",
            f'{PREFIX}build_info{{mode="simulator", job!~".*(demo|dev|test).*"}}',
            "1m", "critical", "{{ $labels.instance }} answers with invented text",
            "It runs on the embedded simulator (the command demo) in a job that is not named demo, "
            "dev or test.",
        ),
    ]  # fmt: skip
    return {"groups": [{"name": "bedrock-proxy", "rules": rules}]}
