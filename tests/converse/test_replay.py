"""A whole Converse answer, replayed: every event is one that ConverseStream could have sent.

The judge is botocore's service model: each event is checked against the shape of its kind. The own
forms, which the model cannot know, are listed in ``OWN``. Answers named *recorded* come from the
captures, where present; the others are made.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from proxy.converse.replay import replay
from proxy.converse.types import Event
from proxy.errors import ProxyError

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"

# Members that real traffic carries beyond the service model (recorded).
EXTRA = frozenset({"serverToolUsage", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"})
# Union members of a block or delta that no stream has; the encoder knows them by these names.
OWN = frozenset({"audio", "document", "video"})


@pytest.fixture(scope="module")
def shapes() -> Any:
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    return model.operation_model("ConverseStream").output_shape.members["stream"].members


def pruned(value: Any) -> Any:
    """Without nulls and without the recorded extras."""
    if isinstance(value, dict):
        return {k: pruned(v) for k, v in value.items() if v is not None and k not in EXTRA}
    if isinstance(value, list):
        return [pruned(item) for item in value]
    return value


def valid(events: list[Event], shapes: Any) -> None:
    """In the order and of the shapes of a ConverseStream."""
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "messageStart"
    tail = ["messageStop", "metadata"] if "metadata" in kinds else ["messageStop"]
    assert kinds[-len(tail) :] == tail
    opened = -1
    for kind, body in events:
        own = OWN & (body.get("start", {}).keys() | body.get("delta", {}).keys())
        if not own:
            report = ParamValidator().validate(pruned(body), shapes[kind])
            assert not report.has_errors(), (kind, body, report.generate_report())
        if kind.startswith("contentBlock"):
            index = body["contentBlockIndex"]
            assert index in {opened, opened + 1}
            opened = index
    stops = [body["contentBlockIndex"] for kind, body in events if kind == "contentBlockStop"]
    assert stops == list(range(opened + 1))


def answer(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
        "metrics": {"latencyMs": 4},
        **more,
    }


def parts(*content: dict[str, Any]) -> list[tuple[str, Any]]:
    """What the blocks became: (start | delta | stop, union or index), in order."""
    found: list[tuple[str, Any]] = []
    for kind, body in replay(answer(*content))[1:-2]:
        name = kind.removeprefix("contentBlock").lower()
        found.append((name, body.get(name, body["contentBlockIndex"])))
    return found


CITATION = {
    "title": "t",
    "source": "s",
    "sourceContent": [{"text": "quoted"}],
    "location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}},
}
TOOL = {"toolUseId": "tooluse_1", "name": "f", "input": {"b": 1, "a": "ä"}}
SERVER = {"toolUseId": "t2", "name": "nova_grounding", "type": "server_tool_use"}
RESULT = {"toolUseId": "t2", "type": "nova_grounding_result", "status": "success"}
PNG = {"format": "png", "source": {"bytes": "iVBORw0="}}
WAV = {"format": "wav", "source": {"bytes": "UklGRg=="}}

BLOCKS: dict[str, tuple[dict[str, Any], list[tuple[str, Any]]]] = {
    "text": ({"text": "Hi 😀"}, [("delta", {"text": "Hi 😀"})]),
    "empty text": ({"text": ""}, [("delta", {"text": ""})]),
    "tool": (
        {"toolUse": TOOL},
        [
            ("start", {"toolUse": {"toolUseId": "tooluse_1", "name": "f"}}),
            ("delta", {"toolUse": {"input": '{"b":1,"a":"ä"}'}}),
        ],
    ),
    "tool of a newer Claude": (
        {"toolUse": {**TOOL, "type": "tool_use"}},
        [
            ("start", {"toolUse": {"toolUseId": "tooluse_1", "name": "f", "type": "tool_use"}}),
            ("delta", {"toolUse": {"input": '{"b":1,"a":"ä"}'}}),
        ],
    ),
    "tool without arguments": (
        {"toolUse": {**TOOL, "input": {}}},
        [
            ("start", {"toolUse": {"toolUseId": "tooluse_1", "name": "f"}}),
            ("delta", {"toolUse": {"input": "{}"}}),
        ],
    ),
    "server tool without input": (
        {"toolUse": SERVER},
        [("start", {"toolUse": SERVER}), ("delta", {"toolUse": {"input": "{}"}})],
    ),
    "server tool's result": (
        {"toolResult": {**RESULT, "content": [{"text": "[HIDDEN]"}, {"json": {"exitCode": 0}}]}},
        [
            ("start", {"toolResult": RESULT}),
            ("delta", {"toolResult": [{"text": "[HIDDEN]"}, {"json": {"exitCode": 0}}]}),
        ],
    ),
    "signed reasoning": (
        {"reasoningContent": {"reasoningText": {"signature": "EqoB", "text": "Hm."}}},
        [
            ("delta", {"reasoningContent": {"text": "Hm."}}),
            ("delta", {"reasoningContent": {"signature": "EqoB"}}),
        ],
    ),
    "unsigned reasoning": (
        {"reasoningContent": {"reasoningText": {"text": "[REDACTED]."}}},
        [("delta", {"reasoningContent": {"text": "[REDACTED]."}})],
    ),
    "redacted reasoning": (
        {"reasoningContent": {"redactedContent": "RXVRRkNr"}},
        [("delta", {"reasoningContent": {"redactedContent": "RXVRRkNr"}})],
    ),
    "empty reasoning": ({"reasoningContent": {}}, []),
    "citations, then their text": (
        {
            "citationsContent": {
                "citations": [CITATION, {}],
                "content": [{"text": "a"}, {"text": "b"}],
            }
        },
        [
            ("delta", {"citation": CITATION}),
            ("delta", {"citation": {}}),
            ("delta", {"text": "a"}),
            ("delta", {"text": "b"}),
        ],
    ),
    "citations without text": (
        {"citationsContent": {"citations": [{"location": {"web": {"url": "u", "domain": "d"}}}]}},
        [("delta", {"citation": {"location": {"web": {"url": "u", "domain": "d"}}}})],
    ),
    "image": (
        {"image": PNG},
        [
            ("start", {"image": {"format": "png"}}),
            ("delta", {"image": {"source": {"bytes": "iVBORw0="}}}),
        ],
    ),
    "blocked image": (
        {"image": {**PNG, "error": {"message": "blocked"}}},
        [
            ("start", {"image": {"format": "png"}}),
            ("delta", {"image": {"source": PNG["source"], "error": {"message": "blocked"}}}),
        ],
    ),
    "audio (own form)": (
        {"audio": WAV},
        [
            ("start", {"audio": {"format": "wav"}}),
            ("delta", {"audio": {"source": {"bytes": "UklGRg=="}}}),
        ],
    ),
    "unknown kind (own form)": (
        {"document": {"name": "report"}},
        [("delta", {"document": {"name": "report"}})],
    ),
    "nulls are absent": (
        {"text": "x", "toolUse": None, "image": None},
        [("delta", {"text": "x"})],
    ),
    "nothing": ({}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_each_kind_of_block(name: str, shapes: Any) -> None:
    block, expected = BLOCKS[name]
    assert parts(block) == [*expected, ("stop", 0)]
    valid(replay(answer(block)), shapes)


def test_blocks_keep_their_order_and_never_interleave(shapes: Any) -> None:
    content = [block for block, _ in BLOCKS.values()]
    events = replay(answer(*content))
    valid(events, shapes)
    assert parts(*content) == [
        part
        for index, (_, expected) in enumerate(BLOCKS.values())
        for part in (*expected, ("stop", index))
    ]


def test_every_member_of_the_answer_is_carried(shapes: Any) -> None:
    whole = answer(
        {"text": "x"},
        stopReason="max_tokens",
        additionalModelResponseFields={"stop_sequence": "END"},
        trace={"promptRouter": {"invokedModelId": "m"}},
        performanceConfig={"latency": "optimized"},
        serviceTier={"type": "flex"},
    )
    events = replay(whole)
    valid(events, shapes)
    assert events[0] == ("messageStart", {"role": "assistant"})
    assert events[-2][1] == {
        "stopReason": "max_tokens",
        "additionalModelResponseFields": {"stop_sequence": "END"},
    }
    carried = {k: v for k, v in whole.items() if k in events[-1][1]}
    assert events[-1][1] == carried
    left = set(whole) - set(carried) - set(events[-2][1])
    assert left == {"output"}


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"message": None},
        {"message": {}},
        {"message": {"role": "assistant", "content": None}},
        {"message": {"role": "assistant", "content": []}},
    ],
)
def test_an_empty_answer_is_an_answer(output: dict[str, Any], shapes: Any) -> None:
    events = replay({"output": output, "stopReason": "end_turn"})
    assert [kind for kind, _ in events] == ["messageStart", "messageStop"]
    valid(events, shapes)


def test_the_role_is_the_answers_own() -> None:
    body = {"output": {"message": {"role": "system"}}, "stopReason": "end_turn"}
    assert replay(body)[0] == ("messageStart", {"role": "system"})


TEXT = {"text": "x"}
NO_ANSWERS = {
    "null": None,
    "list": [],
    "text": "hello",
    "empty": {},
    "another service's": {"choices": []},
    "an error": {"message": "Internal error"},
    "InvokeModel's": {"id": "msg_1", "content": [], "stop_reason": "end_turn"},
    "no stopReason": {"output": {"message": {"role": "assistant", "content": [TEXT]}}},
    "no output": {"stopReason": "end_turn", "usage": {}},
    "null output": {"output": None, "stopReason": "end_turn"},
    "output is text": {"output": "x", "stopReason": "end_turn"},
    "message is text": {"output": {"message": "x"}, "stopReason": "end_turn"},
    "message is an empty list": {"output": {"message": []}, "stopReason": "end_turn"},
    "stopReason is null": answer(TEXT, stopReason=None),
    "stopReason is a number": answer(TEXT, stopReason=1),
    "content is text": {"output": {"message": {"content": "x"}}, "stopReason": "end_turn"},
    "block is text": {"output": {"message": {"content": ["x"]}}, "stopReason": "end_turn"},
    "text is a number": answer({"text": 1}),
    "tool is text": answer({"toolUse": "f"}),
    "result is text": answer({"toolResult": "x"}),
    "result's content is text": answer({"toolResult": {"content": "x"}}),
    "reasoning is text": answer({"reasoningContent": "x"}),
    "reasoning text is an object": answer({"reasoningContent": {"reasoningText": {"text": {}}}}),
    "citations are text": answer({"citationsContent": {"citations": "x"}}),
    "citation is text": answer({"citationsContent": {"citations": ["x"]}}),
    "cited content is text": answer({"citationsContent": {"content": "x"}}),
    "image is text": answer({"image": "x"}),
    "audio is a list": answer({"audio": []}),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_converse_answer(name: str) -> None:
    with pytest.raises(ProxyError) as raised:
        replay(NO_ANSWERS[name])
    assert (raised.value.status, raised.value.code) == (502, "upstream_protocol_error")
    assert raised.value.message.startswith("Bedrock answered with a")


# ---- recorded ---------------------------------------------------------------------------------


def recorded_answers() -> Iterator[tuple[Path, bool, dict[str, Any]]]:
    """Each answer, and whether it is real (some were edited by hand, to test other parsers)."""
    for path in sorted(CAPTURES.glob("*/*.json")):
        exchange = json.loads(path.read_text())
        if exchange["operation"] == "Converse" and exchange["response"]["status"] == 200:
            yield path, exchange["recorded"] == "real", exchange["response"]["body"]


def folded(events: list[Event]) -> dict[str, Any]:
    """The answer again, from its events: what was lost on the way is missing here."""
    blocks: dict[int, dict[str, Any]] = {}
    for kind, body in events:
        if not kind.startswith("contentBlock"):
            continue
        block = blocks.setdefault(body["contentBlockIndex"], {})
        for part in (body.get("start", {}), body.get("delta", {})):
            for member, value in part.items():
                block.setdefault(member, []).append(value)
    start, stop, meta = events[0][1], events[-2][1], events[-1][1]
    return {"role": start["role"], "blocks": [rebuilt(b) for b in blocks.values()], **stop, **meta}


def rebuilt(block: dict[str, list[Any]]) -> dict[str, Any]:
    if "citation" in block:
        cited: dict[str, Any] = {"citations": block["citation"]}
        if "text" in block:
            cited["content"] = [{"text": text} for text in block["text"]]
        return {"citationsContent": cited}
    if "toolUse" in block:
        start, delta = block["toolUse"]
        return {"toolUse": {**start, "input": json.loads(delta["input"])}}
    if "toolResult" in block:
        start, content = block["toolResult"]
        return {"toolResult": {**start, "content": content}}
    if "reasoningContent" in block:
        merged = {k: v for delta in block["reasoningContent"] for k, v in delta.items()}
        visible = {k: merged.pop(k) for k in ("text", "signature") if k in merged}
        return {"reasoningContent": {**merged, **({"reasoningText": visible} if visible else {})}}
    return {"text": "".join(block["text"])} if "text" in block else {"reasoningContent": {}}


def test_recorded_answers_lose_nothing(shapes: Any) -> None:
    answers = list(recorded_answers())
    if not answers:
        pytest.skip("the recorded captures are not beside this checkout")
    for path, real, body in answers:
        events = replay(body)
        if "usage" not in body:
            assert events[-1][0] == "messageStop", path
            continue
        if real:  # recorded guardrail traces lack members that the model requires
            valid(replay({**body, "trace": None}), shapes)
        message = body["output"]["message"]
        expected = {k: v for k, v in body.items() if k != "output" and v is not None}
        expected |= {"role": message["role"], "blocks": message["content"]}
        assert folded(events) == expected, path
    assert len(answers) > 150
