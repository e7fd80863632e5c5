"""An opened answer of Bedrock: its events as they come, until it is whole or ends in one fault.

What a whole stream is, ``converse/stream.py`` knows; here its bytes are read, and the connection is
given back or closed. Source: Bedrock API reference, *ConverseStream*.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

import httpx

from proxy.bedrock.transport import Reply, after_answer, too_large
from proxy.converse.stream import ConverseStream
from proxy.converse.types import Event
from proxy.errors import ProxyError

_STREAM_LIMIT: Final = 64_000_000
"""Bytes of one stream: 500 a token of the longest answers there are. What is folded, and what a
stream must remember, is held in memory."""


Judge = Callable[[ProxyError | None], None]
"""Is told how a call went: ``None`` is well."""


class Answer:
    """An opened answer. ``first`` was decoded while opening; ``more`` gives the rest.

    The contract of ``more``: a non-empty list of events, or ``[]`` once the answer is whole, or a
    ``ProxyError`` after every event that preceded the fault was given out. ``close`` must be called
    in any case: an answer that was not read to its end takes its connection with it.
    """

    def __init__(self, reply: Reply | None, region: str, upstream_id: str | None):
        self._reply = reply
        self._stream = ConverseStream()
        self._size = 0
        self.first: list[Event] = []
        self.region = region
        self.upstream_id = upstream_id
        self.called = ""
        """The model's id as it was called in that region."""
        self.reworded = False
        """It answers other words than those the question was put in at first."""
        self.begun = reply is None
        """It has said more than that it begins."""
        self.waiting = False
        """Bedrock's turn: nothing is held up on our side."""
        self._judge: Judge | None = None
        self.last_read = monotonic()

    @property
    def whole(self) -> bool:
        """Nothing of it is still to come, not even its end."""
        reply, stream = self._reply, self._stream
        return reply is None or (reply.complete and stream.ended and stream.failure is None)

    def judge(self, judge: Judge) -> None:
        """Tell ``judge`` once how the call went: when more than the beginning is there, or what
        ended it before that."""
        self._judge = judge
        if self.begun:
            self._tell(None)

    def _tell(self, error: ProxyError | None) -> None:
        judge, self._judge = self._judge, None
        if judge is not None:
            judge(error)

    async def more(self) -> list[Event]:
        stream = self._stream
        try:
            while True:
                if stream.failure is not None:
                    raise stream.failure
                if stream.ended or self._reply is None:
                    return []
                data = await self._read(self._reply)
                if not data:
                    failure = stream.close()
                    if failure is not None:
                        raise failure
                    return []
                self._size += len(data)
                if self._size > _STREAM_LIMIT:
                    raise too_large(_STREAM_LIMIT)
                events = stream.receive(data)
                if events:
                    if not self.begun and (len(events) > 1 or events[0][0] != "messageStart"):
                        self.begun = True
                        self._tell(None)
                    return events
        except ProxyError as error:
            self._tell(error)
            raise

    async def _read(self, reply: Reply) -> bytes:
        self.waiting, self.last_read = True, monotonic()
        try:
            return await reply.read()
        except httpx.TransportError as fault:
            raise after_answer(fault) from fault.with_traceback(None)
        finally:
            self.waiting, self.last_read = False, monotonic()

    async def close(self) -> None:
        """Give the connection back if the answer is at its end, else close it."""
        if self._reply is None:
            return
        self._tell(None)
        good = self._stream.ended and self._stream.failure is None
        if good and not self._reply.complete:
            try:
                async with asyncio.timeout(0.2):  # the chunked body's end mark, usually there
                    while await self._reply.read():
                        pass
            except (TimeoutError, httpx.TransportError):
                pass  # closing is all that is left to do
        await self._reply.aclose()
