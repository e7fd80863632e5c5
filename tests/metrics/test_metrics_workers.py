"""Workers and their parent over socket pairs: sums, departures, a late worker, a parent's end."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.metrics import Metrics, Record
from proxy.metrics import workers as workers_module
from proxy.metrics.workers import Gathering, Link, Unavailable

pytestmark = pytest.mark.anyio


class Worker:
    """A worker of the test's own process."""

    def __init__(self, gathering: Gathering, place: str) -> None:
        self.metrics = Metrics(version="1", mode="aws", stream_limit=10)
        ours, theirs = socket.socketpair()
        gathering.add(place, ours)
        self.line = theirs
        self.link = Link(theirs)
        self.orphaned = asyncio.Event()
        self.mute = False
        self.task = asyncio.create_task(self.link.run(self.figures, self.orphaned.set))

    async def figures(self) -> bytes:
        if self.mute:
            await asyncio.sleep(60)
        return await self.metrics.snapshot()

    def count(self, times: int) -> None:
        for _ in range(times):
            self.metrics.finish(Record("chat", "m", ended=1.0))

    async def requests(self) -> float:
        return float(await self.shown("bedrock_proxy_requests_total{"))

    async def shown(self, name: str) -> str:
        page, _ = await self.link.page("")
        found = re.search(rf"^{re.escape(name)}.* (\S+)$", page.decode(), re.MULTILINE)
        return found[1] if found else "nan"

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})

    async def die(self) -> None:
        """As after kill -9: the line ends without a word."""
        self.line.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def working(count: int) -> AsyncIterator[tuple[Gathering, list[Worker]]]:
    gathering = Gathering()
    working = [Worker(gathering, str(place)) for place in range(1, count + 1)]
    await asyncio.sleep(0.05)
    try:
        yield gathering, working
    finally:
        for worker in working:
            worker.mute = False
            await worker.leave()
        gathering.close()


async def test_any_worker_shows_the_sum() -> None:
    async with working(3) as (_, workers):
        for times, worker in enumerate(workers, 1):
            worker.count(times)
        for worker in workers:
            assert await worker.requests() == 6
        assert await workers[0].shown("bedrock_proxy_workers") == "3.0"
        many = await asyncio.gather(*(worker.requests() for worker in workers * 10))
        assert set(many) == {6.0}


async def test_a_leaving_worker_tells_its_last_figures() -> None:
    async with working(2) as (_, [one, other]):
        one.count(1)
        assert await other.requests() == 1
        one.count(4)  # never asked for
        await one.leave()
        await asyncio.sleep(0.05)
        assert await other.requests() == 5
        assert await other.shown("bedrock_proxy_workers") == "1.0"


async def test_totals_never_go_down_when_one_is_killed() -> None:
    async with working(2) as (gathering, [one, other]):
        one.count(3)
        other.count(1)
        one.metrics.streams_in_flight.labels("m").set(9)
        assert await other.requests() == 4
        assert await other.shown("bedrock_proxy_streams_in_flight") == "9.0"
        one.count(5)
        await one.die()
        assert await other.requests() == 4  # what no page had shown is lost, and nothing else
        assert await other.shown("bedrock_proxy_streams_in_flight") == "nan"
        assert await other.shown('process_open_fds{worker="1"}') == "nan"
        successor = Worker(gathering, "1")
        successor.count(2)
        await asyncio.sleep(0.05)
        assert await other.requests() == await successor.requests() == 6
        await successor.leave()


async def test_a_late_worker_is_shown_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "PATIENCE", 0.2)
    async with working(2) as (_, [one, other]):
        one.count(3)
        assert await other.requests() == 3
        one.mute = True
        other.count(1)
        assert await other.requests() == 4


async def test_a_parent_that_is_gone_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    link, lost = Link(theirs), asyncio.Event()

    async def figures() -> bytes:
        return b""

    with pytest.raises(Unavailable):
        await link.page("")  # not joined yet
    task = asyncio.create_task(link.run(figures, lost.set))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(link.page(""))
    await asyncio.sleep(0.01)
    ours.close()
    await asyncio.wait_for(lost.wait(), 1)
    await asyncio.wait({task})
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(Unavailable):
        await link.page("")
