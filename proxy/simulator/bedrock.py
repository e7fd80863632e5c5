"""The simulated service as one ASGI application: runtime plane and control plane on one port.

An exchange goes: read, authenticate, faults scripted for this call, judge, answer. Everything a
check refuses is a `Refusal` and becomes an AWS error here, at the edge. Paths are taken from the
raw request target, because a model id may hold an encoded slash.
"""

from __future__ import annotations

import re
import time
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

import orjson

from proxy.simulator.answer import Answer, converse_body, stream_events
from proxy.simulator.auth import Signed, authenticate
from proxy.simulator.brain import answer as think
from proxy.simulator.brain import chance_of
from proxy.simulator.call import Call
from proxy.simulator.control_plane import ROUTES, respond
from proxy.simulator.counting import count_tokens
from proxy.simulator.embeddings import embed
from proxy.simulator.exchange import Exchange, Gone
from proxy.simulator.faults import BEFORE, Fault
from proxy.simulator.guardrail import guarded
from proxy.simulator.judge import judge
from proxy.simulator.refusals import Refusal
from proxy.simulator.state import Received, State
from proxy.simulator.stream import play, play_whole
from proxy.simulator.summaries import foundation_arn

_MODEL = re.compile(r"/model/([^/]*)/([a-z-]+)")
_RUNTIME = MappingProxyType(
    {
        "converse": "Converse",
        "converse-stream": "ConverseStream",
        "count-tokens": "CountTokens",
        "invoke": "InvokeModel",
    }
)
_ACTIONS = MappingProxyType(
    {
        "Converse": "InvokeModel",
        "ConverseStream": "InvokeModelWithResponseStream",
    }
)


class Bedrock:
    """The ASGI application over one `State`."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        offset = self.state.settings.clock_offset
        exchange = Exchange(scope, receive, send, str(uuid4()), offset)
        try:
            await self._serve(exchange, scope)
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Gone:
            pass
        finally:
            exchange.finish()

    async def _serve(self, exchange: Exchange, scope: Any) -> None:
        body = await exchange.read()
        target = scope["raw_path"].decode("ascii")
        query = scope["query_string"].decode("latin-1")
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        operation, name = _operation(scope["method"], target)
        record = Received(
            operation,
            name,
            scope["method"],
            target,
            query,
            headers,
            body,
            exchange.request_id,
            len(body),
        )
        exchange.record = record
        self.state.remember(record)
        if not operation:
            raise Refusal("UnknownOperationException", "Unknown operation.")
        self._admit(Signed(scope["method"], target, query, headers, body), operation, name)
        fault = self.state.faults.take(operation, name)
        if fault is not None and await _strike_first(exchange, fault, operation):
            return
        if operation in _RUNTIME.values():
            record.body = _parsed(body)
            await self._run(exchange, operation, name, record.body, fault)
            if fault is not None and fault.kind == "hang_up":
                exchange.hang_up()
        else:
            wanted = dict(parse_qsl(query, keep_blank_values=True))
            answered = respond(operation, name, wanted, self.state)
            await exchange.whole(200, orjson.dumps(answered))

    def _admit(self, received: Signed, operation: str, name: str) -> None:
        settings = self.state.settings
        authenticate(received, self.state.account, self.state.now(), settings.token_expired)
        if operation in settings.denied:
            action = f"bedrock:{_ACTIONS.get(operation, operation)}"
            raise Refusal(
                "AccessDeniedException",
                f"User: arn:aws:iam::123456789012:user/simulated is not authorized to perform: "
                f"{action} because no identity-based policy allows the {action} action",
            )
        if name and operation in _RUNTIME.values() and name in settings.no_access:
            raise Refusal(
                "AccessDeniedException",
                "You don't have access to the model with the specified model ID.",
            )

    async def _run(
        self, exchange: Exchange, operation: str, name: str, body: Any, fault: Fault | None
    ) -> None:
        state, scope = self.state, self.state.settings.signature_scope
        if operation == "CountTokens":
            counted = count_tokens(name, body, state.estate, state.ledger, scope)
            await exchange.whole(200, orjson.dumps(counted))
        elif operation == "InvokeModel":
            await self._invoke(exchange, name, body)
        else:
            call = judge(operation, name, body, state.estate, state.ledger, scope)
            await self._converse(exchange, call, fault)

    async def _converse(self, exchange: Exchange, call: Call, fault: Fault | None) -> None:
        started = time.monotonic()
        chance = chance_of(call, self.state.seed)
        answer = self._answer(call, chance, fault)
        settings = self.state.settings
        if not call.streaming:
            await exchange.pause(settings.latency + settings.pace * answer.output_tokens / 4)
            latency = int((time.monotonic() - started) * 1000)
            body = orjson.dumps(converse_body(call, answer, latency))
            await play_whole(exchange, body, fault)
            return
        if settings.latency:
            await exchange.pause(settings.latency)
        events = stream_events(
            call, answer, lambda: int((time.monotonic() - started) * 1000), chance
        )
        await play(exchange, events, chance, settings.pace, fault)

    def _answer(self, call: Call, chance: Any, fault: Fault | None) -> Answer:
        answer = think(call, self.state.ledger, chance)
        answer.cached = self.state.cache.use(call, time.monotonic())
        answer = guarded(call, answer, self.state.estate.region)
        if ":default-prompt-router/" in call.model_id:
            invoked = foundation_arn(self.state.estate.region, call.model.id)
            answer.trace = {**(answer.trace or {}), "promptRouter": {"invokedModelId": invoked}}
        if fault is not None and fault.kind == "stop_reason":
            answer.stop_reason = fault.reason
        return answer

    async def _invoke(self, exchange: Exchange, name: str, body: Any) -> None:
        started = time.monotonic()
        answered, tokens = embed(self.state.estate.resolve(name).model, body)
        latency = int((time.monotonic() - started) * 1000)
        counts = (
            ("X-Amzn-Bedrock-Invocation-Latency", str(latency)),
            ("X-Amzn-Bedrock-Input-Token-Count", str(tokens)),
        )
        await exchange.whole(200, orjson.dumps(answered), headers=counts)


def _operation(method: str, target: str) -> tuple[str, str]:
    """The operation of a request and the model id or identifier in its path."""
    found = _MODEL.fullmatch(target)
    if found and method == "POST" and found.group(2) in _RUNTIME:
        return _RUNTIME[found.group(2)], unquote(found.group(1))
    path = target.strip("/")
    if method != "GET":
        return "", ""
    if path in ROUTES:
        return ROUTES[path], ""
    parent, _, identifier = path.rpartition("/")
    return ROUTES.get(f"{parent}/*", ""), unquote(identifier)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise Refusal(
            "SerializationException", "Unable to parse the request body as JSON."
        ) from None
    if not isinstance(parsed, dict):
        raise Refusal("SerializationException", "The request body must be a JSON object.")
    return parsed


async def _strike_first(exchange: Exchange, fault: Fault, operation: str) -> bool:
    """Do what a fault does before any answer; True when the exchange is over."""
    if fault.delay:
        await exchange.pause(fault.delay)
    within = fault.kind == "reset" and fault.after and operation == "ConverseStream"
    if fault.kind not in BEFORE or within:
        return False
    if fault.kind == "reset":
        await exchange.reset()
    elif fault.kind == "drop":
        await exchange.close()
    elif fault.kind == "redirect":
        where = (("Location", fault.location or "http://127.0.0.1:9/elsewhere"),)
        await exchange.whole(fault.status or 307, b"", headers=where)
    elif fault.kind == "raw":
        await exchange.whole(
            fault.status or 200,
            fault.payload,
            fault.content_type or "text/html",
            tuple(fault.headers.items()),
        )
    else:
        raise _scripted(fault)
    return True


def _scripted(fault: Fault) -> Refusal:
    if fault.kind == "throttle":
        named, message = (
            "ThrottlingException",
            "Too many requests, please wait before trying again.",
        )
    else:
        named, message = "InternalServerException", "The system encountered an unexpected error."
    return Refusal(
        fault.error or named,
        fault.message or message,
        status=fault.status,
        extra=dict(fault.extra),
        headers=tuple(fault.headers.items()),
    )
