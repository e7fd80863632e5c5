"""Cases for ``promtool test rules``: for each alert one in which it fires and one in which not.

A case is a handful of series, minute by minute, in promtool's notation (``0+60x10``: from 0, 60
more each minute, ten times), and what fires at a time. Recorded GenAI series are looked at too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.metrics.table import PREFIX

_AT = 'job="bedrock-proxy", instance="a:1"'
_MODEL = f'{_AT}, model="nova"'
_FIRST = "time_to_first_token_seconds"
_NOVA = f'{_AT}, endpoint="chat", model="nova", stream="true"'


@dataclass(frozen=True)
class Case:
    """``fires``: what ``alert`` tells at ``at``: labels besides the severity, and its summary."""

    alert: str
    series: Mapping[str, str]
    at: str
    fires: tuple[Mapping[str, str], str] | None = None


def _requests(ok: str, failed: str, status: int = 502) -> dict[str, str]:
    name = f"{PREFIX}requests_total"
    return {
        f'{name}{{{_NOVA}, status="200", code="ok"}}': ok,
        f'{name}{{{_NOVA}, status="{status}", code="upstream_error"}}': failed,
    }


def _throttles(calls: str, throttled: str) -> dict[str, str]:
    where = f'{_AT}, region="us-east-1", model="nova"'
    return {
        f'{PREFIX}upstream_requests_total{{{where}, outcome="ok"}}': calls,
        f"{PREFIX}upstream_throttles_total{{{where}}}": throttled,
    }


def _histogram(name: str, labels: str, below: str, bound: str, above: str) -> dict[str, str]:
    """Two buckets: what is at most ``below`` and ``above`` seconds."""
    return {
        f'{PREFIX}{name}_bucket{{{labels}, le="{below}"}}': bound,
        f'{PREFIX}{name}_bucket{{{labels}, le="{above}"}}': "0+100x30",
        f'{PREFIX}{name}_bucket{{{labels}, le="+Inf"}}': "0+100x30",
    }


def _info(mode: str, job: str = "bedrock-proxy") -> str:
    return f'{PREFIX}build_info{{job="{job}", instance="a:1", mode="{mode}", version="1"}}'


_UP = f"up{{{_AT}}}"
_LIMIT = f"{PREFIX}stream_limit{{{_AT}}}"
_IN_FLIGHT = f'{PREFIX}requests_in_flight{{{_AT}, endpoint="chat"}}'
_LAST_GOOD = f'{PREFIX}discovery_last_success_timestamp_seconds{{{_AT}, region="us-east-1"}}'
_INTERVAL = f"{PREFIX}discovery_interval_seconds{{{_AT}}}"
_EXPIRY = f'{PREFIX}credentials_expiry_timestamp_seconds{{{_AT}, source="imds"}}'
_REJECTED = f'{PREFIX}requests_rejected_total{{{_AT}, reason="%s"}}'
_HERE = {"job": "bedrock-proxy", "instance": "a:1"}

CASES: Sequence[Case] = (
    Case("Down", {_UP: "1x10 0x20", _info("aws"): "1x10 stale"}, "20m", (_HERE, "a:1 is down")),
    Case("Down", {_UP: "0x30"}, "20m"),  # some other job's target
    Case("Down", {_UP: "1x30", _info("aws"): "1x30"}, "20m"),
    Case("Absent", {_UP: "1x30"}, "20m", ({}, "No proxy is running")),
    Case("Absent", {_info("aws"): "1x30"}, "20m"),
    Case("Failing", _requests("0+90x30", "0+10x30"), "20m",
         ({"job": "bedrock-proxy"}, "10% of requests fail")),
    Case("Failing", _requests("0+90x30", "0+10x30", status=200), "20m",  # told inside a stream
         ({"job": "bedrock-proxy"}, "10% of requests fail")),
    Case("Failing", _requests("0+90x30", "0+10x30", status=400), "20m"),  # the clients' fault
    Case("Failing", _requests("0+90x30", "0+10x30"), "4m"),  # not long enough
    Case("Throttled", _throttles("0+75x30", "0+15x30"), "20m",
         ({"job": "bedrock-proxy", "region": "us-east-1"},
          "Bedrock throttles 20% of calls in us-east-1")),
    Case("Throttled", _throttles("0+75x30", "0+3x30"), "20m"),
    Case("SlowFirstToken", _histogram(_FIRST, _MODEL, "10.0", "0+0x30", "20.0"), "25m",
         ({"job": "bedrock-proxy", "model": "nova"},
                 "nova takes 19.5s to its first token (p95)")),
    Case("SlowFirstToken", _histogram(_FIRST, _MODEL, "5.0", "0+100x30", "10.0"), "25m"),
    Case("CredentialsEnd", {_EXPIRY: "1500x30"}, "20m",
         (_HERE | {"source": "imds"}, "AWS credentials end in 5m 0s")),
    Case("CredentialsEnd", {_EXPIRY: "0x30"}, "20m",
         (_HERE | {"source": "imds"}, "AWS credentials have ended, or never came")),
    Case("CredentialsEnd", {_EXPIRY: "3600x30"}, "20m"),
    Case("CredentialsEnd", {_EXPIRY: " ".join(["Inf"] * 30)}, "20m"),
    Case("ModelListStale", {_LAST_GOOD: "60x60", _INTERVAL: "300x60"}, "40m",
         (_HERE | {"region": "us-east-1"}, "The model list of us-east-1 is stale")),
    Case("ModelListStale", {_LAST_GOOD: "0x60", _INTERVAL: "300x60"}, "40m",  # never good
         (_HERE | {"region": "us-east-1"}, "The model list of us-east-1 is stale")),
    Case("ModelListStale", {_LAST_GOOD: "0+60x60", _INTERVAL: "300x60"}, "40m"),
    Case("ModelListStale", {_LAST_GOOD: "60x60", _INTERVAL: "0x60"}, "40m"),  # listed when asked
    Case("Full", {_LIMIT: "100x30", _IN_FLIGHT: "95x30"}, "10m", (_HERE, "a:1 is 95% full")),
    Case("Full", {_LIMIT: "100x30", _IN_FLIGHT: "85x30"}, "10m"),
    Case("Refusing", {_REJECTED % "overload": "0+5x30"}, "10m",
         (_HERE, "a:1 refuses requests: it is at its ceiling")),
    Case("Refusing", {_REJECTED % "auth": "0+5x30", _REJECTED % "overload": "5x30"}, "10m"),
    Case("LoopLag", _histogram("event_loop_lag_seconds", _AT, "0.05", "0+90x30", "0.1"), "20m",
         (_HERE, "The event loop of a:1 lags 95ms (p99)")),
    Case("LoopLag", _histogram("event_loop_lag_seconds", _AT, "0.005", "0+100x30", "0.1"), "20m"),
    Case("SimulatorInProduction", {_info("simulator"): "1x30"}, "10m",
         (_HERE | {"mode": "simulator", "version": "1"}, "a:1 answers with invented text")),
    Case("SimulatorInProduction", {_info("aws"): "1x30"}, "10m"),
    Case("SimulatorInProduction", {_info("simulator", "llm-demo"): "1x30"}, "10m"),
)  # fmt: skip


def cases(alerts: Mapping[str, Any]) -> dict[str, Any]:
    """The file for ``promtool test rules``; severities and descriptions are those of ``alerts``."""
    rules = {rule["alert"]: rule for rule in alerts["groups"][0]["rules"]}
    return {
        "rule_files": ["alerts.yml", "recording.yml"],
        "evaluation_interval": "1m",
        "tests": [*(_test(case, rules) for case in CASES), _recorded()],
    }


def _test(case: Case, rules: Mapping[str, Any]) -> dict[str, Any]:
    name = f"BedrockProxy{case.alert}"
    expected = []
    if case.fires is not None:
        labels, summary = case.fires
        rule = rules[name]
        described = {"summary": summary, "description": rule["annotations"]["description"]}
        expected = [{"exp_labels": {**rule["labels"], **labels}, "exp_annotations": described}]
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": name}
            | ({"exp_alerts": expected} if expected else {})
        ],
    }


def _recorded() -> dict[str, Any]:
    """A convention's bucket is picked out, one of ours alone is not; input tokens are added up."""
    first = f'{PREFIX}time_to_first_token_seconds_bucket{{{_AT}, model="nova", le="%s"}}'
    tokens = f'{PREFIX}tokens_total{{{_AT}, model="nova", type="%s"}}'
    series = {
        first % "10.0": "8x5", first % "80.0": "9x5", first % "+Inf": "9x5",
        tokens % "input": "10x5", tokens % "cache_read": "30x5", tokens % "output": "7x5",
    }  # fmt: skip
    labels = (
        'gen_ai_operation_name="chat", gen_ai_provider_name="aws.bedrock", '
        f'gen_ai_request_model="nova", {_AT}'
    )
    usage = f'gen_ai_client_token_usage_sum{{{labels}, gen_ai_token_type="%s"}}'
    bucket = f'gen_ai_server_time_to_first_token_seconds_bucket{{{labels}, le="%s"}}'
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": "gen_ai_server_time_to_first_token_seconds_bucket",
                "eval_time": "4m",
                "exp_samples": [
                    {"labels": bucket % "10.0", "value": 8},
                    {"labels": bucket % "+Inf", "value": 9},
                ],
            },
            {
                "expr": "gen_ai_client_token_usage_sum",
                "eval_time": "4m",
                "exp_samples": [
                    {"labels": usage % "input", "value": 40},
                    {"labels": usage % "output", "value": 7},
                ],
            },
        ],
    }
