"""A proxy that is watched: simulator, proxy, a real Prometheus, and a load with misfortunes.

Used by the end-to-end test of dashboards and rules, and by the script that draws the picture. The
proxy runs in this process, Prometheus (Debian's package) in one of its own, with the project's
rules; their waiting times are cut to nothing, since no test waits five minutes.
"""

import contextlib
import json
import math
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from proxy.simulator import Fault, Simulator
from tests.support.running import Running, serving, wait_until

GRAFANA = Path(__file__).parents[2] / "grafana"
KEY = "sk-observed"
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
MAX_STREAMS = 8
PRICE = {"input": 3.0, "output": 15.0, "cache_read": 0.3, "cache_write": 3.75}
ESSAY = [{"role": "user", "content": "Write 150 words about the sea."}]
MANUAL = [{"id": SONNET, "cost": PRICE}]

_MATCHING = {"$__rate_interval": "1m", "$__range": "5m", "$job": ".*", "$instance": ".*"}


class Prometheus:
    """A running Prometheus. ``url`` ends without a slash."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=10)

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self._http.get(f"/api/v1/{path}", params=parameters)
        told = answer.json()
        assert told["status"] == "success", told
        return told["data"]

    def values(self, expr: str) -> list[float]:
        """What an expression gives now, NaN left out."""
        found = [float(one["value"][1]) for one in self.get("query", query=filled(expr))["result"]]
        return [value for value in found if value == value]

    def firing(self) -> set[str]:
        alerts = self.get("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def close(self) -> None:
        self._http.close()


def filled(expr: str, **changes: str) -> str:
    """A dashboard's expression with its variables replaced."""
    for name, value in (_MATCHING | changes).items():
        expr = expr.replace(name, value)
    return expr


def dashboards() -> dict[str, Any]:
    return {p.stem: json.loads(p.read_text()) for p in sorted(GRAFANA.glob("dashboards/*.json"))}


def panels(board: Mapping[str, Any]) -> list[Any]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@contextlib.contextmanager
def proxied(simulator: Simulator, **settings: object) -> Iterator[tuple[Running, Simulator]]:
    """The proxy as it is watched: with a key, a ceiling that can be reached, a price, and another
    region to go to; and that region."""
    keys = {"access_key": simulator.access_key, "secret_key": simulator.secret_key}
    with Simulator(region="us-west-2", pace=0.004, **keys) as elsewhere:
        chosen = {
            "max_streams": MAX_STREAMS, "max_body_mb": 0.1, "metrics_key_label": True,
            "manual": MANUAL, "targets": [{"region": "us-west-2", "endpoint": elsewhere.url}],
            **settings,
        }  # fmt: skip
        with serving(
            simulator.url, settings=chosen, environment={"BEDROCK_PROXY_API_KEY": KEY},
            mode="simulator", **keys,
        ) as running:  # fmt: skip
            yield running, elsewhere


@contextlib.contextmanager
def scraping(folder: Path, *targets: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes ``targets`` (host:port) and applies the project's rules."""
    for name in ("recording.yml", "alerts.yml"):
        text = (GRAFANA / "prometheus" / name).read_text()
        (folder / name).write_text(re.sub(r'for: "\w+"', 'for: "0s"', text))
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [recording.yml, alerts.yml]\n"
        "scrape_configs:\n"
        "  - job_name: bedrock-proxy\n"
        f"    authorization: {{credentials: {KEY}}}\n"
        f"    static_configs: [{{targets: {list(targets)}}}]\n"
    )
    binary = shutil.which("prometheus")
    assert binary is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen(
            [
                binary, f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}",
                "--enable-feature=exemplar-storage", "--log.level=warn",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    prometheus = Prometheus(f"http://{address}")
    try:
        wait_until(lambda: _up(f"http://{address}/-/ready"), within=20)
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait(20)


def _up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.TransportError:
        return False


class Load:
    """Requests of many kinds against a proxy, each kind a method; ``wave`` sends all of them."""

    def __init__(self, proxy: Running, simulator: Simulator, elsewhere: Simulator) -> None:
        self._simulator = simulator
        self._elsewhere = elsewhere
        self._http = httpx.Client(
            base_url=proxy.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20,
            limits=httpx.Limits(max_connections=40),
        )  # fmt: skip
        self._turn = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def ask(self, model: str, *, stream: bool = True, **more: Any) -> int:
        """One request, read to its end; the status."""
        with self._lock:
            self._turn += 1
        messages = [{"role": "user", "content": f"Say something about the sea, {self._turn}."}]
        body = {"model": model, "stream": stream, "messages": messages, **more}
        return self._http.post("/v1/chat/completions", json=body).status_code

    def cached(self) -> None:
        """A long system prompt with a cache mark: written once, then read."""
        mark = {"type": "ephemeral"}
        text = "The sea is wide and old, and every ship on it is small. " * 120
        system = {"role": "system", "content": [{"type": "text", "text": text,
                                                 "cache_control": mark}]}  # fmt: skip
        question = {"role": "user", "content": "How wide?"}
        self.ask(SONNET, messages=[system, question])

    def leave(self, after: int) -> None:
        """Hang up after so many lines."""
        question = {"role": "user", "content": "Write 200 words about leaving."}
        body = {"model": SONNET, "stream": True, "messages": [question]}
        with self._http.stream("POST", "/v1/chat/completions", json=body) as answer:
            for number, _ in enumerate(answer.iter_lines()):
                if number >= after:
                    break

    def crowd(self) -> None:
        """More at a time than the ceiling allows."""
        self._simulator.state.settings.pace = 0.05
        with ThreadPoolExecutor(2 * MAX_STREAMS) as pool:
            list(pool.map(lambda _: self.ask(NOVA), range(2 * MAX_STREAMS)))
        self._simulator.state.settings.pace = 0.004

    def strangers(self) -> None:
        """What is refused at the door, and what is no request."""
        self._http.get("/v1/models", headers={"authorization": "Bearer wrong"})
        self._http.post("/v1/chat/completions", content=b"x" * 200_000)
        self._http.post("/v1/chat/completions", content=b"{}")

    def misfortunes(self) -> None:
        """Bedrock throttles, fails before and inside a stream, refuses, and is silent."""
        script = self._simulator.script
        for region in (self._simulator, self._elsewhere):
            region.script(Fault("throttle", times=8, model="nova"))
        with ThreadPoolExecutor(6) as pool:  # made again, then somewhere else, then given up
            list(pool.map(lambda _: self.ask(NOVA), range(6)))
        for region in (self._simulator, self._elsewhere):
            region.state.faults.clear()
        refusal = "temperature is deprecated for this model."
        script(Fault("error", error="ValidationException", message=refusal, model="llama"))
        self.ask(LLAMA, temperature=0.5)  # repaired; and from then on known
        script(Fault("exception", error="modelStreamErrorException", after=3, model="sonnet"))
        self.ask(SONNET)
        script(Fault("error", error="InternalServerException", status=500, times=4, model="llama"))
        self.ask(LLAMA, stream=False)

    def wave(self) -> None:
        self._simulator.state.settings.pace = 0.004
        for model in (SONNET, NOVA, LLAMA):
            self.ask(model)
            self.ask(model, stream=False)
        self.ask(NOVA, logit_bias={"1": 1})
        self.cached()
        self.leave(after=4)
        self.strangers()
        self.misfortunes()
        self.crowd()


def tide(load: Load, simulator: Simulator, seconds: float) -> None:
    """Some minutes of a service's life: traffic that comes and goes, and two bad spells."""
    began = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        while (now := time.monotonic() - began) < seconds:
            share = now / seconds
            many = 2 + round(2 + 2 * math.sin(now / 20))
            simulator.state.settings.pace = 0.02
            simulator.state.settings.latency = 0.8 if 0.35 < share < 0.5 else 0.1
            for number in range(many):
                model = (SONNET, NOVA, SONNET, LLAMA)[number % 4]
                pool.submit(load.ask, model, stream=number % 3 != 2, messages=ESSAY)
            pool.submit(load.cached)
            if int(now) % 4 == 0:
                pool.submit(load.leave, 4)
                pool.submit(load.ask, NOVA, logit_bias={"1": 1})
            if 0.6 < share < 0.75:
                pool.submit(load.misfortunes)
            if 0.85 < share < 0.9:
                pool.submit(load.strangers)
                for _ in range(2 * MAX_STREAMS):
                    pool.submit(load.ask, NOVA)
            time.sleep(0.73)  # out of step with the scrapes


def main() -> None:
    """``python -m tests.support.observed SECONDS``: load, then Prometheus stays for a reader."""
    seconds = float(sys.argv[1])
    with (
        tempfile.TemporaryDirectory() as folder,
        Simulator(pace=0.03) as simulator,
        proxied(simulator, max_streams=40) as (proxy, elsewhere),
        scraping(Path(folder), proxy.url.removeprefix("http://")) as prometheus,
    ):
        load = Load(proxy, simulator, elsewhere)
        sys.stdout.write(f"{prometheus.url}\n")
        sys.stdout.flush()
        tide(load, simulator, seconds)
        load.close()
        sys.stdout.write("the load has ended; end this with Enter\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
