"""Two proxies that share their limits in a real Valkey or Redis, which is killed under load."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running import Running, serving, wait_until
from tests.support.tenants import SONNET, Tenants, tenants
from tests.support.valkey import ValkeyServer, needs_server

pytestmark = needs_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    running = ValkeyServer(tmp_path).start()
    yield running
    running.stop()


@contextmanager
def both(
    folder: Path, server: ValkeyServer, *, fail: str = "closed", **limits: Any
) -> Iterator[tuple[Tenants, Running]]:
    """Two proxies with one keys file: the key ``a`` has these limits over both."""
    settings = {"valkey_url": server.url, "memory": False, "limits_fail": fail}
    with tenants(folder, {"a": limits}, settings) as first:
        simulator = first.simulator
        with serving(
            simulator.url,
            access_key=simulator.access_key,
            secret_key=simulator.secret_key,
            settings={"keys": str(folder / "keys.toml"), **settings},
        ) as second:
            yield first, second


def ask(first: Tenants, url: str) -> httpx.Response:
    body = {"model": SONNET, "messages": [{"role": "user", "content": "Hello"}]}
    headers = first.headers("a")
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def test_what_is_used_here_is_gone_there(tmp_path: Path, server: ValkeyServer) -> None:
    with both(tmp_path, server, requests_per_minute=3) as (first, second):
        urls = (first.url, second.url, first.url, second.url)
        answers = [ask(first, url) for url in urls]
        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        left = [one.headers["x-ratelimit-remaining-requests"] for one in answers]
        assert left == ["2", "1", "0", "0"]
        assert first.running.service.defences.told.startswith("limits are shared in Valkey/Redis")


@pytest.mark.parametrize(("fail", "status"), [("closed", 503), ("open", 200)])
def test_without_the_server(tmp_path: Path, server: ValkeyServer, fail: str, status: int) -> None:
    with both(tmp_path, server, fail=fail, requests_per_minute=100) as (first, second):
        assert ask(first, first.url).status_code == 200
        server.stop()
        for url in (first.url, second.url):
            began = time.monotonic()
            answer = ask(first, url)
            assert answer.status_code == status
            assert time.monotonic() - began < 5
            if status == 503:
                assert answer.json()["error"]["code"] == "limits_unavailable"
                assert answer.headers["x-should-retry"] == "true"
        server.start()
        wait_until(lambda: ask(first, second.url).status_code == 200, within=10)


class Load:
    """Clients that stream from both proxies; how many answers are under way, by their own count.

    A client counts an answer from its 200 until it has read its end, which is within the time that
    the proxy holds a place for it: so a count above the limit is a place too many.
    """

    def __init__(self, first: Tenants, urls: tuple[str, str], limit: int) -> None:
        self.first = first
        self.urls = urls
        self.limit = limit
        self.running = 0
        self.admitted = 0
        self.over: list[int] = []
        self.codes: set[str] = set()
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._client, args=(number,)) for number in range(16)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _client(self, number: int) -> None:
        body = {"model": SONNET, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        url = f"{self.urls[number % 2]}/v1/chat/completions"
        with httpx.Client(timeout=30, headers=self.first.headers("a")) as client:
            while not self.stopped.is_set():
                with client.stream("POST", url, json=body) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        self.codes.add(answer.json()["error"]["code"])
                        time.sleep(0.02)
                        continue
                    self._count(+1)
                    for part in answer.iter_bytes():
                        if b"[DONE]" in part:
                            break
                    self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self.running += change
            self.admitted += change > 0
            if self.running > self.limit:
                self.over.append(self.running)


@pytest.mark.long
def test_the_server_is_killed_under_load(tmp_path: Path, server: ValkeyServer) -> None:
    """Three times it loses all it knew. The limit holds at every moment; answers under way go on;
    afterwards everything is as before, and every place comes back."""
    limit = 5
    with both(tmp_path, server, streams=limit) as (first, second):
        first.simulator.control(pace=0.02)
        with Load(first, (first.url, second.url), limit) as load:
            for _ in range(3):
                time.sleep(2.0)
                before = load.admitted
                assert before > 0
                server.stop()
                time.sleep(1.5)
                server.start()
                wait_until(lambda before=before: load.admitted > before + 20, within=30)  # type: ignore[misc]
            time.sleep(2.0)
        assert load.over == []
        assert load.codes == {"rate_limit_exceeded", "limits_unavailable"}
        first.simulator.control(pace=0.0)
        wait_until(lambda: ask(first, first.url).status_code == 200)
        for url in (first.url, second.url) * limit:
            assert ask(first, url).status_code == 200
