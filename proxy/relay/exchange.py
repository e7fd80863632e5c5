"""The relay of one answer: upstream events to client bytes, under one deadline.

An ``Exchange`` runs the call under a single deadline that a timer, a client's disconnect and a
drain can all move forward; so there is one way out, on which the upstream is always closed. The
timer acts on silence: it sends the response head after the grace period, keep-alive comments and
empty chunks, and detects a stalled upstream.

The contract (pi-ai's, and ours): once the head is sent a failure is reported inside the stream,
never by a bare close, and a stream ends with exactly one of its end mark or an error. All times are
of one monotonic clock, in seconds. There is no per-read timeout: ``asyncio.wait_for`` around each
read swallows cancellations on 3.11, and has a cost for every read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

from proxy.bedrock.answer import Answer
from proxy.bedrock.upstream import Opening
from proxy.dialect import Collector, Encoder, Keepsake
from proxy.errors import CLIENT_CLOSED, ProxyError
from proxy.metrics import Record
from proxy.relay.client import Client, ClientGone
from proxy.sse import PING

Opener = Callable[[Opening], Awaitable[Answer]]
"""Opens the answer, at first or anew."""

SETTLE: Final = 0.25
"""Seconds that an answer which has begun, but says nothing yet, may still become a true status."""

COUNTS: Final = 0.5
"""Seconds that the token counts, which Bedrock tells last, are waited for once the answer's last
word is out and the client has hung up on it: it is a good answer, and it is paid for."""

Cause = Literal["total", "stall", "gone", "drain"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations, in seconds. ``total`` covers all tries."""

    grace: float
    stall: float
    total: float
    keepalive: float
    heartbeat: float


class Exchange:
    """One question and its answer. ``run_*`` return nothing; how it ended stands in ``record``.

    ``keep`` takes what an answer leaves behind, before the client hears of its end: whoever then
    asks on, here or at another replica, finds it.
    """

    def __init__(
        self,
        client: Client,
        limits: Limits,
        record: Record,
        keep: Callable[[Keepsake], Awaitable[None]],
    ) -> None:
        self._client = client
        self._limits = limits
        self._record = record
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.Timeout | None = None
        self._cause: Cause = "total"
        self._timer: asyncio.TimerHandle | None = None
        self._answers: list[Answer] = []
        self._heartbeat: Callable[[], bytes] | None = None
        self._beaten = False
        self._finished = False
        """The last word of the only answer is out."""
        self._speak_by = record.began + limits.grace

    def abort(self, cause: Cause) -> None:
        """Pull the deadline forward to now, for this reason. Safe at any time, and twice."""
        if self._deadline is not None and not self._deadline.expired():
            self._cause = cause
            self._deadline.reschedule(self._loop.time())

    async def run(self, work: Callable[["Exchange"], Awaitable[None]]) -> None:
        """Do ``work`` under the deadline and the watch of the client.

        Raises ``ProxyError`` when the deadline or the upstream ended it, ``ClientGone`` when the
        client did.
        """
        leaving = self._loop.create_task(self._watch_client())
        try:
            left = self._record.began + self._limits.total - monotonic()
            async with asyncio.timeout(left) as deadline:
                self._deadline = deadline
                await work(self)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise self._ended() from None
        finally:
            self._deadline = None
            if self._timer is not None:
                self._timer.cancel()
            leaving.cancel()
            for answer in self._answers:
                await answer.close()

    async def _watch_client(self) -> None:
        await self._client.until_gone()
        if self._finished:
            await asyncio.sleep(COUNTS)
        self.abort("gone")

    def _ended(self) -> Exception:
        if self._cause == "gone":
            return ClientGone()
        if self._cause == "drain":
            return ProxyError(
                503, "The proxy is shutting down.", code="shutting_down", reason="drain"
            )
        seconds = self._limits.stall if self._cause == "stall" else self._limits.total
        what = "Bedrock sent nothing for" if self._cause == "stall" else "The answer took over"
        return ProxyError(
            504, f"{what} {seconds:g} seconds.", code="upstream_timeout", reason=self._cause
        )

    # -- what runs inside the deadline ------------------------------------------------------

    async def stream(
        self,
        opener: Opener,
        encoder_for: Callable[[], Encoder],
        spoken: Callable[[], None],
        *,
        alone: bool,
    ) -> Encoder:
        """Pump one answer to the client as a stream; the end mark is the caller's. ``alone``: he
        writes it as soon as this returns, and chunks that came with the answer's end wait for it.

        Asks anew when the answer turns out to be unusable before its first byte; ``spoken`` is told
        that it cannot be asked for again.
        """
        opening = Opening()
        while True:
            answer, encoder = await self._begin(opener, opening, encoder_for)
            try:
                await self._pump(answer, encoder, spoken, alone)
            except ProxyError as error:
                pending = encoder.pending()
                if not pending and not self._spoken and opening.anew(error, answer):
                    await self._return(answer, error)
                    continue
                await self._write(pending)
                raise
            finally:
                self._record.told(encoder.usage, encoder.finish)
            await self._close(answer)
            return encoder

    async def collect(self, opener: Opener, collector_for: Callable[[], Collector]) -> Collector:
        """Fold one answer, asking anew when it turns out to be unusable."""
        opening = Opening()
        while True:
            answer = await self._open(opener, opening)
            collector = collector_for()
            try:
                events = answer.first
                while events:
                    collector.add(events)
                    events = await answer.more()
                collector.add(())
                if collector.keepsake is not None:
                    await self._keep(collector.keepsake)
            except ProxyError as error:
                if opening.anew(error, answer):
                    await self._return(answer, error)
                    continue
                raise
            finally:
                self._record.told(collector.usage, collector.finish)
            await self._close(answer)
            return collector

    async def _begin(
        self, opener: Opener, opening: Opening, encoder_for: Callable[[], Encoder]
    ) -> tuple[Answer, Encoder]:
        """An answer, and its encoder: made as soon as the question is on its way, so that Bedrock
        need not wait for it, and anew if the question was reworded meanwhile."""
        encoder: Encoder | None = None

        def prepare() -> Encoder:
            nonlocal encoder
            if encoder is None:
                encoder = encoder_for()
                self._heartbeat = encoder.heartbeat
                self._rearm()  # from here on the client hears from us, whatever the upstream does
            return encoder

        preparing = self._loop.call_soon(prepare)
        try:
            answer = await self._open(opener, opening)
        finally:
            preparing.cancel()
        if answer.reworded:
            encoder = None
        prepared = prepare()
        if answer.reworded and self._beaten:
            prepared.heartbeat()  # the role has been spoken; these bytes would say it again
        return answer, prepared

    @property
    def _spoken(self) -> bool:
        """A chunk has gone to the client, if only an empty one: its role is spoken."""
        return self._record.first_write > 0 or self._beaten

    async def _open(self, opener: Opener, opening: Opening) -> Answer:
        answer = await opener(opening)
        self._answers.append(answer)
        self._speak_by = min(self._speak_by, monotonic() + SETTLE)
        if not answer.whole:
            self._rearm()  # from here on the stall counts
        return answer

    async def _close(self, answer: Answer) -> None:
        await answer.close()
        self._answers.remove(answer)

    async def _return(self, answer: Answer, error: ProxyError) -> None:
        """Take ``answer`` for none: another one may still have a true status."""
        error.untraced()
        await self._close(answer)
        if not self._answers:
            self._speak_by = self._record.began + self._limits.grace

    async def _pump(
        self, answer: Answer, encoder: Encoder, spoken: Callable[[], None], alone: bool
    ) -> None:
        events, answer.first = answer.first, []
        client, record = self._client, self._record
        last = False
        while events:
            data = encoder.encode(events)
            if encoder.keepsake is not None:
                kept, encoder.keepsake = encoder.keepsake, None
                await self._keep(kept)
            last = alone and answer.whole
            if data:
                if last:
                    client.hold(data)
                else:
                    await client.write(data)
                if not record.first_write:
                    spoken()
                record.wrote(client.last_sent, answer.last_read, encoder.content)
            self._finished = alone and encoder.finish is not None
            del data, events  # a waiting stream holds no more than it needs
            events = [] if last else await answer.more()
        data = encoder.finish_stream()
        if last:
            client.hold(data)
        else:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        """Write ``data`` and what was held, if there is any."""
        if data or self._client.held:
            await self._client.write(data)
            if not self._record.first_write:
                self._record.first_write = self._client.last_sent

    # -- silence ----------------------------------------------------------------------------

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._tick()

    def _tick(self) -> None:
        now = monotonic()
        due = [now + self._limits.keepalive]
        for answer in self._answers:
            ends = answer.last_read + self._limits.stall
            if ends <= now and answer.waiting:
                self.abort("stall")
                return
            # A slow client holds up the reads: that is no stall, look again soon.
            due.append(ends if ends > now else now + min(1.0, self._limits.stall / 4))
        if self._heartbeat is not None:
            due += self._speak(now, self._heartbeat)
        self._timer = self._loop.call_later(max(min(due) - now, 0.001), self._tick)

    def _beat(self, heartbeat: Callable[[], bytes]) -> None:
        self._beaten = True
        self._client.say_aside(heartbeat())

    def _speak(self, now: float, heartbeat: Callable[[], bytes]) -> list[float]:
        """Say what is due to be said; when to look again."""
        client, limits = self._client, self._limits
        if not client.streaming:
            if now < self._speak_by:
                return [self._speak_by]
            if self._answers:  # it has begun: the role can be spoken
                self._beat(heartbeat)
            else:
                client.say_aside(PING)
        elif now - client.last_chunk >= limits.heartbeat:
            self._beat(heartbeat)
        elif now - client.last_sent >= limits.keepalive:
            client.say_aside(PING)
        else:
            return [client.last_sent + limits.keepalive, client.last_chunk + limits.heartbeat]
        return [now + min(limits.keepalive, limits.heartbeat) / 4]


def gone(record: Record) -> None:
    """Mark ``record`` as ended by the client."""
    record.status, record.code = CLIENT_CLOSED, "client_disconnected"
    record.disconnect = "streaming" if record.first_content else "before_first_token"
