"""The simulated model: a conversation in, an `Answer` out, by rules and without chance.

The same request gets the same answer, streamed or not; ids follow from the request's hash and the
simulator's seed. What it does by hint: calls tools named in the prompt (`prompt.py`), reasons where
the family reasons, thinks twice around text when the prompt says "interleaved", redacts when it
says "redact", keeps to maxTokens and stop sequences, and refuses hyphens in tool names on Nova 1
the way Nova does (ModelErrorException).
"""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import orjson

from proxy.simulator.answer import Answer
from proxy.simulator.call import Block, Call, estimate_tokens
from proxy.simulator.instance import Hints, instance_of
from proxy.simulator.prompt import Reading, read, wanted_calls
from proxy.simulator.refusals import Refusal
from proxy.simulator.replies import before_calls, reply, thoughts
from proxy.simulator.signatures import Ledger
from proxy.simulator.sources import cited, served
from proxy.simulator.thinking import thinking_of

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ENDLESS = 1_000_000


def chance_of(call: Call, seed: int) -> Random:
    """The random source of one request: the same for the same body, model and seed."""
    marked = f"{seed} {call.model_id} ".encode() + orjson.dumps(call.body)
    return Random(int.from_bytes(hashlib.sha256(marked).digest()[:8]))


def answer(call: Call, ledger: Ledger, chance: Random) -> Answer:
    """The model's answer. Raises `Refusal` for what the model itself cannot do."""
    reading = read(call)
    calls = _calls(call, reading, chance)
    ran = served(call, reading, _call_id(call, "system", 0, chance))
    content = ran + _composed(call, reading, calls, ledger)
    ledger.remember([block["toolUse"]["toolUseId"] for block in calls], content)
    kept = call.family.keeps_stop
    stopped = _cut_at_stop(content, call.inference.get("stopSequences") or [], kept=kept)
    limit = call.inference.get("maxTokens") or call.model.output_limit or _ENDLESS
    content, tokens, full = _cut_at_limit(content, limit)
    if full:
        return Answer(content, "max_tokens", tokens)
    if stopped is not None:
        reason = "end_turn" if kept else "stop_sequence"
        return Answer(content, reason, tokens, stop_sequence=stopped)
    return Answer(content, "tool_use" if calls else "end_turn", tokens)


def _calls(call: Call, reading: Reading, chance: Random) -> list[Block]:
    blocks = []
    for turn, (name, schema) in enumerate(wanted_calls(call, reading)):
        if call.family.name == "nova-1" and "-" in name:
            raise Refusal(
                "ModelErrorException",
                "Model produced invalid sequence as part of ToolUse. Please refer to the model "
                "tool use troubleshooting guide.",
                extra={"originalStatusCode": 424, "resourceName": call.model.id},
            )
        use: Block = {
            "input": instance_of(schema, Hints.of(reading.asked, turn)),
            "name": name,
            "toolUseId": _call_id(call, name, turn, chance),
        }
        if call.family.typed_calls or _offers_system_tools(call):
            use["type"] = "tool_use"
        blocks.append({"toolUse": use})
    return blocks


def _offers_system_tools(call: Call) -> bool:
    """Nova 2 marks client calls as such only beside a system tool (captures fact 15)."""
    return any(
        "systemTool" in tool for tool in (call.body.get("toolConfig") or {}).get("tools", ())
    )


def _call_id(call: Call, name: str, turn: int, chance: Random) -> str:
    if call.family.positional_ids:
        return f"functions.{name}:{turn}"[:64]
    return "tooluse_" + "".join(chance.choices(_ID_LETTERS, k=22))


def _composed(call: Call, reading: Reading, calls: list[Block], ledger: Ledger) -> list[Block]:
    names = [block["toolUse"]["name"] for block in calls]
    cites = [] if calls else cited(call, reading)
    if cites:
        return _reasoning(call, reading, ledger, 0) + cites
    said = before_calls(names) if calls else reply(call, reading)
    if call.family.name == "nova-1" and call.specs:
        said = f"<thinking> {thoughts(reading, 0)} </thinking>\n\n{said}"
    if calls and (call.choice in ("any", "tool") or reading.ordered):
        said = ""
    text: list[Block] = [{"text": call.family.lead + said}] if said else []
    reasoning = _reasoning(call, reading, ledger, 0)
    if call.family.reasoning == "after":
        return text + reasoning + calls
    if reasoning and "interleaved" in reading.lowered:
        return reasoning + text + _reasoning(call, reading, ledger, 1) + calls
    return reasoning + text + calls


def _reasoning(call: Call, reading: Reading, ledger: Ledger, step: int) -> list[Block]:
    wish, style = thinking_of(call), call.family.reasoning
    if not wish.on or not style or reading.continues:
        return []
    text = thoughts(reading, step)
    if style == "sealed":
        return [{"reasoningContent": {"redactedContent": ledger.redact(text, call.model.id)}}]
    if style == "masked":
        return [{"reasoningContent": {"reasoningText": {"text": "[REDACTED]."}}}]
    if style != "signed":
        return [{"reasoningContent": {"reasoningText": {"text": text}}}]
    if "redact" in reading.lowered:
        sealed = (ledger.redact(f"{text}{part}", call.model.id) for part in range(2))
        return [{"reasoningContent": {"redactedContent": value}} for value in sealed]
    text = text if wish.shown else ""
    signed: dict[str, Any] = {"signature": ledger.sign(text, call.model.id), "text": text}
    return [{"reasoningContent": {"reasoningText": signed}}]


def _cut_at_stop(content: list[Block], sequences: list[str], *, kept: bool) -> str | None:
    """Cut the content at the earliest stop sequence in its text; which one, or None.

    `kept`: the sequence stays, as on Nova (recorded on Nova Micro, with end_turn as the reason).
    """
    for at, block in enumerate(content):
        if "text" not in block:
            continue
        found = [(block["text"].find(s), s) for s in sequences if s in block["text"]]
        if found:
            where, sequence = min(found)
            cut = block["text"][: where + (len(sequence) if kept else 0)]
            content[at:] = [{"text": cut}] if cut else []
            return sequence
    return None


def _cut_at_limit(content: list[Block], limit: int) -> tuple[list[Block], int, bool]:
    """Keep what fits into `limit` tokens: the content, its tokens, whether something was cut.

    Text and reasoning are cut in mid-word; a tool call that does not fit is left out whole.
    """
    kept: list[Block] = []
    used = 0
    for block in content:
        size = estimate_tokens(block)
        if used + size <= limit:
            kept.append(block)
            used += size
            continue
        room = (limit - used) * 4
        if "text" in block and room:
            kept.append({"text": block["text"][:room]})
        return kept, limit, True
    return kept, used, False
