"""The clients of ``proxy.py``'s benchmark: HTTP/1.1 on a protocol, and a check of every answer.

A closed loop: each of ``clients`` connections asks again as soon as its answer is whole, until the
time or the number of questions is used up. An answer counts only if it holds what ``marks`` say (so
many data lines, the end mark), so that nothing is fast by leaving something out.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast


@dataclass(slots=True)
class Outcome:
    """Answers that were whole, those that were not, and seconds from each question to the first
    byte of its answer's body."""

    whole: int = 0
    broken: int = 0
    first_bytes: list[float] = field(default_factory=list)
    example: bytes = b""
    """The beginning of a broken answer."""


class Client(asyncio.Protocol):
    def __init__(self, run: "Run") -> None:
        self._run = run
        self._answer = bytearray()
        self._body = -1
        self._length: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        if not self._run.more():
            self._run.left()
            return
        self._answer.clear()
        self._body, self._length = -1, None
        self._asked = time.perf_counter()
        self.transport.write(self._run.question)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        answer += data
        if self._body < 0:
            end = answer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._body = end + 4
            head = bytes(answer[:end]).lower()
            _, found, after = head.partition(b"content-length:")
            self._length = int(after.split(b"\r\n")[0]) if found else None
            self._first = 0.0
        if not self._first and len(answer) > self._body:
            self._first = time.perf_counter()
            self._run.outcome.first_bytes.append(self._first - self._asked)
            self._run.begun += 1
        if self._is_whole():
            self._run.judge(answer)
            self._ask()

    def _is_whole(self) -> bool:
        if self._length is not None:
            return len(self._answer) >= self._body + self._length
        return self._answer.endswith(b"\r\n0\r\n\r\n", self._body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.left()


class Run:
    """One measurement: ``seconds`` long, or ``questions`` many."""

    def __init__(
        self,
        question: bytes,
        marks: Mapping[bytes, int],
        *,
        seconds: float = 0.0,
        questions: int = 0,
    ) -> None:
        self.question = question
        self.outcome = Outcome()
        self.begun = 0
        self._marks = marks
        self._ends = time.perf_counter() + seconds if seconds else float("inf")
        self._left = questions if questions else 1 << 60
        self._open = 0
        self._over = asyncio.Event()

    def more(self) -> bool:
        self._left -= 1
        return self._left >= 0 and time.perf_counter() < self._ends

    def judge(self, answer: bytearray) -> None:
        if all(answer.count(mark) == count for mark, count in self._marks.items()):
            self.outcome.whole += 1
        else:
            self.outcome.broken += 1
            self.outcome.example = bytes(answer[:300])

    def left(self) -> None:
        self._open -= 1
        if self._open <= 0:
            self._over.set()

    async def go(self, port: int, clients: int, spread: float = 0.0) -> Outcome:
        """``spread``: seconds over which the clients begin."""
        opened = await self.open(port, clients, spread)
        await self._over.wait()
        for transport in opened:
            transport.close()
        return self.outcome

    async def open(
        self, port: int, clients: int, spread: float = 0.0
    ) -> list[asyncio.BaseTransport]:
        """Connect and begin to ask, without waiting for the end."""
        loop = asyncio.get_running_loop()
        self._open = clients
        opened: list[asyncio.BaseTransport] = []
        for _ in range(clients):
            transport, _ = await loop.create_connection(lambda: Client(self), "127.0.0.1", port)
            opened.append(transport)
            if spread:
                await asyncio.sleep(spread / clients)
        return opened


def question(path: str, body: bytes) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer sk-bench\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), len(body), body)
    )
