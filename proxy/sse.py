"""Server-sent event framing, the few bytes of it that OpenAI clients read.

A comment keeps intermediaries and dead-peer detection awake; clients skip it. An empty ``data:``
line would be parsed as JSON and is fatal to the official SDKs, so keep-alives are never that.
Source: WHATWG HTML, *Server-sent events*, 9.2.5 (field interpretation).
"""

from typing import Final

DONE: Final = b"data: [DONE]\n\n"
PING: Final = b": ping\n\n"


def data(payload: bytes) -> bytes:
    """One event. ``payload`` is JSON on one line (orjson escapes line breaks)."""
    return b"data: " + payload + b"\n\n"
