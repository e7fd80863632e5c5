"""One page for several workers: each sends its figures to the parent, which merges and renders.

Worker and parent are joined by a socket pair, inherited at the start: nothing lies in the file
system, nobody else can connect, and the end of either is seen by the other at once. Whichever
worker Prometheus happens to reach asks the parent for the page; the parent asks all of them for
their figures and answers. So a worker's hot path costs what it costs alone, and the merging costs
its event loop nothing.

Totals never go down: what an ended worker had last told stays in the sum (a leaving worker tells
its last figures; of a killed one, only what it counted after the last page is lost, which nobody
has seen). Its gauges are gone with it.

Messages are ``length (4 bytes) | kind (1 byte) | payload``.
"""

import asyncio
import marshal
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from proxy.metrics.exposition import Family, Merged, page, unpack

PATIENCE: Final = 1.0
"""Seconds in which a worker must tell its figures; of a late one the last known ones are shown."""
_PAGE_WITHIN: Final = 5.0
_HEAD: Final = struct.Struct("!IB")
_ASK, _FIGURES, _WANT, _PAGE = range(4)


class Unavailable(Exception):
    """The parent does not answer, so there is no page that would be right."""


async def _send(writer: asyncio.StreamWriter, kind: int, payload: bytes = b"") -> None:
    writer.write(_HEAD.pack(len(payload), kind) + payload)
    await writer.drain()


async def _receive(reader: asyncio.StreamReader) -> tuple[int, bytes] | None:
    """The next message, ``None`` at the end of the line."""
    try:
        length, kind = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return kind, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Link:
    """A worker's end. ``figures`` makes its snapshot; ``lost`` is called when the parent ended."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._writer: asyncio.StreamWriter | None = None
        self._wanted: dict[int, asyncio.Future[tuple[bytes, str]]] = {}
        self._count = 0

    async def run(self, figures: Callable[[], Awaitable[bytes]], lost: Callable[[], None]) -> None:
        """Answer the parent until it ends or this is cancelled; then tell the last figures."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._line)
        try:
            while (message := await _receive(reader)) is not None:
                kind, payload = message
                if kind == _ASK:
                    await _send(self._writer, _FIGURES, await figures())
                elif kind == _PAGE:
                    number, name, data = marshal.loads(payload)
                    self._answer(number, data, name)
            lost()
        except ConnectionError:
            lost()
        finally:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await _send(self._writer, _FIGURES, await figures())
            await self._hang_up(self._writer)

    async def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        self._writer = None
        for waiting in self._wanted.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError())
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The page of all workers, in the format ``accept`` asks for. Raises ``Unavailable``."""
        self._count += 1
        number = self._count
        answer = self._wanted[number] = asyncio.get_running_loop().create_future()
        try:
            if self._writer is None:
                raise ConnectionError
            async with asyncio.timeout(_PAGE_WITHIN):
                await _send(self._writer, _WANT, marshal.dumps((number, accept)))
                data, kind = await answer
                return data, kind
        except (TimeoutError, ConnectionError):
            raise Unavailable("the workers' parent process does not answer") from None
        finally:
            del self._wanted[number]

    def _answer(self, number: int, data: bytes, name: str) -> None:
        waiting = self._wanted.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result((data, name))


class _Peer:
    """The parent's view of one worker."""

    def __init__(self, slot: str, writer: asyncio.StreamWriter) -> None:
        self.slot = slot
        self.writer = writer
        self.figures: list[Family] = []
        self.told = asyncio.Event()


class Gathering:
    """The parent's end, in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._peers: set[_Peer] = set()
        self._departed = Merged()
        self._round: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="metrics")
        self._thread.start()

    def add(self, slot: str, line: socket.socket) -> None:
        """Serve a new worker; ``slot`` is its place among the workers. From any thread."""
        self._loop.call_soon_threadsafe(lambda: self._run(self._serve(slot, line)))

    def close(self) -> None:
        """End the thread; workers that are still there take it for our end."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, slot: str, line: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=line)
        peer = _Peer(slot, writer)
        self._peers.add(peer)
        try:
            while (message := await _receive(reader)) is not None:
                kind, payload = message
                if kind == _FIGURES:
                    peer.figures = unpack(payload)
                    peer.told.set()
                elif kind == _WANT:
                    number, accept = marshal.loads(payload)
                    self._run(self._answer(peer, number, accept))
        finally:
            self._peers.discard(peer)
            self._departed.add_departed(peer.figures)
            peer.told.set()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, peer: _Peer, number: int, accept: str) -> None:
        if self._round is None or self._round.done():
            self._round = self._loop.create_task(self._gather())
        await asyncio.shield(self._round)
        merged = Merged()
        for one in sorted(self._peers, key=lambda known: known.slot):
            merged.add(one.figures, one.slot)
        merged.add_departed(self._departed.families())
        data, kind = await page(merged.metrics(), accept)
        with suppress(ConnectionError):
            await _send(peer.writer, _PAGE, marshal.dumps((number, kind, data)))

    async def _gather(self) -> None:
        """Ask every worker for its figures, and wait for those that answer in time."""
        peers = tuple(self._peers)
        if not peers:
            return
        for peer in peers:
            peer.told.clear()
        waits = [self._loop.create_task(self._ask(peer)) for peer in peers]
        _, late = await asyncio.wait(waits, timeout=PATIENCE)
        for wait in late:
            wait.cancel()

    async def _ask(self, peer: _Peer) -> None:
        with suppress(ConnectionError):
            await _send(peer.writer, _ASK)
        await peer.told.wait()
