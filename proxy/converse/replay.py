"""A whole Converse answer as the events it would have been in a stream.

For models that cannot stream (or not with tools): every reader above knows events only, so the
answer takes the same way as any other. The order is the recorded one: messageStart, the blocks in
their order and never interleaved, messageStop, metadata; a start only for the kinds that have one;
citations before the text they belong to, a signature after its text.

Where a stream has no form, ours is the block's own, so that nothing is lost on the way: ``audio``
comes as ``image`` does (a start with its format, one delta with its source), members of a server
tool's result other than text and json stand in ``delta.toolResult`` as they are, and a block of an
unknown kind is one delta under its own name. Errors: ``ProxyError`` for a body that is no Converse
answer. Source: ConverseResponse and ConverseStreamOutput in the service model; order as recorded.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import orjson

from proxy.converse.exceptions import protocol_fault
from proxy.converse.types import Event, Json

_METADATA: Final = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")

_Part = tuple[str, dict[str, Json]]
"""``start`` or ``delta``, and its one-membered union."""


def replay(response: Json) -> list[Event]:
    """The events of ``response``, the JSON of a Converse answer.

    Raises ``ProxyError`` (a protocol fault) where ``output`` or ``stopReason`` is missing or a
    member has another type than it must have to be read. An ``output`` without message or content
    is an answer without blocks.
    """
    answer = _object(response, "a body")
    message = _optional(_object(answer.get("output"), "an output").get("message"), "a message")
    events: list[Event] = [("messageStart", {"role": message.get("role") or "assistant"})]
    for index, block in enumerate(_list(message.get("content"), "a content")):
        events += _block(index, _object(block, "a content block"))
    stop: dict[str, Json] = {"stopReason": _text(answer.get("stopReason"), "a stopReason")}
    if answer.get("additionalModelResponseFields") is not None:
        stop["additionalModelResponseFields"] = answer["additionalModelResponseFields"]
    events.append(("messageStop", stop))
    metadata = {name: answer[name] for name in _METADATA if answer.get(name) is not None}
    if metadata:
        events.append(("metadata", metadata))
    return events


def _block(index: int, block: Mapping[str, Json]) -> Iterator[Event]:
    for kind, value in block.items():
        if value is not None:
            for place, union in _PARTS.get(kind, _unknown)(kind, value):
                name = "contentBlockStart" if place == "start" else "contentBlockDelta"
                yield (name, {"contentBlockIndex": index, place: union})
    yield ("contentBlockStop", {"contentBlockIndex": index})


def _plain_text(kind: str, value: Json) -> Iterator[_Part]:
    yield "delta", {"text": _text(value, "a text")}


def _tool_use(kind: str, value: Json) -> Iterator[_Part]:
    """Input as the one fragment that Nova sends, ``{}`` for no arguments."""
    call = _object(value, "a toolUse")
    yield "start", {"toolUse": {name: call[name] for name in call if name != "input"}}
    tool_input = call.get("input")
    yield (
        "delta",
        {"toolUse": {"input": "{}" if tool_input is None else orjson.dumps(tool_input).decode()}},
    )


def _tool_result(kind: str, value: Json) -> Iterator[_Part]:
    result = _object(value, "a toolResult")
    yield "start", {"toolResult": {name: result[name] for name in result if name != "content"}}
    yield "delta", {"toolResult": _list(result.get("content"), "a toolResult's content")}


def _reasoning(kind: str, value: Json) -> Iterator[_Part]:
    """Text, then its signature; a redacted block is one delta, untouched."""
    block = _object(value, "a reasoningContent")
    visible = _optional(block.get("reasoningText"), "a reasoningText")
    if visible.get("text") is not None:
        yield "delta", {"reasoningContent": {"text": _text(visible["text"], "a reasoning text")}}
    if visible.get("signature") is not None:
        yield "delta", {"reasoningContent": {"signature": visible["signature"]}}
    if block.get("redactedContent") is not None:
        yield "delta", {"reasoningContent": {"redactedContent": block["redactedContent"]}}


def _citations(kind: str, value: Json) -> Iterator[_Part]:
    """Citations before the text of their block, as Claude streams them."""
    block = _object(value, "a citationsContent")
    for citation in _list(block.get("citations"), "a citations"):
        yield "delta", {"citation": _object(citation, "a citation")}
    for piece in _list(block.get("content"), "a cited content"):
        for name, part in _object(piece, "a cited content").items():
            if part is not None:
                yield "delta", {name: part}


def _media(kind: str, value: Json) -> Iterator[_Part]:
    media = _object(value, f"an {kind}")
    yield "start", {kind: {"format": media["format"]} if media.get("format") is not None else {}}
    yield "delta", {kind: {name: media[name] for name in media if name != "format"}}


def _unknown(kind: str, value: Json) -> Iterator[_Part]:
    yield "delta", {kind: value}


_PARTS: Final[Mapping[str, Callable[[str, Json], Iterator[_Part]]]] = MappingProxyType(
    {
        "text": _plain_text,
        "toolUse": _tool_use,
        "toolResult": _tool_result,
        "reasoningContent": _reasoning,
        "citationsContent": _citations,
        "image": _media,
        "audio": _media,
    }
)


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise protocol_fault(f"{what} that is not a JSON object")
    return value


def _optional(value: Json, what: str) -> dict[str, Json]:
    return {} if value is None else _object(value, what)


def _list(value: Json, what: str) -> list[Json]:
    """A list; absent is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise protocol_fault(f"{what} that is not a list")
    return value


def _text(value: Json, what: str) -> str:
    if not isinstance(value, str):
        raise protocol_fault(f"{what} that is not text")
    return value
