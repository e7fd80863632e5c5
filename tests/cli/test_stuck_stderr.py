"""Nobody reads what ``serve`` says: its clients do not notice, and the loss is told afterwards."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import orjson
import pytest

from tests.support.commands import BARE, KEYS, ROOT, alive
from tests.support.running import wait_until

KEY = "sk-4711"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
LONG = "x" * 128
"""As a request id: fewer requests fill what may wait."""


class Served:
    """``serve`` in a process of its own, and what it said, once it is read."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int, *, workers: int) -> None:
        self.process = process
        self.said = b""
        self._fd = fd
        while self.said.count(b"listening on") < (workers + 1 if workers > 1 else 1):
            part = os.read(fd, 4096)
            assert part, self.said.decode()
            self.said += part
        match = re.search(rb"listening on (http://\S+)", self.said)
        assert match is not None
        self.address = urlsplit(match[1].decode()).netloc

    def read(self) -> threading.Thread:
        """Read on, to the end, in a thread."""

        def read() -> None:
            while part := os.read(self._fd, 65536):
                self.said += part

        thread = threading.Thread(target=read)
        thread.start()
        return thread

    def lines(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for line in self.said.splitlines() if line.startswith(b"{")]

    def ask(self, count: int) -> float:
        """So many requests that are refused after their line's worth of work; the slowest."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        slowest = 0.0
        for _ in range(count):
            began = time.monotonic()
            headers = AUTHORIZED | {"x-request-id": LONG}
            connection.request("POST", "/v1/chat/completions", b"{}", headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (400, 415)
            slowest = max(slowest, time.monotonic() - began)
        connection.close()
        return slowest

    def dropped(self) -> float:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", "/metrics", headers=AUTHORIZED)
        page = connection.getresponse().read().decode()
        connection.close()
        match = re.search(r"^bedrock_proxy_log_lines_dropped_total (\S+)$", page, re.MULTILINE)
        assert match is not None
        return float(match[1])


@contextmanager
def serving(*arguments: str, workers: int = 1) -> Iterator[Served]:
    environment = BARE | KEYS | {
        "BEDROCK_PROXY_API_KEY": KEY, "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        # A listing that fails is told again after five seconds, and counted where lines are lost.
        "BEDROCK_PROXY_ENABLED": "false",
    }  # fmt: skip
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", *arguments]
    reader, writer = os.pipe()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=writer) as process:
        os.close(writer)
        try:
            yield Served(process, reader, workers=workers)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            finally:
                process.kill()
                os.close(reader)


def test_clients_do_not_notice_and_the_loss_is_told() -> None:
    with serving() as served:
        before = served.ask(50)
        slowest = served.ask(3_000)
        assert slowest < 2 + before  # it stood still for ever
        lost = served.dropped()
        assert 100 < lost < 3_000
        reading = served.read()
        wait_until(lambda: b"lines were dropped" in served.said)
        served.ask(20)
        assert served.dropped() == lost
        served.process.send_signal(signal.SIGTERM)
        reading.join(20)
    lines = served.lines()
    [told] = [number for number, line in enumerate(lines) if "lost" in line]
    assert (lines[told]["lost"], lines[told]["level"]) == (lost, "warning")
    requests = [line for line in lines if line["message"] == "request"]
    assert len(requests) == 3_070 - lost
    assert len([line for line in lines[told:] if line["message"] == "request"]) == 20


def test_leaving_takes_no_longer_than_a_second() -> None:
    with serving() as served:
        served.ask(500)
        served.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert served.process.wait(20) == 0
        assert 0.9 < time.monotonic() - began < 10
        read = served.read()
        read.join(10)
    assert b'"message":"request"' in served.said


@pytest.mark.long
def test_neither_workers_nor_their_parent_stand_still() -> None:
    with serving("--workers", "2", "--no-memory", workers=2) as served:
        askers = [threading.Thread(target=served.ask, args=(2_500,)) for _ in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(60)
            assert not asker.is_alive()
        assert served.dropped() > 0
        reading = served.read()
        wait_until(lambda: served.said.count(b"lines were dropped") == 2)
        time.sleep(0.2)
        served.process.send_signal(signal.SIGTERM)
        reading.join(20)
    assert all(line["message"] for line in served.lines())  # no line is torn


@pytest.mark.parametrize("behind", ["2>/dev/full", "2>&- 0<&-"])
@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_where_nothing_can_be_said(behind: str, workers: int) -> None:
    """A full disk behind stderr, or none at all, is no reason not to start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    many = ("--workers", str(workers), "--no-memory")
    arguments = [sys.executable, "-m", "proxy", "serve", "--port", str(port), *many]
    environment = {**BARE, **KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with subprocess.Popen(
        ["bash", "-c", f'exec "$@" {behind}', "bash", *arguments], cwd=ROOT, env=environment
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or alive(f"http://127.0.0.1:{port}"), 15)
            assert process.poll() is None
        finally:
            process.terminate()
        assert process.wait(15) in (
            0,
            120,
        )  # CPython's own word for a stderr that was never flushed
