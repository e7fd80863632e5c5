"""20,000 requests with a mix of faults against one process: nothing grows but the counters.

Marked ``long``. Memory is the process's own RSS after a warm-up; descriptors and what the proxy
itself says is in flight must come back to where they were.
"""

import asyncio
import itertools
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy.simulator import frames
from tests.relay.answers import EVENTS, GOOD, question
from tests.support.commands import KEYS, started
from tests.support.raw_upstream import (
    STREAM_HEAD,
    Line,
    RawUpstream,
    chunked,
    json_answer,
    stream_answer,
)

pytestmark = pytest.mark.long

REQUESTS = 20_000
WARM_UP = 4_000
AT_ONCE = 24
REFUSAL = json_answer("400 X", b'{"message":"no"}', b"x-amzn-errortype: ValidationException:x")
FAILING = frames.exception("modelStreamErrorException", {"message": "because"})
ANSWERS = (
    GOOD,
    GOOD,
    GOOD,
    REFUSAL,
    stream_answer(*EVENTS[:2], FAILING),
    STREAM_HEAD + chunked(EVENTS[0]) + chunked(EVENTS[1]) + b"0\r\n\r\n",  # truncated
    STREAM_HEAD + chunked(EVENTS[0] + b"\x00" * 40) + b"0\r\n\r\n",  # corrupt
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",
)


def rss(pid: int) -> int:
    """Resident memory, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class Load:
    """Clients that ask, and every so often leave before they have their answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._numbers = itertools.count()

    async def run(self, count: int) -> None:
        end = next(self._numbers) + count
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._ask_until(end))

    async def _ask_until(self, end: int) -> None:
        while (number := next(self._numbers)) < end:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            body = orjson.dumps(question(stream=number % 3 > 0))
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            if number % 11:
                while await reader.read(65536):
                    pass
            elif number % 2:
                await reader.read(1)
            writer.close()


def test_nothing_grows_but_the_counters() -> None:
    numbers = itertools.count()

    async def mixed(line: Line) -> None:
        number = next(numbers)
        await line.send(ANSWERS[number % len(ANSWERS)])
        if number % 7 == 0:
            line.writer.close()

    environment = {**KEYS, "BEDROCK_PROXY_LOG_LEVEL": "error"}
    with RawUpstream(mixed) as upstream:
        environment["AWS_ENDPOINT_URL"] = upstream.url
        with started("serve", "--port", "0", **environment) as (process, url):
            load = Load(url)
            asyncio.run(load.run(WARM_UP))
            memory, files = rss(process.pid), descriptors(process.pid)
            asyncio.run(load.run(REQUESTS))
            grown = rss(process.pid) - memory
            page = httpx.get(f"{url}/metrics").text
            assert descriptors(process.pid) <= files + 40
        assert upstream.faults == []
    in_flight = [
        line for line in page.splitlines() if line.startswith("bedrock_proxy_requests_in_flight{")
    ]
    assert in_flight
    assert all(line.endswith(" 0.0") for line in in_flight)
    assert grown < 5_000_000
