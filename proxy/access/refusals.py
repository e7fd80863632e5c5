"""Log lines of requests that are refused before anyone behind the door has seen them.

Whoever sends them needs no key, and a line is longer than the request may be: the log of a flood
would be the worse flood. So a process tells ``MOST`` of them a minute one by one, and of the rest
their number, once the minute is over. The metrics count every one.
"""

import asyncio
from time import monotonic
from typing import Final

from proxy.errors import ProxyError
from proxy.logs import logger, request_line
from proxy.metrics import Record

MOST: Final = 60
MINUTE: Final = 60.0
DOOR: Final = "door"
"""The ``endpoint`` of such a line: which one was meant is only what the client says."""


class Refusals:
    """Tells them. Only on the event loop."""

    def __init__(self) -> None:
        self._minute_ends = 0.0
        self._told = 0
        self._withheld = 0

    def tell(self, refusal: ProxyError, request_id: str, began: float) -> None:
        """One request was refused; ``began`` is when it came, on the monotonic clock."""
        now = monotonic()
        if now >= self._minute_ends and not self._withheld:
            self._minute_ends, self._told = now + MINUTE, 0
        if self._told >= MOST:
            if not self._withheld:
                asyncio.get_running_loop().call_later(self._minute_ends - now, self._tell_withheld)
            self._withheld += 1
            return
        self._told += 1
        record = Record(
            DOOR, request_id=request_id, status=refusal.status,
            code=refusal.code or refusal.type, began=began, ended=now,
        )  # fmt: skip
        request_line(record, "", "")

    def _tell_withheld(self) -> None:
        fields = {"endpoint": DOOR, "more": self._withheld}
        self._withheld = 0
        logger.info("more requests were refused within a minute", extra={"fields": fields})
