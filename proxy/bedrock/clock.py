"""AWS's clock, read from a response that refused our signature's time. Pure.

AWS tolerates five minutes between a signature's time and its own. A refusal carries the server's
time in its ``Date`` header; if an intermediary removed that, the recorded error text has it:
"Signature expired: 20260102T030405Z is now earlier than 20260102T031000Z (20260102T031500Z - 5
min.)" (``captures``, *Error wordings*; the form for times in the future is that of other AWS
services, not verified for Bedrock).
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

TOLERANCE: Final = 240.0
"""Seconds between a signature and the server above which the clock is to blame. AWS refuses from
300 on; the rest is the way there and whole-second dates."""

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_NOW: Final = re.compile(r"\((\d{8}T\d{6}Z) [-+] \d+ min")


def stamp_time(stamp: str) -> float | None:
    """The unix time of an ``x-amz-date`` value; ``None`` if it is none."""
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def server_time(date: str | None, message: str) -> float | None:
    """The server's unix time, from its ``Date`` header or else from the message."""
    if date:
        try:
            return parsedate_to_datetime(date).timestamp()
        except ValueError:
            pass
    found = _NOW.search(message)
    return stamp_time(found[1]) if found else None
