"""Thoughts that were shown between tags come back as text, and are read as reasoning again."""

from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.converse.types import Event
from proxy.dialect import Options, Stamp, Translation
from proxy.openai.chat.from_converse import ChatCollector
from proxy.openai.chat.recollection import lacking, restored
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.request_shape import ChatRequest
from proxy.openai.chat.shown_thoughts import with_thoughts_apart
from proxy.openai.chat.to_converse import translate

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
QWEN = "qwen.qwen3-32b-v1:0"
TAGS = Options(reasoning_as="tags")
LOST = "replayed_reasoning:dropped"
POINT = {"cachePoint": {"type": "default"}}


def model(id: str) -> Model:
    return Model(name=id, id=id, foundation=id, label=id, traits=traits_for(id))


def request(id: str, *messages: Any, **fields: Any) -> ChatRequest:
    asked = {"role": "user", "content": "Hi"}
    body = {"model": id, "messages": [asked, *messages], **fields}
    return parse_request(orjson.dumps(body), {})


def sent(content: Any, *more: Any, id: str = QWEN, **fields: Any) -> Translation:
    """The call with one assistant message of the past, and a user's behind it."""
    said = {"role": "assistant", "content": content, **fields}
    return translate(request(id, said, *more), model(id), TAGS)


def turn(told: Translation) -> list[Any]:
    [blocks] = [m["content"] for m in told.body["messages"] if m["role"] == "assistant"]
    return blocks


NEXT = {"role": "user", "content": "And?"}


@pytest.mark.parametrize("id", [SONNET, QWEN])
def test_a_thought_in_front_is_no_text(id: str) -> None:
    told = sent("<think>Hm.\nWell.</think>\n\nYes.", NEXT, id=id)
    assert turn(told) == [{"text": "Yes."}]
    assert LOST in told.notes
    assert told == sent("Yes.", NEXT, id=id, reasoning_content="Hm.\nWell.")


def test_only_where_tags_are_shown() -> None:
    text = "<think>Hm.</think>\n\nYes."
    said = {"role": "assistant", "content": text}
    for way in ("reasoning_content", "reasoning", "thinking_blocks"):
        told = translate(request(QWEN, said, NEXT), model(QWEN), Options(reasoning_as=way))
        assert turn(told) == [{"text": text}]


def test_only_what_an_assistant_said() -> None:
    text = "<think>Hm.</think>\n\nYes."
    asked = {"role": "user", "content": text}
    told = translate(request(QWEN, asked), model(QWEN), TAGS)
    assert told.body["messages"][0]["content"][-1] == {"text": text}


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("<think>a</think>\n\n<think>b</think>\n\nYes.", "Yes."),
        ("<think>a</think>\n\nA <think>b</think>\n\nis a tag.", "A <think>b</think>\n\nis a tag."),
        ("<think>a</think>\n\nIt ends with </think>", "It ends with </think>"),
        ("<think>a</think> b</think>\n\nYes.", "Yes."),
        ("Use <think>a</think>", "Use <think>a</think>"),
        ("<think>a</think>Yes.", "<think>a</think>Yes."),
        ("<think>never closed", "<think>never closed"),
        ("<think>\n\n</think>\n\nYes.", "<think>\n\n</think>\n\nYes."),
        ([{"type": "text", "text": "<think>a</think>\n\nYes."}], "Yes."),
        ([{"type": "text", "text": "<think>a</think>"}, {"text": "Yes."}], "Yes."),
        (["<think>a</think>\n\n", {"type": "output_text", "text": "Yes."}], "Yes."),
        ({"type": "text", "text": "<think>a</think>\n\nYes."}, "Yes."),
        ([{"type": "refusal", "refusal": "<think>a</think>\n\nNo."}], "<think>a</think>\n\nNo."),
    ],
)
def test_what_is_a_thought_and_what_is_text(content: Any, left: str) -> None:
    assert turn(sent(content, NEXT)) == [{"text": left}]


def test_words_of_a_later_part_are_words() -> None:
    parts = [{"type": "text", "text": text} for text in ("Yes.", "<think>a</think>\n\nNo.")]
    assert turn(sent(parts, NEXT)) == [{"text": part["text"]} for part in parts]


def test_a_message_of_thoughts_only_says_nothing() -> None:
    told = sent("<think>Hm.</think>\n\n", NEXT)
    assert [message["role"] for message in told.body["messages"]] == ["user"]
    assert "assistant_message:dropped" in told.notes


def test_cache_marks_stay_behind_the_words() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    part = {"type": "text", "text": "<think>a</think>\n\nYes.", **mark}
    assert turn(sent([part], NEXT, id=SONNET)) == [{"text": "Yes."}, POINT]
    assert turn(sent(part["text"], NEXT, id=SONNET, **mark)) == [{"text": "Yes."}, POINT]


@pytest.mark.parametrize(
    ("content", "left"),
    [("<think>Hm.</think>\n\nThe answer is", "The answer is"), ("<think>", "<think>")],
)
def test_a_prefill_keeps_its_words(content: str, left: str) -> None:
    told = sent(content, id=SONNET)
    assert told.body["messages"][-1] == {"role": "assistant", "content": [{"text": left}]}


# ---- what this proxy wrote itself ----------------------------------------------------------------


def delta(index: int, **body: Any) -> Event:
    return ("contentBlockDelta", {"contentBlockIndex": index, "delta": body})


def stop(index: int) -> Event:
    return ("contentBlockStop", {"contentBlockIndex": index})


def thought(index: int, text: str) -> tuple[Event, ...]:
    said = delta(index, reasoningContent={"text": text})
    return (said, delta(index, reasoningContent={"signature": "c2ln"}), stop(index))


CALL = {"toolUse": {"toolUseId": "t1", "name": "f"}}
ANSWER = (
    *thought(0, "One."),
    *thought(1, "Two."),
    *(delta(2, text="Say <think>x</think>\n\nso."), stop(2)),
    *thought(3, "Three."),
    ("contentBlockStart", {"contentBlockIndex": 4, "start": CALL}),
    *(delta(4, toolUse={"input": "{}"}), stop(4)),
    ("messageStop", {"stopReason": "tool_use"}),
)
PLAIN = (*ANSWER[:6], delta(2, text="Say so."), *ANSWER[7:])


def looped(events: Any, options: Options, *, keeps: bool, trims: bool = False) -> Translation:
    """The call that sends an answer of ours back, from a client that ``keeps`` all of it or has it
    restored from the memory."""
    fields = {"reasoning_effort": "low", "tools": [{"function": {"name": "f"}}]}
    first = translate(request(SONNET, **fields), model(SONNET), options)
    collector = ChatCollector(first, Stamp("x", 0, "m"), 0)
    collector.add(events)
    said = collector.choice()["message"]
    if not keeps:
        said = {key: said[key] for key in ("role", "content", "tool_calls")}
    if trims:
        said["content"] = said["content"].strip()
    answer = {"role": "tool", "tool_call_id": "t1", "content": "4"}
    asked = request(SONNET, said, answer, **fields)
    kept = collector.keepsake
    assert kept is not None
    assert lacking(asked, model(SONNET)) == (() if keeps else (kept.key,))
    return translate(restored(asked, model(SONNET), {kept.key: kept.value}), model(SONNET), options)


@pytest.mark.parametrize("trims", [False, True])
@pytest.mark.parametrize("keeps", [False, True], ids=["memory", "pack"])
def test_an_answer_of_ours_is_the_same_call_in_either_way(keeps: bool, trims: bool) -> None:
    told = looped(PLAIN, TAGS, keeps=keeps, trims=trims)
    assert [next(iter(block)) for block in turn(told)] == [
        *("reasoningContent", "reasoningContent", "text", "reasoningContent", "toolUse")
    ]
    assert told.body == looped(PLAIN, Options(), keeps=keeps).body
    assert LOST not in told.notes


def test_words_about_a_tag_are_not_taken_for_a_thought() -> None:
    told = looped(ANSWER, TAGS, keeps=True)
    texts = [block["text"] for block in turn(told) if "text" in block]
    assert texts == ["Say <think>x</think>\n\nso.<think>Three.</think>\n\n"]


def test_many_open_tags_take_no_time() -> None:
    said = {"role": "assistant", "content": "<think>" * 300_000}
    assert with_thoughts_apart(said) is said
