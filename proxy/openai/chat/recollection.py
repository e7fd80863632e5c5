"""The reasoning of a tool turn, kept for clients that do not send it back, and put back.

A model that signs its reasoning wants it again in front of the tool calls it led to. Clients that
keep OpenAI's own fields return the calls only. So each such turn leaves a keepsake: its packed
reasoning (``reasoning_replay.pack``) under the ids of its calls, spelled as clients mangle them
(letters and digits, the first 40), and with a hash of what was called: ids may repeat or be made
up, and reasoning in front of other calls than its own would be refused, or worse, believed.

Nothing here looks anything up: ``lacking`` names what a history should carry and does not,
``restored`` puts back what was found. Sources: Anthropic, *Extended thinking* (tool use); ids as
observed in agents of 2026.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import orjson

from proxy.catalog.model import Model, Traits
from proxy.converse.types import Json
from proxy.dialect import Keepsake
from proxy.openai.chat.history import row_of
from proxy.openai.chat.reasoning_replay import replay
from proxy.openai.chat.request_shape import ChatRequest

_KEPT_OF_AN_ID: Final = 40
_CHECK: Final = 16
"""Bytes of the hash of a turn's calls, in front of the packed reasoning."""
_DEPTH: Final = 64


class Called(NamedTuple):
    """One call as the client knows it: its names, its arguments as JSON text."""

    id: str
    name: str
    arguments: str


def keepsake(calls: Sequence[Called], packed: str) -> Keepsake:
    """What is to be remembered of a turn that made these calls."""
    return Keepsake(_key(calls), _check(calls) + packed.encode())


def lacking(request: ChatRequest, model: Model) -> Sequence[str]:
    """The keys of the tool turns that came back without the reasoning which this model wants, in
    the order of the history; none where the request asks for no thinking."""
    if not _may_think(request, model.traits):
        return ()
    turns = (_key(calls) for _, calls in _bare_turns(request.messages, model.traits))
    return tuple(dict.fromkeys(turns))


def restored(request: ChatRequest, model: Model, found: Mapping[str, bytes]) -> ChatRequest:
    """The request as it would be from a client that keeps ``reasoning_details``."""
    messages = list(request.messages)
    for index, calls in _bare_turns(request.messages, model.traits):
        value = found.get(_key(calls), b"")
        if value[:_CHECK] == _check(calls):
            data = value[_CHECK:].decode("ascii", "replace")
            entry = {"type": "reasoning.encrypted", "id": calls[0].id, "data": data}
            messages[index] = {**messages[index], "reasoning_details": [entry]}
    return replace(request, messages=tuple(messages))


def _may_think(request: ChatRequest, traits: Traits) -> bool:
    if not traits.replays or not (traits.signed_reasoning or traits.reasoning == "reasoning"):
        return False
    if traits.reasoning in ("always", "reasoning"):
        return True
    wish = request.reasoning
    asked = wish.effort not in (None, "none") or wish.budget is not None or bool(wish.thinking)
    return asked or "additionalModelRequestFields" in request.native


def _bare_turns(
    messages: Sequence[Mapping[str, Json]], traits: Traits
) -> Iterator[tuple[int, Sequence[Called]]]:
    for index, message in enumerate(messages):
        calls = message.get("tool_calls") if message["role"] == "assistant" else None
        if calls and not any(replay(one, traits).blocks for one in _turn(messages, index)):
            yield index, [_called(call) for call in calls]


def _turn(messages: Sequence[Mapping[str, Json]], index: int) -> Sequence[Mapping[str, Json]]:
    """The messages that become one with that of these calls: all of its row, once answered."""
    row = row_of(messages, index)
    answered = row.stop < len(messages) and messages[row.stop]["role"] in ("tool", "function")
    return messages[row.start : row.stop] if answered else (messages[index],)


def _called(call: Mapping[str, Json]) -> Called:
    """A call of the history, its skeleton checked when the request was parsed."""
    custom = call.get("custom")
    if custom is not None and call.get("type") in (None, "custom"):
        text = orjson.dumps({"input": custom.get("input") or ""}).decode()
        return Called(call["id"], custom["name"], text)
    function = call["function"]
    arguments = function.get("arguments") or ""
    if not isinstance(arguments, str):
        arguments = _text(arguments)
    return Called(call["id"], function["name"], arguments)


def _text(arguments: Json) -> str:
    try:
        return orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError:
        return ""


def _key(calls: Sequence[Called]) -> str:
    ids = sorted(re.sub(r"[^A-Za-z0-9]", "", call.id)[:_KEPT_OF_AN_ID] for call in calls)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]


def _check(calls: Sequence[Called]) -> bytes:
    """Of names and arguments, in whatever order and spelling of JSON they come back."""
    spelled = sorted([call.name.encode(), _canonical(call.arguments)] for call in calls)
    mark = hashlib.blake2b(digest_size=_CHECK)
    for name, arguments in spelled:
        mark.update(b"%d:%b%d:%b" % (len(name), name, len(arguments), arguments))
    return mark.digest()


def _canonical(arguments: str) -> bytes:
    try:
        value = orjson.loads(arguments) if arguments.strip() else {}
        return orjson.dumps(_plain(value, _DEPTH), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # no JSON, or nested too deeply
        return arguments.encode("utf-8", "surrogatepass")


def _plain(value: Json, depth: int) -> Json:
    """Whole floats as integers: a client in JavaScript cannot tell 1.0 from 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**63 else value
    if depth and isinstance(value, dict):
        return {key: _plain(inner, depth - 1) for key, inner in value.items()}
    if depth and isinstance(value, list):
        return [_plain(inner, depth - 1) for inner in value]
    return value
