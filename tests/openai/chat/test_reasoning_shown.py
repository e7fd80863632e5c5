"""The four ways in which reasoning is shown: a stream's fold and a whole answer agree in each."""

from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.converse.types import Event
from proxy.dialect import Options, Stamp, Translation
from proxy.openai.chat.from_converse import ChatCollector, ChatEncoder, end
from proxy.openai.chat.reasoning import unpack
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
QWEN = "qwen.qwen3-32b-v1:0"
STAMP = Stamp("x", 0, "m")
WAYS = ("reasoning_content", "reasoning", "thinking_blocks", "tags")


def delta(index: int, **body: Any) -> Event:
    return ("contentBlockDelta", {"contentBlockIndex": index, "delta": body})


def stop(index: int) -> Event:
    return ("contentBlockStop", {"contentBlockIndex": index})


ANSWER = (
    ("messageStart", {"role": "assistant"}),
    delta(0, reasoningContent={"text": "Let me"}),
    delta(0, reasoningContent={"text": " think."}),
    delta(0, reasoningContent={"signature": "c2ln"}),
    stop(0),
    delta(1, reasoningContent={"redactedContent": "UmVk"}),
    stop(1),
    delta(2, text="Say"),
    delta(2, text=" this."),
    stop(2),
    delta(3, reasoningContent={"text": "Again."}),
    delta(3, reasoningContent={"signature": "c2ln"}),
    stop(3),
    (
        "contentBlockStart",
        {"contentBlockIndex": 4, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}},
    ),
    delta(4, toolUse={"input": "{}"}),
    stop(4),
    ("messageStop", {"stopReason": "tool_use"}),
)
BLOCKS = [
    {"index": 0, "type": "thinking", "thinking": "Let me think.", "signature": "c2ln"},
    {"index": 1, "type": "redacted_thinking", "data": "UmVk"},
    {"index": 2, "type": "thinking", "thinking": "Again.", "signature": "c2ln"},
]


def translation(way: str, model: str = SONNET, **fields: Any) -> Translation:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    traits = traits_for(model)
    named = Model(name=model, id=model, foundation=model, label=model, traits=traits)
    return translate(parse_request(orjson.dumps(body), {}), named, Options(reasoning_as=way))


def folded(told: Translation, events: Any, beats: bool = False) -> dict[str, Any]:
    """A client's fold of the stream. ``beats``: a heartbeat after every event."""
    encoder = ChatEncoder(told, STAMP, 0)
    data = b""
    for event in events:
        data += encoder.encode([event])
        if beats:
            data += encoder.heartbeat()
    data += encoder.finish_stream() + end(told, STAMP, [None])
    message: dict[str, Any] = {}
    for line in data.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        [choice] = orjson.loads(line[6:])["choices"]
        for key, value in choice["delta"].items():
            if key == "role":
                assert key not in message
            message[key] = message[key] + value if key in message else value
    return message


def collected(told: Translation, events: Any) -> dict[str, Any]:
    collector = ChatCollector(told, STAMP, 0)
    collector.add(events)
    message: dict[str, Any] = collector.choice()["message"]
    return message


@pytest.mark.parametrize("beats", [False, True], ids=["", "heartbeats"])
@pytest.mark.parametrize("way", WAYS)
def test_each_way(way: str, beats: bool) -> None:
    told = translation(way, stream=True)
    streamed, whole = folded(told, ANSWER, beats), collected(translation(way), ANSWER)
    text, thoughts = "Say this.", "Let me think.Again."
    if way == "tags":
        assert "reasoning_content" in whole  # null: the old gateway's own example reads it
        text = "<think>Let me think.</think>\n\nSay this.<think>Again.</think>\n\n"
    for message in (streamed, whole):
        assert message["content"] == text
        field = "reasoning" if way == "reasoning" else "reasoning_content"
        assert message.get(field) == (None if way == "tags" else thoughts)
        assert not {"reasoning", "reasoning_content"} - {field} & message.keys()
        if way == "thinking_blocks":
            assert message["thinking_blocks"] == BLOCKS
            assert "reasoning_details" not in message
        else:
            [entry] = message["reasoning_details"]
            assert "thinking_blocks" not in message
            opened = unpack(entry["data"])
            assert opened is not None
            assert len(opened[1].blocks) == 3
            assert (entry["index"], entry["id"]) == (0, "t1")


@pytest.mark.parametrize("way", WAYS)
def test_hidden_reasoning_is_shown_in_no_way(way: str) -> None:
    told = translation(way, reasoning={"effort": "low", "exclude": True})
    message = collected(told, ANSWER)
    assert message["content"] == "Say this."
    assert not {"reasoning", "reasoning_content", "thinking_blocks"} & message.keys()
    assert "think" not in repr({key: message[key] for key in message if key != "reasoning_details"})


def test_tags_that_the_model_writes_stay_where_tags_are_asked_for() -> None:
    text = "<think>Hm.</think>Yes."
    events = (delta(0, text=text), stop(0), ("messageStop", {"stopReason": "end_turn"}))
    assert collected(translation("tags", QWEN), events)["content"] == text
    message = collected(translation("reasoning_content", QWEN), events)
    assert (message["content"], message["reasoning_content"]) == ("Yes.", "Hm.")
    hidden = translation("tags", QWEN, reasoning={"effort": "low", "exclude": True})
    assert collected(hidden, events)["content"] == "Yes."


def test_an_answer_that_is_nothing_but_reasoning_closes_its_tag() -> None:
    events = (*ANSWER[1:5], ("messageStop", {"stopReason": "max_tokens"}))
    text = "<think>Let me think.</think>\n\n"
    assert folded(translation("tags", stream=True), events)["content"] == text
    assert collected(translation("tags"), events)["content"] == text
