"""Work beside the event loop's own: tasks that nobody awaits, and results out of threads.

asyncio reports an exception that nobody retrieved only when the task is garbage-collected; a task
that is still referenced would fail silently for as long as the process lives. So it is logged at
once. And a thread may tell the loop of its result only in the one way that is safe.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

logger = logging.getLogger(__name__)


def tell(task: asyncio.Task[None]) -> None:
    """For ``Task.add_done_callback``: an end by an exception is an error of ours."""
    if task.cancelled():
        return
    fault = task.exception()
    if fault is not None:
        logger.error("the task %s ended unexpectedly", task.get_name(), exc_info=fault)


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait until it has ended. A cancellation can be lost: when a child of
    ``asyncio.gather`` fails at the same moment, its exception is raised instead. So it is repeated.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.2)


def settle(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    result: object,
    failure: BaseException | None,
) -> None:
    """From another thread: end ``future``, which is ``loop``'s, unless whoever waited for it has
    gone away."""

    def end() -> None:
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)

    with suppress(RuntimeError):  # the loop was closed meanwhile; nobody waits any more
        loop.call_soon_threadsafe(end)
