"""How late the event loop is: a timer that is due every 100 ms, and by how much it was missed.

What holds up this timer holds up every stream by as much. Ten observations a second cost nothing
that could be measured. uvloop's timers have a resolution of a millisecond, which is in the figure.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

INTERVAL: Final = 0.1


class LoopLag:
    """Runs from ``start`` to ``stop``; ``observe`` is told each lateness, in seconds."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Only in a running event loop."""
        self._due = monotonic() + INTERVAL
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._observe(max(monotonic() - self._due, 0.0))
        self.start()
