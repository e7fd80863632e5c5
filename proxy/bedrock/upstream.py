"""One call to Bedrock, from a body to an opened answer: authorize, send, retry, judge.

All of it happens before a byte has gone to the client, in one loop: an attempt either opens an
answer (its first event decoded, since throttling often arrives *inside* a 200 stream) or ends in a
``ProxyError`` that says what another try could change. An answer that has only said that it begins
may be asked for again in the same loop. Free of count and budget are one dead pooled
connection, tried again on a new one, one renewal of credentials, and the caller's rewording of a
call whose content was refused; but no answer takes more than ``MOST_CALLS`` calls in all. Where a
call goes on to when a region fails is ``failover.py``'s to say: such a step is a counted try.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Final

import httpx
import orjson

from proxy.bedrock.answer import Answer
from proxy.bedrock.credentials import Authorizer, hash_body
from proxy.bedrock.failover import Course, Stop
from proxy.bedrock.paths import segment
from proxy.bedrock.retries import Attempts, Budget
from proxy.bedrock.transport import (
    DeadConnection,
    Outgoing,
    Reply,
    SignedTransport,
    headers_of,
    read_whole,
    read_words,
)
from proxy.converse.exceptions import from_response, protocol_fault
from proxy.converse.native import native
from proxy.converse.replay import replay
from proxy.converse.stream import CONTENT_TYPE
from proxy.converse.types import Json, Operation
from proxy.errors import ProxyError
from proxy.frozen import frozen
from proxy.metrics import Metrics, Record
from proxy.metrics.registry import Calls

MOST_CALLS: Final = 4
_KEPT_URLS: Final = 512
_ERROR_LIMIT: Final = 1_000_000
_ERROR_WAIT: Final = 5.0
"""Seconds that the words of a refusal are given behind its head."""
_ANSWER_LIMIT: Final = 32_000_000


@frozen
class Call:
    """What to ask: ``body`` is the request as JSON, ``label`` the metrics' model."""

    operation: Operation
    model_id: str
    body: bytes
    label: str
    region: str | None = None
    elsewhere: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the model is called in other regions, for fail-over."""
    authorizer: Authorizer | None = None
    """Whoever makes the call, if it is not ourselves: a client with a Bedrock API key."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What InvokeModel wants beside the body."""


Reword = Callable[[ProxyError, Call], Awaitable[Call | None]]
"""Another call (of the same region) in place of one that was refused; ``None``: there is none."""


@dataclass(slots=True)
class Opening:
    """How an answer is asked for, when one was of no use before: that is kept from try to try."""

    again: bool = False
    """In the other words that there are for it (``Translation.again``)."""
    fault: ProxyError | None = None
    """What ended the answer before its first word: a failure like any other, but inside the
    stream."""

    def anew(self, error: ProxyError, answer: Answer) -> bool:
        """Whether to ask anew, since ``error`` ended ``answer`` and nobody has seen any of it."""
        if error.retry == "once":
            first = not self.again
            self.again, self.fault = True, None
            return first
        self.fault = error
        return not answer.begun


@frozen
class _Aim:
    """A call on its way: to which stop, over which transport, with what hash of its body."""

    stop: Stop
    url: httpx.URL
    payload_hash: str
    transport: SignedTransport
    calls: Calls

    @property
    def region(self) -> str:
        return self.stop.target.region


@dataclass(slots=True)
class Ration:
    """What may still be done for one answer, whoever wants it; and what was done last."""

    left: int = MOST_CALLS
    """Calls."""
    course: Course | None = None
    tries: "_Tries | None" = None
    signed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the authorizer added to the last call."""


class Upstream:
    """Opens answers. ``course`` gives the stops of a call. ``first_byte`` is in seconds."""

    def __init__(
        self,
        course: Callable[[Call], Course],
        metrics: Metrics,
        budget: Budget,
        first_byte: float,
    ) -> None:
        self._course = course
        self._metrics = metrics
        self._budget = budget
        self._first_byte = first_byte
        self._urls: dict[tuple[str, str, Operation], httpx.URL] = {}

    async def open(
        self,
        call: Call,
        record: Record,
        reword: Reword | None = None,
        ration: Ration | None = None,
        fault: ProxyError | None = None,
    ) -> Answer:
        """The opened answer to ``call``. Raises ``ProxyError`` when no try is left.

        ``record`` gets the times of the last try; ``reword`` is asked once for each refusal.
        ``fault`` ended the answer that was opened last with this ``ration``, before its first word:
        then this is another try. Cancelling closes whatever is open.
        """
        ration = ration or Ration()
        if fault is None or ration.course is None:
            ration.course, ration.tries = self._course(call), None
        course, error = ration.course, fault
        aim = self._aim(call, course.stop, await hash_body(call.body))
        while True:
            if error is not None:
                call, aim = await self._after(error, call, aim, record, reword, ration, course)
            ration.left -= 1
            request = Outgoing("POST", aim.url, call.body, aim.payload_hash)
            for more in filter(None, (call.headers, record.passed)):
                request.add(more)
            try:
                answer = await self._attempt(call, request, aim, record)
            except ProxyError as failed:
                error = failed
                aim.calls.count(_outcome(failed.untraced()))
                ration.signed = request.signed
                continue
            ration.signed = request.signed
            answer.judge(partial(self._went, aim.calls, course, record))
            return answer

    def _went(self, calls: Calls, course: Course, record: Record, error: ProxyError | None) -> None:
        """An answer has said its first word, or it has failed before it."""
        if error is not None:
            calls.count(_outcome(error))
            return
        calls.count("ok")
        course.succeeded()
        if not record.retries:
            self._budget.succeeded()

    async def _after(
        self,
        error: ProxyError,
        call: Call,
        aim: _Aim,
        record: Record,
        reword: Reword | None,
        ration: Ration,
        course: Course,
    ) -> tuple[Call, _Aim]:
        """The next try after ``error``, which is raised if there is none."""
        if ration.left <= 0:
            course.advance(error)
            raise course.verdict(error) from None
        other = await reword(error, call) if reword is not None else None
        if other is not None:
            return other, self._aim(other, course.stop, await hash_body(other.body))
        if ration.tries is None:
            ration.tries = _Tries(Attempts(self._budget, random.random), course)
        pause = await ration.tries.pause(error, ration.signed, aim.transport)
        if pause is None:
            raise course.verdict(error) from None
        aim.calls.retried(error.reason)
        record.retries += 1
        aim = self._again(call, aim, course.stop, error)
        if pause:
            await asyncio.sleep(pause)
        return call, aim

    def _aim(self, call: Call, stop: Stop, payload_hash: str) -> _Aim:
        target = stop.target
        url = self._url(target.base, stop.model_id, call.operation)
        calls = self._metrics.calls(call.operation, call.label, target.region)
        return _Aim(stop, url, payload_hash, target.transport, calls)

    def _url(self, base: str, model_id: str, operation: Operation) -> httpx.URL:
        at = (base, model_id, operation)
        url = self._urls.get(at)
        if url is None:
            if len(self._urls) >= _KEPT_URLS:
                self._urls.clear()
            url = self._urls[at] = httpx.URL(f"{base}/model/{segment(model_id)}/{operation}")
        return url

    def _again(self, call: Call, aim: _Aim, stop: Stop, error: ProxyError) -> _Aim:
        """The aim of the next try: another stop, or the same one (on a new connection)."""
        if stop is not aim.stop:
            self._metrics.failed_over(aim.region, stop.target.region, error.reason)
            return self._aim(call, stop, aim.payload_hash)
        if isinstance(error, DeadConnection):
            return replace(aim, transport=stop.target.fresh)
        return aim

    async def _attempt(self, call: Call, request: Outgoing, aim: _Aim, record: Record) -> Answer:
        """One try, up to the first event."""
        record.region = aim.region
        record.sent = monotonic()
        reply: Reply | None = None
        try:
            # Converse is silent until it is done, so only the total deadline can judge it.
            limit = None if call.operation == "converse" else self._first_byte
            async with asyncio.timeout(limit) as waiting:
                reply = await aim.transport.send(request)
                answer = await self._begin(call, reply, aim.region)
        except BaseException as fault:
            if isinstance(fault, asyncio.CancelledError) and request.sent:
                record.abandoned = True
            if reply is not None:
                await reply.aclose()
            if isinstance(fault, TimeoutError) and waiting.expired():
                raise ProxyError(
                    504,
                    f"Bedrock sent nothing for {self._first_byte:g} seconds.",
                    code="upstream_timeout",
                    reason="timeout",
                ) from None
            raise
        finally:
            record.sent = request.sent or record.sent
            record.first_sent = record.first_sent or record.sent
        record.first_event = monotonic()
        record.upstream_id = answer.upstream_id
        answer.called = aim.stop.model_id
        return answer

    async def _begin(self, call: Call, reply: Reply, region: str) -> Answer:
        """The answer behind a reply's head, once its first event is there."""
        headers = headers_of(reply)
        upstream_id = headers.get("x-amzn-requestid")
        if reply.status != 200:
            words = await read_words(reply, _ERROR_LIMIT, _ERROR_WAIT)
            error = from_response(reply.status, headers, words)
            error.server_date = headers.get("date")
            raise error if call.authorizer is None else _about_client(error)
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if call.operation != "converse-stream":
            answer = Answer(None, region, upstream_id)
            parsed = await _whole(reply, kind, upstream_id)
            answer.first = (
                replay(parsed) if call.operation == "converse" else native(parsed, headers)
            )
            return answer
        if kind != CONTENT_TYPE:
            raise protocol_fault(f"the content type {kind[:80]!r}", upstream_id)
        reply.headers.clear()  # a stream that waits holds no more than it needs (1 KB)
        answer = Answer(reply, region, upstream_id)
        try:
            answer.first = await answer.more()
        except ProxyError as error:
            error.upstream_id = error.upstream_id or upstream_id
            raise
        return answer


async def _whole(reply: Reply, kind: str, upstream_id: str | None) -> Json:
    """The body of an answer that does not stream."""
    if kind != "application/json":
        raise protocol_fault(f"the content type {kind[:80]!r}", upstream_id)
    body = await read_whole(reply, _ANSWER_LIMIT)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise protocol_fault("a body that is not JSON", upstream_id) from None


def _about_client(error: ProxyError) -> ProxyError:
    """A refusal of the client's own Bedrock API key: that is not our trouble but its."""
    if error.retry != "credentials":
        return error
    return ProxyError(
        401,
        "Amazon Bedrock does not accept this API key (it may have expired, or be of another"
        " region).",
        type="invalid_request_error",
        code="invalid_api_key",
        reason=error.reason,
        upstream_id=error.upstream_id,
    )


class _Tries:
    """What may still be tried for one call: the counted tries, and two that are free."""

    def __init__(self, counted: Attempts, course: Course) -> None:
        self._counted = counted
        self._course = course
        self._connection = self._credentials = True

    async def pause(
        self, error: ProxyError, signed: Mapping[str, str], transport: SignedTransport
    ) -> float | None:
        """Seconds to wait before the next try; ``None``: there is none."""
        if isinstance(error, DeadConnection) and self._connection:
            self._connection = False
            return 0.0
        if error.retry == "credentials" and self._credentials:
            self._credentials = False
            if await transport.authorizer.renew(error, signed):
                return 0.0
        if self._course.advance(error):
            return 0.0 if self._counted.elsewhere(error) else None
        return self._counted.pause(self._course.verdict(error))


def _outcome(error: ProxyError) -> str:
    if error.status == 429:
        return "throttled"
    if error.reason == "timeout":
        return "timeout"
    if error.code in {"upstream_unreachable", "upstream_reset"}:
        return "connect_error"
    return "client_error" if error.status < 500 else "server_error"
