"""One endpoint for any dialect: a body in, a stream or a whole answer out.

The walk: admit, read, parse, resolve, translate, then an ``Exchange`` under its deadline. Every way
it can end passes through ``_fail`` or the happy end, exactly once, and is recorded exactly once: in
the metrics and as one log line. This file and ``app.py`` are the two outer edges, where an
unforeseen exception becomes an honest 500 (or an error inside the stream) instead of a torn line.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import Any, Final, Protocol, TypeVar

import orjson

from proxy.bedrock.upstream import Answer, Call, Upstream
from proxy.catalog.model import Model
from proxy.converse.masking import mask
from proxy.dialect import Collector, Dialect, Encoder, Options, Request, Stamp, Translation
from proxy.endpoints.body import headers_of, judge_head, read_body
from proxy.endpoints.gate import Gate
from proxy.errors import ProxyError
from proxy.logs import logger, request_line
from proxy.metrics import Metrics, Record
from proxy.relay import FAREWELL, Client, ClientGone, Exchange, Limits, Opener, Receive, Send, gone
from proxy.tracing import PassOn, Trace, Tracing

_OFF_LOOP: Final = 200_000
"""Bodies above this many bytes are parsed and translated in a thread, so that streams go on."""
_DEADLINE_HEADERS: Final = ("x-stainless-read-timeout", "x-stainless-timeout")

Ended = TypeVar("Ended")


class Resolver(Protocol):
    """Names to models. Lookups that need the network are made once and remembered."""

    async def resolve(self, name: str) -> Model:
        """Raises ``ProxyError`` 404 for a name that can be no model."""
        ...


@dataclass(frozen=True, slots=True)
class Shop:
    """What every generating endpoint works with."""

    upstream: Upstream
    resolver: Resolver
    nearest: Callable[[str], Sequence[str]]
    """Model names that resemble one that Bedrock does not know."""
    options: Options
    limits: Limits
    gate: Gate
    metrics: Metrics
    max_body: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Sent with every answer."""
    tracing: Tracing = field(default_factory=PassOn)


class Generate:
    """The ASGI endpoint of one dialect."""

    def __init__(self, dialect: Dialect, shop: Shop) -> None:
        self._dialect = dialect
        self._shop = shop

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        shop = self._shop
        record = Record(self._dialect.name, began=monotonic())
        request_id = scope.get("state", {}).get("request_id") or new_request_id()
        record.request_id = request_id
        client = Client(receive, send, [(b"x-request-id", request_id.encode()), *shop.headers])
        record.key = getattr(scope.get("state", {}).get("tenant"), "name", "")
        asked = _Asked(PassOn())
        in_flight = shop.metrics.requests_in_flight.labels(self._dialect.name)
        in_flight.inc()
        headers = headers_of(scope)
        asked.trace = shop.tracing.begin(headers, record)
        try:
            with shop.gate.admitted():
                await self._serve(headers, client, receive, record, asked)
        except ClientGone:
            gone(record)
        except ProxyError as error:
            if error.code == "model_not_found":
                self._suggest(error, asked.name)
            await self._fail(client, record, error)
        except Exception:  # noqa: BLE001  # the outer edge: the client is told, the log has it
            logger.exception("unforeseen", extra={"fields": {"request_id": request_id}})
            await self._fail(client, record, unforeseen())
        finally:
            in_flight.dec()
            record.ended = monotonic()
            shop.metrics.finish(record)
            asked.trace.end(scope["path"])
            request_line(record, mask(asked.name), mask(asked.used))

    async def _serve(
        self,
        headers: Mapping[str, str],
        client: Client,
        receive: Receive,
        record: Record,
        asked: "_Asked",
    ) -> None:
        shop = self._shop
        try:
            judge_head(headers, shop.max_body)
            body = await read_body(receive, shop.max_body)
        except ProxyError as error:
            client.headers.append((b"connection", b"close"))  # the body is still on its way
            if error.status == 413:
                shop.metrics.rejected.labels("body_too_large").inc()
            raise
        record.read = monotonic()
        large = len(body) > _OFF_LOOP
        with shop.gate.holding(len(body)):
            request: Request = await _run(large, self._dialect.parse, body, headers)
            del body
            asked.name, record.stream = request.model, request.stream
            model = await shop.resolver.resolve(request.model)
            record.model = shop.metrics.model(model.label)
            asked.used = record.model if model.id.startswith("arn:") else model.id
            record.price = _price(model)
            shop.metrics.begin(record)
            translation: Translation = await _run(
                large, self._dialect.translate, request, model, shop.options
            )
            payload = await _run(large, orjson.dumps, translation.body)
        record.notes = translation.notes
        client.headers.append((b"x-bedrock-proxy-model", _header(model.id)))
        if translation.notes:
            client.headers.append((b"x-bedrock-proxy-notes", _header(",".join(translation.notes))))
        call = Call(translation.operation, model.id, payload, record.model, model.region)
        limits = shop.limits
        if not request.stream:
            limits = replace(limits, total=min(limits.total, _own_deadline(headers)))
        asked.trace.calling(asked.used)
        exchange = Exchange(client, limits, record)
        stamp = Stamp(uuid.uuid4().hex, int(time()), model.name)
        with shop.gate.running(exchange):
            await self._answer(
                exchange, client, record, _Question(request, translation, call, stamp)
            )

    async def _answer(
        self, exchange: Exchange, client: Client, record: Record, question: "_Question"
    ) -> None:
        if not question.request.stream:
            await exchange.run(lambda running: self._collect(running, client, record, question))
            return
        in_flight = self._shop.metrics.streams_in_flight.labels(record.model)
        in_flight.inc()
        try:
            await exchange.run(lambda running: self._stream(running, client, record, question))
        finally:
            in_flight.dec()

    async def _stream(
        self, exchange: Exchange, client: Client, record: Record, question: "_Question"
    ) -> None:
        dialect, translation, stamp = self._dialect, question.translation, question.stamp

        async def one(choice: int, opener: Opener) -> Encoder:
            return await exchange.stream(
                opener, lambda: dialect.encoder(translation, stamp, choice)
            )

        encoders = await self._each(one, client, record, question)
        end = dialect.end(translation, stamp, [encoder.usage for encoder in encoders])
        await client.write(end, more=False)

    async def _collect(
        self, exchange: Exchange, client: Client, record: Record, question: "_Question"
    ) -> None:
        dialect, translation, stamp = self._dialect, question.translation, question.stamp

        async def one(choice: int, opener: Opener) -> Collector:
            return await exchange.collect(
                opener, lambda: dialect.collector(translation, stamp, choice)
            )

        collectors = await self._each(one, client, record, question)
        record.answered = monotonic()
        await client.respond(200, dialect.render(translation, stamp, collectors), ())
        record.first_write = monotonic()

    async def _each(
        self,
        one: Callable[[int, Opener], Awaitable[Ended]],
        client: Client,
        record: Record,
        question: "_Question",
    ) -> Sequence[Ended]:
        """Every choice's ending. The first call goes ahead alone, so that it warms the cache."""
        upstream = self._shop.upstream

        async def opener(again: bool) -> Answer:
            answer = await upstream.open(question.call_for(again), record)
            if answer.upstream_id and not client.streaming and not record.first_write:
                client.headers.append((b"x-amzn-requestid", _header(answer.upstream_id)))
            return answer

        choices = question.translation.choices
        if choices == 1:
            return [await one(0, opener)]
        return await _fan_out(choices, one, opener)

    def _suggest(self, error: ProxyError, name: str) -> None:
        """A 404 that comes from Bedrock names what was probably meant."""
        near = self._shop.nearest(name) if error.upstream_id else ()
        if near:
            error.param = error.param or "model"
            error.message += f" Did you mean {' or '.join(near)}?"

    async def _fail(self, client: Client, record: Record, error: ProxyError) -> None:
        """Tell the client, in the only way still open: a status, or an error in the stream."""
        dialect = self._dialect
        record.code, record.upstream_id = (
            error.code or error.type,
            (error.upstream_id or record.upstream_id),
        )
        try:
            async with asyncio.timeout(FAREWELL):
                await client.settle()
                if client.streaming:
                    record.in_band = True
                    await client.write(dialect.error_event(error), more=False)
                else:
                    record.status = error.status
                    extra = error_headers(error)
                    await client.respond(error.status, dialect.error_body(error), extra)
        except TimeoutError:
            logger.warning("a client that does not read was not told of its error")


@dataclass(slots=True)
class _Asked:
    """For the log: the client's model name, and what it became; and the request's trace."""

    trace: Trace
    name: str = ""
    used: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    request: Request
    translation: Translation
    call: Call
    stamp: Stamp

    def call_for(self, again: bool) -> Call:
        """The call to make; ``again`` after an unusable answer."""
        if not again or self.translation.again is None:
            return self.call
        return replace(self.call, body=orjson.dumps(self.translation.again))


async def _fan_out(
    choices: int, one: Callable[[int, Opener], Awaitable[Ended]], opener: Opener
) -> Sequence[Ended]:
    leading = asyncio.Event()

    async def first(again: bool) -> Answer:
        answer = await opener(again)
        leading.set()
        return answer

    async def run(choice: int, opener: Opener) -> Ended:
        return await one(choice, opener)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(0, first))]
            await leading.wait()
            tasks += [group.create_task(run(choice, opener)) for choice in range(1, choices)]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _run(off_loop: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a pure function, in a thread if its work would stall the streams."""
    if off_loop:
        return await asyncio.to_thread(function, *arguments)
    return function(*arguments)


def error_headers(error: ProxyError) -> list[tuple[bytes, bytes]]:
    """What SDKs act upon: whether to try again, and when."""
    retryable = error.retry in {"transient", "throttle", "once"}
    headers = [(b"x-should-retry", b"true" if retryable else b"false")]
    wait = error.retry_after
    if wait is None and error.status == 429:
        wait = 1.0
    if wait is not None:
        headers.append((b"retry-after", str(max(1, int(wait + 0.999))).encode()))
    if error.upstream_id:
        headers.append((b"x-amzn-requestid", _header(error.upstream_id)))
    return headers


def unforeseen() -> ProxyError:
    """What a client is told of a fault of ours."""
    return ProxyError(500, "The proxy failed; its log has the reason.", code="internal_error")


def _price(model: Model) -> Mapping[str, float] | None:
    """USD per million tokens, where the operator wrote them down."""
    cost = model.details.get("cost")
    return cost if isinstance(cost, Mapping) else None


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"


def _header(text: str) -> bytes:
    """``text`` as a header value that cannot end its line."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:4000].encode()


def _own_deadline(headers: Mapping[str, str]) -> float:
    """Seconds after which the client itself gives up, where its SDK says so."""
    for name in _DEADLINE_HEADERS:
        value = headers.get(name, "")
        if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value) and float(value) > 0:
            return float(value)
    return float("inf")
