"""The rules of a conversation: roles, blank text, and calls that meet their results.

The sentences are the service's, seen in public reports. Message indexes count from 0, as there.
Alternation, prefill and the first role are family matters (`families.py`); pairing is not.
"""

from __future__ import annotations

import re
from itertools import pairwise

from proxy.simulator.call import Call, Message, tool_results, tool_uses
from proxy.simulator.refusals import invalid, model_says, unsupported, unsupported_block

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_MIXED = (
    "messages.{}.content: Conversation blocks and tool {} blocks cannot be provided in the same "
    "turn."
)
_CLAUDE_ID = re.compile(r"[a-zA-Z0-9_-]+")
_OWN_ID = re.compile(r"tooluse_[A-Za-z0-9_-]{22}")
_USER_ONLY = frozenset({"image", "document", "video", "audio"})


def check_turns(call: Call) -> None:
    """Raise `Refusal` unless the messages are a conversation the family takes."""
    if not call.messages:
        raise invalid("The messages field is empty. Add a message and try again.")
    _check_system(call)
    _check_roles(call)
    _check_ending(call)
    for at, message in enumerate(call.messages):
        _check_content(call, at, message)
    _check_pairs(call)
    _check_ids(call)


def _check_system(call: Call) -> None:
    if not call.system:
        return
    if not call.family.system:
        raise invalid(
            "This model doesn't support system messages. Try again without a system message or "
            "use a model that supports system messages."
        )
    for index, block in enumerate(call.system):
        if "text" in block and not block["text"].strip():
            raise model_says(
                f"system.{index}: text content blocks must contain non-whitespace text"
            )


def _check_roles(call: Call) -> None:
    roles = [message["role"] for message in call.messages]
    if "system" in roles:
        if not call.family.mid_system or roles[0] == "system":
            raise invalid(
                "This model doesn't support the system role in messages. Use the system field and "
                "try again."
            )
        roles = [role for role in roles if role != "system"]
    if roles[0] != "user" and not call.family.leading_assistant:
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    if call.family.alternation and any(a == b for a, b in pairwise(roles)):
        raise invalid(
            "A conversation must alternate between user and assistant roles. Make sure the "
            "conversation alternates between user and assistant roles and try again."
        )


def _check_ending(call: Call) -> None:
    last = call.messages[-1]
    if last["role"] != "assistant":
        return
    if not call.family.prefill:
        raise model_says(
            "This model does not support assistant message prefill. The conversation must end "
            "with a user message."
        )
    text = next((b["text"] for b in reversed(last["content"]) if "text" in b), "")
    if call.family.is_claude and text != text.rstrip():
        raise model_says("messages: final assistant content cannot end with trailing whitespace")


def _check_content(call: Call, at: int, message: Message) -> None:
    if not message["content"]:
        raise invalid(
            f"The content field in the Message object at messages.{at} is empty. Add a "
            "ContentBlock object to the content field and try again."
        )
    for index, block in enumerate(message["content"]):
        if "text" in block and _is_blank(message, index):
            raise invalid(
                f"The text field in the ContentBlock object at messages.{at}.content.{index} is "
                "blank. Add text to the text field, and try again."
            )
        kind = next(iter(block))
        misplaced = kind == "toolResult" and "type" not in block[kind]
        if message["role"] == "assistant" and (kind in _USER_ONLY or misplaced):
            raise invalid(
                f"The {kind} content block at messages.{at}.content.{index} is not allowed in an "
                "assistant message. Move it to a user message and try again."
            )
        if message["role"] == "user" and kind == "toolUse":
            raise invalid(
                f"The toolUse content block at messages.{at}.content.{index} is not allowed in a "
                "user message. Move it to an assistant message and try again."
            )


def _is_blank(message: Message, index: int) -> bool:
    """Blank text, but for a line break between a document and a cache point (recorded as taken)."""
    content = message["content"]
    text = content[index]["text"]
    if text.strip():
        return False
    before = content[index - 1] if index else {}
    after = content[index + 1] if index + 1 < len(content) else {}
    return not (text and "document" in before and "cachePoint" in after)


def _check_pairs(call: Call) -> None:
    """Each call answered in the next message, each answer called for in the one before."""
    pending: list[str] = []
    for at, message in enumerate(call.messages):
        answered = [result["toolUseId"] for result in tool_results(message)]
        missing = [call_id for call_id in pending if call_id not in answered]
        if missing:
            raise invalid(
                f"Expected toolResult blocks at messages.{at}.content for the following Ids: "
                f"{', '.join(missing)}"
            )
        if len(answered) > len(pending):
            raise invalid(
                f"The number of toolResult blocks at messages.{at}.content exceeds the number of "
                "toolUse blocks of previous turn."
            )
        if answered:
            _check_results(call, at, message)
        pending = [u["toolUseId"] for u in tool_uses(message) if u.get("type") != "server_tool_use"]
        if pending and call.family.result_alone and _is_talk(message):
            raise invalid(_MIXED.format(at, "use"))
    if pending:
        raise invalid(
            f"Expected toolResult blocks at messages.{len(call.messages)}.content for the "
            f"following Ids: {', '.join(pending)}"
        )


def _is_talk(message: Message) -> bool:
    return any("text" in block for block in message["content"])


def _check_results(call: Call, at: int, message: Message) -> None:
    kinds = [next(iter(block)) for block in message["content"] if "cachePoint" not in block]
    others = [kind for kind in kinds if kind != "toolResult"]
    if call.family.is_claude and "toolResult" in kinds[len(kinds) - len(others) :]:
        ids = ", ".join(result["toolUseId"] for result in tool_results(message))
        raise model_says(
            f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {ids}. Each `tool_use` block must have a corresponding `tool_result` block in "
            "the next message."
        )
    if others and call.family.result_alone:
        raise invalid(_MIXED.format(at, "result"))
    for index, result in enumerate(tool_results(message)):
        where = f"messages.{at}.content.{index}.toolResult"
        if "status" in result and not call.family.result_status:
            raise unsupported("toolResult.status")
        if not result["content"] and result.get("status") == "error":
            raise model_says(f"{where}: content cannot be empty if `is_error` is true")
        for block in result["content"]:
            kind = next(iter(block))
            if kind == "text" and not block["text"].strip():
                raise invalid(
                    f"The text field in the ContentBlock object at {where}.content is blank. Add "
                    "text to the text field, and try again."
                )
            if kind not in ("text", "json") and kind not in call.family.result_media:
                raise unsupported_block(kind)


def _check_ids(call: Call) -> None:
    seen: set[str] = set()
    for at, message in enumerate(call.messages):
        ids = [use["toolUseId"] for use in tool_uses(message)]
        repeated = len(set(ids)) < len(ids) or (call.family.unique_ids and seen & set(ids))
        if repeated:
            raise model_says(f"messages.{at}.content: `tool_use` ids must be unique")
        seen.update(ids)
        if call.family.is_claude:
            _check_claude_ids(at, message)
        for call_id in ids:
            if call.family.nine_letter_ids and not _taken_by_mistral(call_id):
                raise model_says(
                    f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
                )


def _check_claude_ids(at: int, message: Message) -> None:
    """Anthropic's own pattern is narrower than Converse's, which lets Kimi's dots and colons by."""
    for index, block in enumerate(message["content"]):
        if not _CLAUDE_ID.fullmatch(block.get("toolUse", {}).get("toolUseId", "x")):
            raise model_says(
                f"messages.{at}.content.{index}.tool_use.id: String should match pattern "
                "'^[a-zA-Z0-9_-]+$'"
            )


def _taken_by_mistral(call_id: str) -> bool:
    return bool(_NINE.fullmatch(call_id) or _OWN_ID.fullmatch(call_id))
