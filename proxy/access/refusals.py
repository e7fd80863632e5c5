"""Log lines of requests that reach no endpoint: refused before routing, or for an unknown URL.

Such a request costs its sender less than a log line costs us, and needs no key, so logging a flood
line by line would be worse than the flood. A process therefore writes at most ``MOST`` lines of
each kind a minute, and then one line with the number of the rest. The metrics count every one.
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
UNKNOWN: Final = "unknown"
"""The ``endpoint`` of such a line: which one was meant is only what the client says."""


class Refusals:
    """Tells those of one kind, ``endpoint``. Only on the event loop."""

    def __init__(self, endpoint: str = DOOR) -> None:
        self._endpoint = endpoint
        self._minute_ends = 0.0
        self._told = 0
        self._withheld = 0

    def tell(
        self, refusal: ProxyError, request_id: str, began: float, key: str = "", url: str = ""
    ) -> None:
        """One request was refused; ``began`` is when it came, on the monotonic clock. ``key`` is
        the name of one, ``url`` what may be shown of it."""
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
            self._endpoint, request_id=request_id, status=refusal.status, key=key,
            code=refusal.code or refusal.type, began=began, ended=now,
        )  # fmt: skip
        request_line(record, "", "", url)

    def _tell_withheld(self) -> None:
        fields = {"endpoint": self._endpoint, "more": self._withheld}
        self._withheld = 0
        logger.info("more requests were refused within the minute", extra={"fields": fields})
