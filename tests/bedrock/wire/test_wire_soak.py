"""20,000 mixed requests on the fast engine, most of them with a fault: nothing may be left behind.

Each request knows how it must end. A connection that its peer closed in the very moment it was
taken is told as dead; the house tries such a request again on a new one, and so does this test.
"""

import asyncio
import gc
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest

from proxy.bedrock.wire_connection import Connection, Exchange
from tests.bedrock.wire.peer import (
    CHUNKED,
    OK,
    Line,
    body_of,
    engine_of,
    fetch,
    open_descriptors,
    peer,
    request,
    until,
)

pytestmark = [pytest.mark.anyio, pytest.mark.long]

KEEP = 30
AT_ONCE = 40
PARTS = CHUNKED + b"".join(b"1\r\n%d\r\n" % n for n in range(10))

ANSWERS = {
    b"good": OK,
    b"stream": PARTS + b"0\r\nT: 1\r\n\r\n",
    b"close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    b"until-end": b"HTTP/1.1 200 OK\r\n\r\nok",
    b"dies-idle": OK,
    b"surplus": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
    b"interim": b"HTTP/1.1 102 X\r\n\r\n" + OK,
    b"throttled": b"HTTP/1.1 429 X\r\nContent-Length: 2\r\n\r\nno",
    b"upload": OK,
    b"short": PARTS,
    b"garbage": b"\x00\x01\x02\r\n\r\n",
    b"nothing": b"",
    b"silent": b"",
    b"silent-body": PARTS,
    b"cancel-head": b"",
    b"cancel-body": PARTS,
    b"leave": PARTS,
    b"reset": b"",
    b"reset-body": PARTS,
    b"early": b"HTTP/1.1 413 X\r\nContent-Length: 3\r\n\r\nbig",
}
WAITS = (b"silent", b"silent-body", b"cancel-head", b"cancel-body", b"leave", b"early")
ENDS = (b"until-end", b"dies-idle", b"short", b"garbage", b"nothing")
OUTCOMES = {
    "good": "200 ok",
    "stream": "200 0123456789",
    "close": "200 ok",
    "until-end": "200 ok",
    "dies-idle": "200 ok",
    "surplus": "200 ok",
    "interim": "200 ok",
    "throttled": "429 no",
    "upload": "200 ok",
    "early": "413 big",
    "short": "RemoteProtocolError",
    "garbage": "RemoteProtocolError",
    "nothing": "RemoteProtocolError",
    "silent": "ReadTimeout",
    "silent-body": "ReadTimeout",
    "cancel-head": "TimeoutError",
    "cancel-body": "TimeoutError",
    "leave": "left",
    "reset": "ReadError",
    "reset-body": "ReadError",
}


async def misbehave(line: Line) -> None:
    while True:
        head = await line.read_head()
        how = head.split(b" ")[1][1:]
        if how == b"early":
            await line.send(ANSWERS[how])
            await line.until_gone()
            return
        await line.read_exactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        line.heads.clear()
        await line.send(ANSWERS[how])
        if how in WAITS:
            await line.until_gone()
            return
        if how.startswith(b"reset"):
            await asyncio.sleep(0.005)
            line.reset()
            return
        if how in ENDS:
            return


async def play(engine: httpx.AsyncBaseTransport, url: str, how: str) -> str:
    content = {"upload": bytes(700_000), "early": bytes(6_000_000)}.get(how, b"{}")
    read = 0.05 if how.startswith("silent") else 5.0
    asked = request(f"{url}/{how}", content=content, read=read, connect=5.0)
    try:
        if how == "leave":
            response = await engine.handle_async_request(asked)
            await anext(body_of(response))
            await response.aclose()
            return "left"
        async with asyncio.timeout(0.03 if how.startswith("cancel") else 10.0):
            status, body = await fetch(engine, asked)
        return f"{status} {body.decode()}"
    except (httpx.TransportError, TimeoutError) as fault:
        return type(fault).__name__


def resident_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


@pytest.fixture(params=["wire-asyncio", "wire-uvloop"])
def seat(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_soak_leaves_nothing() -> None:
    dice = random.Random(8)
    retried: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    async def worker(count: int) -> None:
        for _ in range(count):
            how = dice.choice(list(OUTCOMES))
            for one in (engine, fresh, fresh):
                outcome = await play(one, far.url, how)
                if outcome == OUTCOMES[how] or outcome not in {"RemoteProtocolError", "ReadError"}:
                    break
                retried[how] += 1
            assert outcome == OUTCOMES[how], how
            seen[how] += 1

    async def run(count: int) -> tuple[int, int, int]:
        await asyncio.gather(*(worker(count // AT_ONCE) for _ in range(AT_ONCE)))
        far.lines.clear()
        await until(lambda: f"{len(engine._idle)} open" in repr(engine))  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        gc.collect()
        return len(asyncio.all_tasks()), open_descriptors(), resident_kb()

    async with (
        engine_of("wire", keep=KEEP) as engine,
        engine_of("wire", keep=0) as fresh,
        peer(misbehave) as far,
    ):
        figures = [await run(4_000) for _ in range(5)]
        assert sum(seen.values()) == 20_000
        assert min(seen.values()) > 800
        assert sum(retried.values()) < 200, retried
        idle = len(engine._idle)  # type: ignore[attr-defined]
        assert idle <= KEEP
        tasks, descriptors, resident = zip(*figures, strict=True)
        assert tasks[-1] <= tasks[0] + KEEP  # the peer has a task for each idle connection
        assert descriptors[-1] <= descriptors[0] + 2 * KEEP
        # A leak grows in every run, warming up and the allocator's steps in one or two of them.
        growth = min(
            later - earlier for earlier, later in zip(resident, resident[2:], strict=False)
        )
        assert growth < 1_000, resident  # KB in 8,000 requests
        alive = Counter(type(one) for one in gc.get_objects())
        assert alive[Exchange] == 0
        assert alive[Connection] == idle
