"""Tasks in the background, which nobody waits for: one that fails is told in the log at once.

asyncio tells of an exception that nobody asked for only when the task is thrown away; a task that
its maker keeps would fail in silence for as long as the process lives.
"""

import asyncio
import logging

logger = logging.getLogger(__name__)


def tell(task: asyncio.Task[None]) -> None:
    """For ``Task.add_done_callback``: an end by an exception is an error of ours."""
    if task.cancelled():
        return
    fault = task.exception()
    if fault is not None:
        logger.error("the task %s ended unexpectedly", task.get_name(), exc_info=fault)
