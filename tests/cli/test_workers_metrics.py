"""``serve --workers 2`` as Prometheus meets it: whichever worker answers, the totals are right."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from proxy.simulator import Simulator
from tests.support.running import wait_until

ROOT = Path(__file__).parents[2]
NOVA = "us.amazon.nova-pro-v1:0"
WORKERS = 2


class Family:
    """A parent with its workers. ``url`` is public, ``metrics`` the page's."""

    def __init__(self, process: subprocess.Popen[str], said: list[str]) -> None:
        self.process = process
        self._said = said

    def address(self, words: str) -> str | None:
        found = re.search(rf"{words} (http://\S+)", "".join(self._said))
        return found[1] if found else None

    @property
    def url(self) -> str:
        return self.address("listening on") or ""

    @property
    def metrics(self) -> str:
        return self.address("metrics on") or f"{self.url}/metrics"

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if not path.exists():
            pytest.skip("needs Linux's /proc to see the workers")
        return [int(one) for one in path.read_text().split()]

    def page(self) -> str:
        """Over a connection of its own, so that any worker may answer."""
        return httpx.get(self.metrics, headers={"connection": "close"}, timeout=10).text

    def value(self, name: str) -> float | None:
        found = re.findall(rf"^{re.escape(name)}\S* (\S+)$", self.page(), re.MULTILINE)
        return sum(map(float, found)) if found else None

    def ask(self, times: int, **more: object) -> None:
        for _ in range(times):
            body = {"model": NOVA, "messages": [{"role": "user", "content": "Hi"}], **more}
            answer = httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=20)
            assert answer.status_code == 200


@contextmanager
def family(simulator: Simulator, *arguments: str) -> Iterator[Family]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_ACCESS_KEY_ID": simulator.access_key,
        "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
        "AWS_REGION": simulator.region,
        "AWS_ENDPOINT_URL": simulator.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with subprocess.Popen(
        [
            sys.executable, "-m", "proxy", "serve", "--port", "0", "--workers", str(WORKERS),
            "--no-memory", *arguments,
        ],
        cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        said: list[str] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        reader.start()
        one = Family(process, said)
        try:
            begun = f"with {WORKERS} workers"
            wait_until(lambda: begun in "".join(said) or process.poll() is not None, within=20)
            assert process.poll() is None, "".join(said)
            wait_until(lambda: patiently(one.value, "bedrock_proxy_workers") == WORKERS, within=20)
            yield one
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            reader.join(5)


def patiently(look: Callable[[str], float | None], name: str) -> float | None:
    try:
        return look(name)
    except httpx.TransportError:
        return None


def test_totals_are_right_and_outlive_a_killed_worker(simulator: Simulator) -> None:
    with family(simulator, "--metrics-port", "0") as proxies:
        check_the_metrics_port(proxies)
        proxies.ask(12)
        wait_until(lambda: proxies.value("bedrock_proxy_requests_total{") == 12, within=15)
        assert {proxies.value("bedrock_proxy_requests_total{") for _ in range(12)} == {12.0}
        assert proxies.value("bedrock_proxy_stream_limit") == 1000 * WORKERS
        page = proxies.page()
        for place in range(1, WORKERS + 1):
            assert f'process_resident_memory_bytes{{worker="{place}"}}' in page
        before = proxies.children()
        simulator.control(pace=10.0)
        waiting = threading.Thread(target=hold, args=(proxies, 8))
        waiting.start()
        wait_until(lambda: proxies.value("bedrock_proxy_streams_in_flight") == 8, within=15)
        for victim in before:  # all of them, one after the other: nothing is left but the parent
            os.kill(victim, signal.SIGKILL)
        waiting.join(10)
        simulator.control(pace=0.0)
        wait_until(lambda: patiently(proxies.value, "bedrock_proxy_workers") == WORKERS, within=20)
        assert set(proxies.children()).isdisjoint(before)
        assert proxies.value("bedrock_proxy_requests_total{") == 12
        assert proxies.value("bedrock_proxy_streams_in_flight") in (0, None)
        proxies.ask(3)
        wait_until(lambda: proxies.value("bedrock_proxy_requests_total{") == 15, within=15)
        parent = proxies.process
        children = proxies.children()
        parent.send_signal(signal.SIGKILL)  # and workers do not outlive their parent
        wait_until(lambda: not any(map(alive, children)), within=15)


def check_the_metrics_port(proxies: Family) -> None:
    """It has the page and health, and nothing else; the public port has the page no more."""
    assert proxies.metrics != f"{proxies.url}/metrics"
    assert httpx.get(f"{proxies.url}/metrics").status_code == 404
    beside = proxies.metrics.removesuffix("/metrics")
    assert httpx.get(f"{beside}/healthz").status_code == 200
    assert httpx.get(f"{beside}/v1/models").status_code == 404


def hold(proxies: Family, count: int) -> None:
    threads = [threading.Thread(target=held, args=(proxies,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def held(proxies: Family) -> None:
    try:
        proxies.ask(1, stream=True)
    except httpx.TransportError:
        return


def alive(pid: int) -> bool:
    """Whether it runs: an orphan that has ended may still wait to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
