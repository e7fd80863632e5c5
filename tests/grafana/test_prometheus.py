"""With a real Prometheus: what the dashboards and rules ask for is there, and alerts fire.

Load from the simulator with misfortunes, real scrapes, then every panel's and every rule's
expression is evaluated. Alerts whose waiting a test cannot sit out are held by
``rules_test.yml``; here their left-hand sides are shown to find data.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from proxy.simulator import Simulator
from tests.support.observed import (
    KEY,
    MAX_STREAMS,
    Load,
    Prometheus,
    dashboards,
    panels,
    proxied,
    scraping,
)
from tests.support.running import Running, wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="needs Prometheus (Debian's package prometheus)"
    ),
]

# What each alert compares, turned so that it finds what is well.
TURNED = {
    "BedrockProxyAbsent": ("absent(", "count("),
    "BedrockProxySlowFirstToken": ("> 10", "< 10"),
    "BedrockProxyCredentialsEnd": ("< 600", "> 600"),
    "BedrockProxyModelListStale": ("> on", "< on"),
    "BedrockProxyLoopLag": ("> 0.05", "< 5"),
}
PATIENCE = 30.0
"""Seconds that Prometheus gets for what it does every second: it shares a busy machine."""
FIRE = {
    "BedrockProxyDown",
    "BedrockProxyFailing",
    "BedrockProxyThrottled",
    "BedrockProxyRefusing",
    "BedrockProxySimulatorInProduction",
}


class Brief:
    """Another instance, which ends before the others look: all that is seen of it is its name."""

    def __init__(self) -> None:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'bedrock_proxy_build_info{mode="aws",version="0"} 1\n')

            def log_message(self, *arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def brief() -> Iterator[Brief]:
    one = Brief()
    try:
        yield one
    finally:
        one.end()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Prometheus]]:
    """A proxy after some seconds of load, and the Prometheus that watched it."""
    with (
        Simulator(pace=0.004) as simulator,
        proxied(simulator) as (proxy, elsewhere),
        brief() as other,
    ):
        target = proxy.url.removeprefix("http://")
        folder = tmp_path_factory.mktemp("prometheus")
        with scraping(folder, target, other.address) as prometheus:
            load = Load(proxy, simulator, elsewhere)
            wait_until(lambda: len(prometheus.values("up == 1")) == 2, within=PATIENCE)
            other.end()
            ends = time.monotonic() + 2 * PATIENCE
            while not prometheus.firing() >= FIRE:
                assert time.monotonic() < ends, prometheus.firing()
                load.wave()
            load.close()
            wait_until(lambda: not unwell(prometheus), within=PATIENCE)
            yield proxy, prometheus


def rules_of(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


def unwell(prometheus: Prometheus) -> list[str]:
    """The rules whose last evaluation failed, or that had none yet, and why."""
    return [
        f"{rule['name']}: {rule['health']}: {rule.get('lastError', 'not evaluated yet')}"
        for rule in rules_of(prometheus)
        if rule["health"] != "ok"
    ]


def in_the_end(missing: Callable[[], list[str]]) -> str:
    """What is still missing when Prometheus had its time."""
    ends = time.monotonic() + PATIENCE
    while (left := missing()) and time.monotonic() < ends:
        time.sleep(0.5)
    return "\n".join(left)


def test_every_panel_finds_data(watched: tuple[Running, Prometheus]) -> None:
    _, prometheus = watched
    asked = {
        f"{name}: {panel['title']}: {target['expr']}": target["expr"]
        for name, board in dashboards().items()
        for panel in panels(board)
        for target in panel["targets"]
    }
    assert len(asked) > 40
    missing = in_the_end(lambda: [w for w, expr in asked.items() if not prometheus.values(expr)])
    assert not missing, missing


def test_every_rule_is_evaluated_and_finds_data(watched: tuple[Running, Prometheus]) -> None:
    _, prometheus = watched
    rules = rules_of(prometheus)
    assert len(rules) == 27
    missing = in_the_end(lambda: unwell(prometheus))
    assert not missing, missing
    asked: dict[str, str] = {}
    for rule in rules:
        name, query = rule["name"], rule.get("query", "")
        if rule["type"] == "recording":
            query = name
        elif name == "BedrockProxyFull":  # the crowd may be gone
            query = query.replace("> 0.9", ">= 0")
        elif name in TURNED:
            word, other = TURNED[name]
            assert word in query, name
            query = query.replace(word, other)
        asked[name] = query
    missing = in_the_end(lambda: [n for n, expr in asked.items() if not prometheus.values(expr)])
    assert not missing, missing


def test_alerts_fire(watched: tuple[Running, Prometheus]) -> None:
    _, prometheus = watched
    missing = in_the_end(lambda: sorted(FIRE - prometheus.firing()))
    assert not missing, missing
    quiet = {"BedrockProxyAbsent", "BedrockProxyCredentialsEnd", "BedrockProxyModelListStale"}
    assert prometheus.firing().isdisjoint(quiet)


def test_what_was_done_is_what_is_shown(watched: tuple[Running, Prometheus]) -> None:
    proxy, prometheus = watched
    ours = proxy.samples()
    total = sum(v for k, v in ours.items() if k.startswith("bedrock_proxy_requests_total{"))
    wait_until(
        lambda: prometheus.values("sum(bedrock_proxy_requests_total)") == [total], within=PATIENCE
    )
    assert prometheus.values("bedrock_proxy_stream_limit") == [MAX_STREAMS]
    codes = {
        one["metric"]["code"]
        for one in prometheus.get("query", query="bedrock_proxy_requests_total > 0")["result"]
    }
    assert {"ok", "client_disconnected", "overloaded", "request_too_large"} <= codes
    assert prometheus.values('sum(bedrock_proxy_tokens_total{type="cache_read"})')[0] > 0
    [in_band] = prometheus.values("sum(bedrock_proxy_stream_errors_total)")
    assert in_band > 0
    assert prometheus.values("bedrock_proxy_cost_usd_total")[0] > 0
    [exact] = prometheus.values(
        'sum(gen_ai_server_time_to_first_token_seconds_bucket{le="+Inf"})'
        " - sum(bedrock_proxy_time_to_first_token_seconds_count)"
    )
    assert exact <= 0


def test_models_are_told_by_the_catalog_only(watched: tuple[Running, Prometheus]) -> None:
    proxy, _ = watched
    for number in range(3):
        httpx.post(
            f"{proxy.url}/v1/chat/completions",
            headers={"authorization": f"Bearer {KEY}"},
            json={"model": f"made-up.{number}", "messages": [{"role": "user", "content": "x"}]},
        )
    models = [key for key in proxy.samples() if "made-up" in key]
    assert not models


def test_exemplars_lead_to_requests(watched: tuple[Running, Prometheus]) -> None:
    _, prometheus = watched
    found = prometheus.get(
        "query_exemplars", query="bedrock_proxy_time_to_first_token_seconds_bucket",
        start=time.time() - 120, end=time.time(),
    )  # fmt: skip
    labels = [one["labels"] for series in found for one in series["exemplars"]]
    assert labels
    assert all(one["request_id"].startswith("req_") for one in labels)


def test_promtool_finds_nothing_to_say(watched: tuple[Running, Prometheus]) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None
    proxy, _ = watched
    page = httpx.get(f"{proxy.url}/metrics", headers={"authorization": f"Bearer {KEY}"}).content
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
