"""Background tasks that nobody awaits: a failure is logged at once.

asyncio reports an exception that nobody retrieved only when the task is garbage-collected; a task
that is still referenced would fail silently for as long as the process lives.
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
