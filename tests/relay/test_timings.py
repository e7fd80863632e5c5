"""The promised figures, on real sockets: how fast a client's leaving is passed on, how soon silence
is told, what a storm is multiplied by, how many streams one process holds, what a body stalls.

Marked ``long``: they assert times, and want a machine to themselves.
"""

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy.cli.sockets import raise_descriptor_limit
from tests.relay.answers import EVENTS, GOOD, MODEL, ask, question
from tests.relay.test_cancel import (
    after_the_head,
    before_the_head,
    in_a_lively_stream,
    in_the_stream,
    send_question,
)
from tests.support.commands import BARE, KEYS, ROOT, alive, started
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    Script,
    chunked,
    json_answer,
    sending,
)
from tests.support.running import serving, wait_until

pytestmark = pytest.mark.long

THROTTLE = json_answer(
    "429 X", b'{"message":"Too many requests"}', b"x-amzn-errortype: ThrottlingException:http://x/"
)


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    raise_descriptor_limit()
    with RawUpstream(sending(GOOD)) as one:
        yield one
        assert one.faults == []


def read_to_end(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65536):
        data += part
        if data.endswith(b"0\r\n\r\n"):
            break
    return data


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "phase", [before_the_head, after_the_head, in_the_stream, in_a_lively_stream]
)
def test_leaving_is_passed_on_within_a_quarter_second(
    upstream: RawUpstream, phase: Script, stream: bool
) -> None:
    upstream.scripts = [phase]
    with serving(upstream.url) as proxy:
        for _ in range(20):
            seen = len(upstream.calls())
            client = send_question(proxy, stream=stream)
            wait_until(lambda seen=seen: len(upstream.calls()) > seen)  # type: ignore[misc]
            time.sleep(0.02)
            left = time.monotonic()
            client.close()
            call = upstream.calls()[-1]
            wait_until(lambda call=call: call.ended is not None)  # type: ignore[misc]
            assert call.ended is not None
            assert call.ended - left < 0.25


@pytest.mark.parametrize(
    ("begun", "setting", "status"),
    [(False, "first_byte_timeout", 504), (True, "stall_timeout", 200)],
)
def test_silence_is_told_within_a_second_of_its_limit(
    upstream: RawUpstream, begun: bool, setting: str, status: int
) -> None:
    async def silent(line: Line) -> None:
        if begun:
            await line.send(STREAM_HEAD + b"".join(map(chunked, EVENTS[:2])))
        await line.until_closed()

    upstream.scripts = [silent]
    with serving(upstream.url, settings={setting: 2, "grace": 30}) as proxy:
        began = time.monotonic()
        told = ask(proxy)
        assert 1.9 < time.monotonic() - began < 3
        assert (told.status, told.error["code"]) == (status, "upstream_timeout")


def test_a_storm_is_multiplied_by_a_quarter_at_most(upstream: RawUpstream) -> None:
    upstream.scripts = [sending(THROTTLE)]
    with serving(upstream.url, settings={"grace": 60}) as proxy:
        clients = [send_question(proxy) for _ in range(400)]
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 429 ")
            client.close()
        assert 400 <= len(upstream.calls()) <= 500


def test_two_hundred_live_streams_survive_a_drain(upstream: RawUpstream) -> None:
    async def two_seconds(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        for _ in range(20):
            await line.send(chunked(EVENTS[1]))
            await asyncio.sleep(0.1)
        await line.send(b"".join(map(chunked, EVENTS[3:])) + b"0\r\n\r\n")

    upstream.scripts = [two_seconds]
    with serving(upstream.url, settings={"drain_timeout": 20}) as proxy:
        clients = [send_question(proxy) for _ in range(200)]
        wait_until(lambda: len(upstream.calls()) == 200, within=10)
        proxy.stop()
        answers = [read_to_end(client) for client in clients]
        for client in clients:
            client.close()
        last = time.monotonic()
        assert all(b"data: [DONE]" in answer for answer in answers)
        wait_until(lambda: not proxy.loop.is_running(), within=5)
        assert time.monotonic() - last < 2


def test_a_thousand_streams_wait_in_one_process(upstream: RawUpstream) -> None:
    upstream.scripts = [in_the_stream]
    environment = {**KEYS, "AWS_ENDPOINT_URL": upstream.url, "BEDROCK_PROXY_DRAIN_TIMEOUT": "0"}
    with started("serve", "--port", "0", **environment) as (_, url), ExitStack() as leaving:
        for _ in range(1000):
            leaving.enter_context(send_question(url))
        wait_until(lambda: len(upstream.calls()) == 1000, within=30)
        began = time.monotonic()
        assert httpx.get(f"{url}/healthz").status_code == 200
        refused = httpx.post(f"{url}/v1/chat/completions", json=question())
        assert time.monotonic() - began < 1
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        leaving.close()
        wait_until(lambda: all(call.ended for call in upstream.calls()), within=10)


def test_out_of_descriptors_it_recovers_and_the_log_stays_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = BARE | KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    command = f"ulimit -n 60; exec {sys.executable} -m proxy serve --port 0"
    with (
        log.open("w") as out,
        subprocess.Popen(["bash", "-c", command], cwd=ROOT, env=environment, stderr=out) as process,
    ):
        try:
            wait_until(lambda: "listening on" in log.read_text(), within=10)
            url = re.findall(r"listening on (\S+)", log.read_text())[0]
            parts = urlsplit(url)
            with ExitStack() as crowd:
                for _ in range(150):
                    address = (parts.hostname, parts.port)
                    crowd.enter_context(socket.create_connection(address, timeout=5))
                time.sleep(2)
            wait_until(lambda: alive(url), within=10)
            assert len(log.read_text().splitlines()) < 40
        finally:
            process.terminate()


class Pulse:
    """Streams that tick every 10 ms, and the longest pause that any of them saw."""

    def __init__(self, url: str, count: int) -> None:
        self.worst = 0.0
        self.ready = 0
        self._go = True
        self._threads = [
            threading.Thread(target=self._watch, args=(send_question(url),), daemon=True)
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _watch(self, client: socket.socket) -> None:
        client.recv(65536)
        client.recv(65536)
        self.ready += 1
        last = time.monotonic()
        while self._go and client.recv(65536):
            now = time.monotonic()
            self.worst = max(self.worst, now - last)
            last = now
        client.close()

    def stop(self) -> None:
        self._go = False
        for thread in self._threads:
            thread.join(5)


async def ticking(line: Line) -> None:
    await line.send(STREAM_HEAD + chunked(EVENTS[0]))
    try:
        while True:
            await line.send(chunked(EVENTS[1]))
            await asyncio.sleep(0.05)
    except ConnectionError:
        pass


@pytest.mark.parametrize(
    ("kind", "most"), [("base64", 0.1), ("small messages", 0.5)], ids=["base64", "messages"]
)
def test_a_large_body_does_not_stall_streams(
    upstream: RawUpstream, tmp_path: Path, kind: str, most: float
) -> None:
    """Proxy, streams and the sender of the body are processes of their own; the pause is measured
    against that of the same streams without the body."""
    if kind == "base64":
        url = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA" + "A" * 3_300_000
        parts = [{"type": "image_url", "image_url": {"url": url}}] * 3
        messages = [{"role": "user", "content": [{"type": "text", "text": "x"}, *parts]}]
    else:
        turn = [{"role": "user", "content": "x" * 900}, {"role": "assistant", "content": "y" * 900}]
        messages = turn * 4_900
    body = tmp_path / "body.json"
    body.write_bytes(orjson.dumps({"model": MODEL, "messages": messages}))
    assert 9_000_000 < body.stat().st_size < 12_000_000
    upstream.scripts = [ticking]
    with started("serve", "--port", "0", **KEYS, AWS_ENDPOINT_URL=upstream.url) as (_, url):
        pulse = Pulse(url, 100)
        wait_until(lambda: pulse.ready == 100, within=20)
        time.sleep(1)
        quiet, pulse.worst = pulse.worst, 0.0
        upstream.scripts = [sending(GOOD)]
        for _ in range(3):
            target = f"{url}/v1/chat/completions"
            sent = subprocess.run(
                ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "expect:",
                 "-H", "content-type: application/json", "--data-binary", f"@{body}", target],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert sent.stdout == "200", sent
        worst = pulse.worst
        pulse.stop()
    assert worst - quiet < most
