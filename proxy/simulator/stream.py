"""Event streams on the wire: pacing, batching, and the misfortunes that happen within a stream.

`play` sends the frames of an answer through an `Exchange`; a `Fault` of a kind in `faults.WITHIN`
changes what is sent and when. At pace 0 a few frames share one chunk, as on the real service; with
a pace each delta goes out alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from random import Random
from types import MappingProxyType
from typing import Any

from proxy.simulator import frames
from proxy.simulator.answer import Event
from proxy.simulator.exchange import EVENT_STREAM, Exchange
from proxy.simulator.faults import Fault

_AN_HOUR = 3600.0
_BATCH = 6
_GARBAGE = b"<html><body>502 Bad Gateway</body></html>\n" * 4


async def play(
    exchange: Exchange, events: Iterable[Event], chance: Random, pace: float, fault: Fault | None
) -> None:
    """Send a whole stream, or as much of it as the fault allows. Raises Gone."""
    content_type = EVENT_STREAM
    if fault is not None and fault.content_type:
        content_type = fault.content_type
    if fault is not None and fault.kind == "events":
        events = [(name, dict(payload)) for name, payload in fault.events]
    await exchange.head(200, content_type)
    whole = (_frame(event, chance) for event in events)
    act = _ACTS.get(fault.kind) if fault is not None else None
    if fault is None or act is None:
        await _send(exchange, whole, pace)
        await exchange.body(b"")
        return
    await act(exchange, whole, pace, fault, chance)


async def play_whole(exchange: Exchange, body: bytes, fault: Fault | None) -> None:
    """Send a Converse body; a stall comes before it, a cut or truncation in its middle."""
    if fault is not None and fault.kind == "stall":
        await exchange.pause(_AN_HOUR if fault.seconds is None else fault.seconds)
    if fault is None or fault.kind not in ("cut", "truncate"):
        await exchange.whole(200, body)
        return
    await exchange.head(200, "application/json", (("Content-Length", str(len(body))),))
    await exchange.body(body[: len(body) // 2 if fault.size is None else fault.size], more=True)
    await exchange.close()


def _frame(event: Event, chance: Random) -> bytes:
    name, payload = event
    if name.endswith("Exception"):
        return frames.exception(name, payload)
    if name == "error":
        return frames.error(str(payload.get("code", "")), str(payload.get("message", "")))
    return frames.event(name, payload, chance)


async def _send(exchange: Exchange, whole: Iterator[bytes], pace: float) -> None:
    """Send frames until there are no more; deltas at the pace."""
    batch: list[bytes] = []
    size = 1 if pace else _BATCH
    for frame in whole:
        batch.append(frame)
        if len(batch) >= size:
            await _flush(exchange, batch, pace)
            batch = []
    if batch:
        await _flush(exchange, batch, 0.0)


async def _flush(exchange: Exchange, batch: list[bytes], pace: float) -> None:
    exchange.check()
    await exchange.body(b"".join(batch), more=True)
    if exchange.record is not None:
        exchange.record.events += len(batch)
    if pace:
        await exchange.pause(pace)
    else:
        await asyncio.sleep(0)


def _first(whole: Iterator[bytes], count: int) -> Iterator[bytes]:
    for _, frame in zip(range(count), whole, strict=False):
        yield frame


async def _exception(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _send(exchange, _first(whole, fault.after), pace)
    named = fault.error or "throttlingException"
    message = fault.message or "Too many requests, please wait before trying again."
    await exchange.body(frames.exception(named, {"message": message, **fault.extra}))


async def _error_frame(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _send(exchange, _first(whole, fault.after), pace)
    text = fault.message or "The service failed to frame the answer"
    await exchange.body(frames.error(fault.error or "InternalError", text))


async def _stall(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _send(exchange, _first(whole, fault.after), pace)
    await exchange.pause(_AN_HOUR if fault.seconds is None else fault.seconds)
    await _send(exchange, whole, pace)
    await exchange.body(b"")


async def _truncate(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _part(exchange, whole, pace, fault)
    await exchange.body(b"")


async def _cut(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _part(exchange, whole, pace, fault)
    await exchange.close()


async def _reset(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _send(exchange, _first(whole, fault.after), pace)
    await exchange.reset()


async def _part(exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault) -> None:
    """The first `size` bytes, or else the first `after` frames."""
    if fault.size is None:
        await _send(exchange, _first(whole, fault.after), pace)
    else:
        await exchange.body(b"".join(whole)[: fault.size], more=True)


async def _corrupt(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    marred = (
        frames.corrupt(frame) if at == fault.after else frame for at, frame in enumerate(whole)
    )
    await _send(exchange, marred, pace)
    await exchange.body(b"")


async def _drip(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    for frame in whole:
        for at in range(len(frame)):
            exchange.check()
            await exchange.body(frame[at : at + 1], more=True)
            await exchange.pause(fault.seconds or 0.0)
    await exchange.body(b"")


async def _garbage(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    await _send(exchange, _first(whole, fault.after), pace)
    await exchange.body(fault.payload or _GARBAGE)


async def _huge(
    exchange: Exchange, whole: Iterator[bytes], pace: float, fault: Fault, chance: Random
) -> None:
    text = "x" * (1024 * 1024 if fault.size is None else fault.size)
    delta: dict[str, Any] = {"contentBlockIndex": 0, "delta": {"text": text}}
    await _send(exchange, _first(whole, 1), pace)
    await exchange.body(frames.event("contentBlockDelta", delta, chance), more=True)
    await _send(exchange, whole, pace)
    await exchange.body(b"")


Act = Callable[[Exchange, Iterator[bytes], float, Fault, Random], Awaitable[None]]

_ACTS: MappingProxyType[str, Act] = MappingProxyType(
    {
        "exception": _exception,
        "error_frame": _error_frame,
        "stall": _stall,
        "truncate": _truncate,
        "cut": _cut,
        "reset": _reset,
        "corrupt": _corrupt,
        "drip": _drip,
        "garbage": _garbage,
        "huge": _huge,
    }
)
