"""One finished answer, and its two wire forms: a Converse body and ConverseStream events.

Both forms are made from the same `Answer`, so that Converse and ConverseStream agree. The order of
events and the small habits of each family are the recorded ones (captures facts 4-7, 11-18): text
and reasoning without a contentBlockStart, an empty first fragment of Claude's tool input, Nova's
whole input in one fragment, gpt-oss's empty first block, empty deltas at a block's end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from proxy.simulator.caching import Cached
from proxy.simulator.call import Block, Call, estimate_tokens
from proxy.simulator.family import Family

Event = tuple[str, dict[str, Any]]

_LONGEST_FRAGMENT = 27
# Latency-optimised inference exists for a handful of models; others fall back to standard.
_OPTIMIZED = (
    "amazon.nova-pro",
    "anthropic.claude-3-5-haiku",
    "meta.llama3-1-70b",
    "meta.llama3-1-405b",
)


@dataclass(slots=True)
class Answer:
    """What the model said, before it has a wire form. `content` is in Converse's shape."""

    content: list[Block]
    stop_reason: str
    output_tokens: int
    stop_sequence: str | None = None
    trace: dict[str, Any] | None = None
    cached: Cached = field(default_factory=Cached)


def converse_body(call: Call, answer: Answer, latency_ms: int) -> dict[str, Any]:
    """The body of a Converse answer, keys in the service's (alphabetical) order."""
    body: dict[str, Any] = {
        "metrics": {"latencyMs": latency_ms},
        "output": {"message": {"content": answer.content, "role": "assistant"}},
        "stopReason": answer.stop_reason,
        **_echoes(call, answer),
        "usage": _usage(call, answer, streaming=False),
    }
    fields = _response_fields(call, {**_native_stop(answer), **_native_usage(answer)})
    if fields:
        body["additionalModelResponseFields"] = fields
    return dict(sorted(body.items()))


def stream_events(
    call: Call, answer: Answer, latency_ms: Callable[[], int], chance: Random
) -> Iterator[Event]:
    """The events of a ConverseStream answer, in order, without padding.

    `latency_ms` is asked when the metadata event is made, at the end.
    """
    yield "messageStart", {"role": "assistant"}
    at = 0
    if call.family.opens_empty:
        yield "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": ""}}
        yield "contentBlockStop", {"contentBlockIndex": 0}
        at = 1
    for index, block in enumerate(answer.content, start=at):
        yield from _block_events(index, block, call.family, chance)
        yield "contentBlockStop", {"contentBlockIndex": index}
    stop: dict[str, Any] = {"stopReason": answer.stop_reason}
    native = {"delta": _native_stop(answer), **_native_usage(answer)}
    if fields := _response_fields(call, native):
        stop["additionalModelResponseFields"] = fields
    yield "messageStop", stop
    metadata = {
        "metrics": {"latencyMs": latency_ms()},
        **_echoes(call, answer),
        "usage": _usage(call, answer, streaming=True),
    }
    yield "metadata", metadata


def _block_events(index: int, block: Block, family: Family, chance: Random) -> Iterator[Event]:
    if "text" in block:
        deltas: Iterator[dict[str, Any]] = ({"text": t} for t in fragments(block["text"], chance))
        yield from _deltas(index, deltas)
        if family.ends_empty:
            yield from _deltas(index, iter([{"text": ""}]))
    elif "reasoningContent" in block:
        yield from _deltas(index, _reasoning_deltas(block["reasoningContent"], chance))
    elif "citationsContent" in block:
        yield from _deltas(index, _citation_deltas(block["citationsContent"], chance))
    elif "toolResult" in block:
        result = dict(block["toolResult"])
        content = result.pop("content")
        yield "contentBlockStart", {"contentBlockIndex": index, "start": {"toolResult": result}}
        yield from _deltas(index, iter([{"toolResult": content}]))
    else:
        use = dict(block["toolUse"])
        given = use.pop("input")
        yield "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": use}}
        pieces = _input_fragments(given, family, chance)
        yield from _deltas(index, ({"toolUse": {"input": piece}} for piece in pieces))


def _deltas(index: int, deltas: Iterator[dict[str, Any]]) -> Iterator[Event]:
    for delta in deltas:
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}


def _reasoning_deltas(reasoning: Block, chance: Random) -> Iterator[dict[str, Any]]:
    if "redactedContent" in reasoning:
        yield {"reasoningContent": {"redactedContent": reasoning["redactedContent"]}}
        return
    told = reasoning["reasoningText"]
    for piece in fragments(told["text"], chance):
        yield {"reasoningContent": {"text": piece}}
    if "signature" in told:
        yield {"reasoningContent": {"signature": told["signature"]}}


def _citation_deltas(told: Block, chance: Random) -> Iterator[dict[str, Any]]:
    """The citations first, then the text they stand for, in one block."""
    for citation in told["citations"]:
        yield {"citation": citation}
    for part in told.get("content", ()):
        for piece in fragments(part["text"], chance):
            yield {"text": piece}


def _input_fragments(given: Any, family: Family, chance: Random) -> list[str]:
    text = orjson.dumps(given).decode()
    if family.whole_input:
        return [text]
    return [""] if not given else ["", *fragments(text, chance)]


def fragments(text: str, chance: Random) -> list[str]:
    """Cut a text into pieces of 2 to 27 characters (median and bounds of captures fact 12)."""
    if not text:
        return [""]
    pieces, start = [], 0
    while start < len(text):
        end = start + chance.randint(2, _LONGEST_FRAGMENT)
        pieces.append(text[start:end])
        start = end
    return pieces


def _echoes(call: Call, answer: Answer) -> dict[str, Any]:
    echoes: dict[str, Any] = {}
    if "serviceTier" in call.body:
        echoes["serviceTier"] = call.body["serviceTier"]
    if "performanceConfig" in call.body:
        optimized = call.model.id.startswith(_OPTIMIZED)
        wished = call.body["performanceConfig"]
        echoes["performanceConfig"] = wished if optimized else {"latency": "standard"}
    if answer.trace is not None:
        echoes["trace"] = answer.trace
    return echoes


def _native_stop(answer: Answer) -> dict[str, Any]:
    """How Claude itself names the end of an answer."""
    return {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}


def _native_usage(answer: Answer) -> dict[str, Any]:
    """Claude's split of output tokens (field reports; the place was not verified)."""
    thought = [block for block in answer.content if "reasoningContent" in block]
    tokens = sum(map(estimate_tokens, thought))
    details = {"output_tokens_details": {"thinking_tokens": tokens}}
    return {"usage": {"output_tokens": answer.output_tokens, **details}}


def _response_fields(call: Call, native: dict[str, Any]) -> dict[str, Any]:
    """What the JSON pointers of additionalModelResponseFieldPaths find; misses stay silent."""
    found: dict[str, Any] = {}
    paths = call.body.get("additionalModelResponseFieldPaths") or []
    for path in paths if call.family.is_claude else []:
        keys = path.strip("/").split("/")
        value: Any = native
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None and keys[-1] != "stop_sequence":
            continue
        target = found
        for key in keys[:-1]:
            target = target.setdefault(key, {})
        target[keys[-1]] = value
    return found


def _usage(call: Call, answer: Answer, *, streaming: bool) -> dict[str, Any]:
    """Token counts with the cache keys that the family shows in this form (facts 13, 16, 17)."""
    cached = answer.cached
    fresh = max(1, call.input_tokens - cached.read - cached.write)
    usage: dict[str, Any] = {
        "inputTokens": fresh,
        "outputTokens": answer.output_tokens,
        "serverToolUsage": {},
        "totalTokens": fresh + cached.read + cached.write + answer.output_tokens,
    }
    style = call.family.cache_usage
    in_any_case = style in ("zeros", "read") or (style == "marked" and cached.marked)
    if style == "none" or not (cached.in_play or (in_any_case and not streaming)):
        return usage
    usage["cacheReadInputTokens"] = usage["cacheReadInputTokenCount"] = cached.read
    if style != "read" or cached.write:
        usage["cacheWriteInputTokens"] = usage["cacheWriteInputTokenCount"] = cached.write
    if cached.write and call.family.is_claude:
        usage["cacheDetails"] = [{"inputTokens": n, "ttl": ttl} for ttl, n in cached.written]
    return dict(sorted(usage.items()))
