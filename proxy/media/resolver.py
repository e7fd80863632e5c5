"""DNS resolution in threads that block neither the event loop nor the process's exit.

A name server that hangs occupies a thread for as long as the system's resolver waits (tens of
seconds), and the client chooses the name: so these threads serve nothing else, there are few of
them, and they are daemons (``ThreadPoolExecutor`` would join them at exit). Source: getaddrinfo(3).
"""

import asyncio
import socket
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final

from proxy.tasks import settle

MOST: Final = 8
"""Threads at most; more look-ups than that wait for one."""

_Job = tuple[str, int, asyncio.Future[Sequence[str]], asyncio.AbstractEventLoop]


class Resolver:
    """Looks names up. Used from one event loop."""

    __slots__ = ("_jobs", "_threads")

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = 0

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        """Every address of ``host``. Raises ``OSError`` or ``UnicodeError``. The dot at the end
        keeps the machine's search domains out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[str]] = loop.create_future()
        self._jobs.put((f"{host}.", port, future, loop))
        if self._threads < MOST:
            self._threads += 1
            threading.Thread(target=self._work, name="media-dns", daemon=True).start()
        return await future

    def close(self) -> None:
        """Let the threads end, when they can. Does not wait."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            host, port, future, loop = job
            if future.cancelled():
                continue
            found: Sequence[str] = ()
            failure: Exception | None = None
            try:
                told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found = [str(one[4][0]) for one in told]
            except (OSError, UnicodeError) as fault:
                failure = fault
            settle(loop, future, found, failure)
