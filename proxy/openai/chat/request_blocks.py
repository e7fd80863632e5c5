"""Tool blocks of Anthropic's Messages API in a chat request, as OpenAI's calls and results.

Cursor sends its agent's history in this form to an OpenAI-compatible server whose model is called
Claude: ``tool_use`` among the parts of an assistant message, ``tool_result`` among a user's (Cursor
forum, December 2025; its tools then have an ``input_schema``). Here they become ``tool_calls`` and
tool messages, so that pairing, reasoning and caching have one form to know. Of a block only its
type stays among the parts, where it is read as nothing. Faults found later count a result as a
message of its own. Source: Anthropic API reference, *Messages*.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import orjson

from proxy.converse.types import Json
from proxy.openai.chat.request_messages import MAX_ID, check_content
from proxy.openai.request_checks import check_depth, read_object, require_text

_BLOCKS: Final = MappingProxyType({"assistant": "tool_use", "user": "tool_result"})
_KEPT: Final = ("cache_control", "is_error")

Message = Mapping[str, Json]


def with_tool_blocks(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, checked before, without tool blocks. Raises ``ProxyError`` 400 naming a faulty
    one."""
    if not any(map(_has_blocks, messages)):
        return messages
    return tuple(one for index, message in enumerate(messages) for one in _split(message, index))


def _has_blocks(message: Message) -> bool:
    content = message.get("content")
    if not isinstance(content, list | dict):  # as most of a history is
        return False
    parts = content if isinstance(content, list) else (content,)
    return any(_is_block(part, message) for part in parts)


def _is_block(part: Json, message: Message) -> bool:
    return isinstance(part, dict) and part.get("type") == _BLOCKS.get(message["role"], "")


def _split(message: Message, index: int) -> Iterator[Message]:
    if not _has_blocks(message):
        yield message
        return
    content = message["content"]
    parts = content if isinstance(content, list) else [content]
    blocks = [
        (part, f"messages[{index}].content[{at}]")
        for at, part in enumerate(parts)
        if _is_block(part, message)
    ]
    left = [{"type": part["type"]} if _is_block(part, message) else part for part in parts]
    if message["role"] == "assistant":
        yield {**message, "content": left, "tool_calls": _calls(message, blocks)}
        return
    for part, path in blocks:
        yield _result(part, path)
    if len(blocks) < len(parts):
        yield {**message, "content": left}


def _calls(message: Message, blocks: Sequence[tuple[Message, str]]) -> list[Json]:
    """The message's own calls, and the blocks that do not repeat one of them."""
    calls = [*(message.get("tool_calls") or ())]
    own = {call["id"] for call in calls}
    for part, path in blocks:
        call_id, name = require_text(part, "id", path, MAX_ID), require_text(part, "name", path)
        sent = read_object(part, "input", path) or {}
        check_depth(sent, f"{path}.input")
        function = {"name": name, "arguments": orjson.dumps(sent).decode()}
        if call_id not in own:
            calls.append({"id": call_id, "type": "function", "function": function, **_kept(part)})
    return calls


def _result(part: Message, path: str) -> Message:
    call_id = require_text(part, "tool_use_id", path, MAX_ID)
    check_content(part, "tool", path)
    content = part.get("content")
    return {"role": "tool", "tool_call_id": call_id, "content": content, **_kept(part)}


def _kept(part: Message) -> dict[str, Json]:
    return {name: part[name] for name in _KEPT if name in part}
