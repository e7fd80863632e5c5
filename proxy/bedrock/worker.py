"""One thread for calls that block: botocore's credential sources and its configuration files.

A credential source may hang (a dead metadata service, a login command that waits for a person). It
then holds up this thread and whoever waits for it, never the event loop and never the default
executor, where name look-ups run. The thread is a daemon, so that a hung call cannot keep the
process alive after its last stream; ``ThreadPoolExecutor`` would join it at exit.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from proxy.tasks import settle

T = TypeVar("T")

_Job = tuple[Callable[[], Any], asyncio.Future[Any], asyncio.AbstractEventLoop]


class Worker:
    """Runs calls one after the other, off the event loop. Used from one event loop."""

    __slots__ = ("_jobs", "_name", "_thread")

    def __init__(self, name: str = "aws-config") -> None:
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """``call()`` in the thread; raises what it raises. A caller that goes away loses nothing:
        the call is skipped if it had not begun, else it ends by itself."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put((call, future, loop))
        return await future

    def close(self) -> None:
        """Let the thread end after what was asked so far. Does not wait."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future, loop = job
            if not future.cancelled():
                settle(loop, future, *_outcome(call))


def _outcome(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return call(), None
    except BaseException as failure:  # noqa: BLE001  # the thread's edge: the waiter gets it
        return None, failure
