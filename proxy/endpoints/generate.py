"""One endpoint for any dialect: a body in, a stream or a whole answer out.

The walk: admit, read, parse, resolve, translate, then an ``Exchange`` under its deadline. Every way
it can end passes through ``_fail`` or the happy end, exactly once, and is recorded exactly once: in
the metrics and as one log line. This file and ``app.py`` are the two outer edges, where an
unforeseen exception becomes an honest 500 (or an error inside the stream) instead of a torn line.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex
from time import monotonic, time
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from proxy.access.tenant import ANYONE, Tenant
from proxy.bedrock.answer import Answer
from proxy.bedrock.client_keys import Caller, ClientKeys
from proxy.bedrock.upstream import Call, Opening, Ration, Upstream
from proxy.catalog.families import foundation_of
from proxy.catalog.model import Model
from proxy.converse.masking import mask
from proxy.dialect import Collector, Dialect, Encoder, Request, Stamp
from proxy.endpoints.body import headers_of, judge_head, own_deadline, read_body
from proxy.endpoints.borders import Borders, Settling, within
from proxy.endpoints.faults import error_headers, header_value, unforeseen
from proxy.endpoints.gate import Gate, Held, closing
from proxy.endpoints.question import OFF_LOOP, Question, TranslationContext, price_of
from proxy.errors import ProxyError
from proxy.frozen import frozen
from proxy.logs import logger, request_line
from proxy.metrics import Metrics, Record
from proxy.relay import FAREWELL, Client, ClientGone, Exchange, Limits, Opener, Receive, Send, gone
from proxy.tracing import PassOn, Trace, Tracing

_NOTES: Final = b"x-bedrock-proxy-notes"
_MODEL: Final = b"x-bedrock-proxy-model"
_REGION: Final = b"x-bedrock-proxy-region"
_UPSTREAM_ID: Final = b"x-amzn-requestid"
_ANYONE: Final = Tenant(ANYONE)
_AT_ONCE: Final = 16
"""Calls that one request has under way at most."""

Ended = TypeVar("Ended")


class Resolver(Protocol):
    """Names to models. Lookups that need the network are made once and remembered."""

    async def resolve(self, name: str) -> Model:
        """Raises ``ProxyError`` 404 for a name that can be no model."""
        ...


@dataclass(frozen=True, slots=True)
class Deps:
    """The dependencies of every generating endpoint."""

    upstream: Upstream
    resolver: Resolver
    nearest: Callable[[str], Sequence[str]]
    """Model names that resemble one that Bedrock does not know."""
    context: TranslationContext
    limits: Limits
    gate: Gate
    metrics: Metrics
    borders: Borders
    max_body: int
    headers: Mapping[bytes, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Sent with every answer."""
    clients: ClientKeys | None = None
    """Set where every client comes with a Bedrock API key of its own."""
    tracing: Tracing = field(default_factory=PassOn)


class Generate:
    """The ASGI endpoint of one dialect."""

    def __init__(self, dialect: Dialect, deps: Deps) -> None:
        self._dialect = dialect
        self._deps = deps
        self._in_flight = deps.metrics.requests_in_flight.labels(dialect.name)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        deps = self._deps
        record = Record(self._dialect.name, began=monotonic())
        request_id = scope.get("state", {}).get("request_id") or new_request_id()
        record.request_id = request_id
        client = Client(receive, send, {b"x-request-id": request_id.encode(), **deps.headers})
        asked = _Asked(PassOn(), scope.get("state", {}).get("tenant") or _ANYONE)
        record.key = asked.tenant.name
        self._in_flight.inc()
        headers = headers_of(scope)
        asked.trace = deps.tracing.begin(headers, record)
        try:
            with deps.gate.place:
                await self._serve(headers, client, receive, record, asked)
        except ClientGone:
            gone(record)
        except ProxyError as error:
            if error.code == "model_not_found":
                self._suggest(error, asked)
            await self._fail(client, record, error.untraced())
        except (
            asyncio.CancelledError
        ):  # a safety net below the drain: it had not called Bedrock by then
            if not deps.gate.draining:
                raise
            await self._fail(client, record, closing())
        except Exception:  # noqa: BLE001  # the outer edge: the client is told, the log has it
            logger.exception("unforeseen", extra={"fields": {"request_id": request_id}})
            await self._fail(client, record, unforeseen())
        finally:
            self._in_flight.dec()
            record.ended = monotonic()
            deps.metrics.finish(record)
            asked.trace.end(scope["path"])
            request_line(record, _shown(asked.name, record), _shown(asked.used, record))

    async def _serve(
        self,
        headers: Mapping[str, str],
        client: Client,
        receive: Receive,
        record: Record,
        asked: "_Asked",
    ) -> None:
        deps = self._deps
        with deps.gate.holding(0) as held:
            caller, body = await self._read(headers, client, receive, held)
            record.read = monotonic()
            size = len(body)
            large = size > OFF_LOOP
            parse = self._dialect.parse
            request: Request = (
                await asyncio.to_thread(parse, body, headers) if large else parse(body, headers)
            )
            del body
            model = await self._model(request, caller, record, asked)
            with await deps.borders.admit(
                self._dialect, request, model, asked.tenant, large=large
            ) as lease:
                client.headers.update(lease.headers)
                filled = await deps.borders.with_media(self._dialect, request, held)
                question = Question(
                    self._dialect, filled, model, self._context(asked.tenant),
                    tenant=caller.mark if caller else record.key, label=record.model,
                    large=large or filled is not request,
                    authorizer=caller.bearer if caller else None,
                )  # fmt: skip
                del request, filled  # the question releases it when the answer has begun
                await question.put()
                held.less(size)
                client.headers[_MODEL] = header_value(model.id)
                _tell_notes(client, record, question)
                asked.trace.calling(asked.used)
                exchange = Exchange(client, self._limits(headers, record), record, question.keep)
                stamp = Stamp(token_hex(16), int(time()), model.name)
                with deps.gate.running(exchange), Settling(lease, record):
                    await self._answer(exchange, client, record, _Asking(question, stamp))

    def _limits(self, headers: Mapping[str, str], record: Record) -> Limits:
        """A client that waits for a complete answer may give up before our deadline."""
        limits = self._deps.limits
        if record.stream:
            return limits
        own = own_deadline(headers)
        return replace(limits, total=own) if own < limits.total else limits

    async def _read(
        self, headers: Mapping[str, str], client: Client, receive: Receive, held: Held
    ) -> tuple[Caller | None, bytes]:
        """Whose Bedrock key it is, where clients bring their own, and the body, accounted for in
        ``held`` as it comes: what is half sent fills memory, too."""
        deps = self._deps
        try:
            caller = deps.clients.caller(headers) if deps.clients is not None else None
            judge_head(headers, deps.max_body)
            return caller, await read_body(receive, deps.max_body, held.more)
        except ProxyError as error:
            client.headers[b"connection"] = b"close"  # the body is still on its way
            if error.status == 413:
                deps.metrics.rejected.labels("body_too_large").inc()
            raise

    def _context(self, tenant: Tenant) -> TranslationContext:
        """With what is fixed for this tenant."""
        context = self._deps.context
        options = self._deps.borders.options(context.options, tenant)
        return context if options is context.options else replace(context, options=options)

    async def _model(
        self, request: Request, caller: Caller | None, record: Record, asked: "_Asked"
    ) -> Model:
        """The model to call, if the tenant may use it. Raises ``ProxyError``."""
        asked.name, record.stream = request.model, request.stream
        model = await self._resolved(request.model, caller)
        record.model = self._deps.metrics.model(model.label)
        asked.used = record.model if model.id.startswith("arn:") else model.id
        record.price = price_of(model)
        self._deps.metrics.begin(record)
        self._deps.borders.check_model(asked.tenant, model)
        return within(asked.tenant, model)

    async def _resolved(self, name: str, caller: Caller | None) -> Model:
        """By the catalog of everybody, or of the client whose key it is."""
        clients = self._deps.clients
        if clients is None or caller is None:
            return await self._deps.resolver.resolve(name)
        return await clients.resolve(name, caller)

    async def _answer(
        self, exchange: Exchange, client: Client, record: Record, asking: "_Asking"
    ) -> None:
        if not record.stream:
            await exchange.run(lambda running: self._collect(running, client, record, asking))
            return
        in_flight = self._deps.metrics.streams_of(record)
        in_flight.inc()
        try:
            await exchange.run(lambda running: self._stream(running, client, record, asking))
        finally:
            in_flight.dec()

    async def _stream(
        self, exchange: Exchange, client: Client, record: Record, asking: "_Asking"
    ) -> None:
        dialect, question, stamp = self._dialect, asking.question, asking.stamp

        def one(choice: int, opener: Opener) -> Awaitable[Encoder]:
            return exchange.stream(
                opener,
                lambda: dialect.encoder(question.translation, stamp, choice),
                question.release,
                alone=question.translation.choices == 1,
            )

        encoders = await self._each(one, client, record, question)
        end = dialect.end(question.translation, stamp, [encoder.usage for encoder in encoders])
        await client.write(end, more=False)

    async def _collect(
        self, exchange: Exchange, client: Client, record: Record, asking: "_Asking"
    ) -> None:
        dialect, question, stamp = self._dialect, asking.question, asking.stamp

        def one(choice: int, opener: Opener) -> Awaitable[Collector]:
            return exchange.collect(
                opener, lambda: dialect.collector(question.translation, stamp, choice)
            )

        collectors = await self._each(one, client, record, question)
        record.answered = monotonic()
        await client.respond(200, dialect.render(question.translation, stamp, collectors), ())
        record.first_write = monotonic()

    async def _each(
        self,
        one: Callable[[int, Opener], Awaitable[Ended]],
        client: Client,
        record: Record,
        question: Question,
    ) -> Sequence[Ended]:
        """Every choice's ending, in their order."""
        choices, bodies = question.translation.choices, len(question.translation.bodies)
        if choices == 1:
            return [await one(0, self._opener(client, record, question, 0))]
        openers = [self._opener(client, record, question, choice) for choice in range(choices)]
        return await _fan_out(openers, one, led=not bodies)

    def _opener(self, client: Client, record: Record, question: Question, choice: int) -> Opener:
        """Opens one choice's answer, and tells of what had to be reworded for it."""
        upstream, ration = self._deps.upstream, Ration()

        async def opener(opening: Opening) -> Answer:
            before = question.calls

            async def reword(error: ProxyError, refused: Call) -> Call | None:
                other = await question.reword(error, refused, choice, opening.again)
                _tell_notes(client, record, question)
                return other

            call, fault = question.call_for(choice, opening.again), opening.fault
            opening.fault = None
            answer = await upstream.open(call, record, reword, ration, fault)
            answer.reworded = question.calls is not before
            await question.opened()
            told = choice > 0 or client.streaming or record.first_write
            if not told:
                _tell_where(client, answer)
            return answer

        return opener

    def _suggest(self, error: ProxyError, asked: "_Asked") -> None:
        """A 404 that comes from Bedrock names what was probably meant, of what this key may use."""
        error.param = error.param or "model"
        found = self._deps.nearest(asked.name) if error.upstream_id else ()
        near = [name for name in found if asked.tenant.may_use(name, foundation_of(name))]
        if near:
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
            logger.warning("an error could not be sent to a client that does not read")


@dataclass(slots=True)
class _Asked:
    """Who asks; for the log, the client's model name and what it became; and the trace."""

    trace: Trace
    tenant: Tenant
    name: str = ""
    used: str = ""


@frozen
class _Asking:
    question: Question
    stamp: Stamp


async def _fan_out(
    openers: Sequence[Opener], one: Callable[[int, Opener], Awaitable[Ended]], led: bool
) -> Sequence[Ended]:
    """All choices side by side. ``led``: the first is opened alone, since it warms the cache that
    the others then read."""
    leading = asyncio.Event()
    places = asyncio.Semaphore(_AT_ONCE)

    async def first(opening: Opening) -> Answer:
        answer = await openers[0](opening)
        leading.set()
        return answer

    async def run(choice: int, opener: Opener) -> Ended:
        async with places:
            return await one(choice, opener)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(0, first))]
            if led:
                await leading.wait()
            tasks += [group.create_task(run(n, openers[n])) for n in range(1, len(openers))]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _tell_notes(client: Client, record: Record, question: Question) -> None:
    """In the log and the metrics always; to the client as long as its head has not gone out."""
    record.notes = question.notes
    if record.notes:
        client.headers[_NOTES] = header_value(",".join(record.notes))
    else:
        client.headers.pop(_NOTES, None)


def _tell_where(client: Client, answer: Answer) -> None:
    """What answered: fail-over may have called another region, under another id."""
    told = ((_MODEL, answer.called), (_REGION, answer.region), (_UPSTREAM_ID, answer.upstream_id))
    for name, text in told:
        if text:
            client.headers[name] = header_value(text)
        else:
            client.headers.pop(name, None)


def new_request_id() -> str:
    return f"req_{token_hex(16)}"


def _shown(name: str, record: Record) -> str:
    """A model's name as the log may show it; the metrics' label shows no account anyway."""
    return name if name == record.model else mask(name)
