"""Reasoning stands where it stood, whichever way a turn comes back."""

from itertools import groupby
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.converse.types import Event
from proxy.dialect import Options, Stamp, Translation
from proxy.openai.chat.from_converse import ChatCollector
from proxy.openai.chat.plan import Plan
from proxy.openai.chat.replay_order import Place, Replay
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
Turn = list[dict[str, Any]]


def thought(mark: str) -> dict[str, Any]:
    return {"reasoningContent": {"reasoningText": {"text": mark, "signature": "c2ln"}}}


def called(id: str) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": id, "name": "f", "input": {}}}


def said(text: str) -> dict[str, Any]:
    return {"text": text}


R1, R2, R3 = thought("1"), thought("2"), thought("3")
T1, T2 = called("t1"), called("t2")


@pytest.mark.parametrize(
    ("places", "blocks", "turn"),
    [
        ([(0, 0)], [said("ab")], [R1, said("ab")]),
        ([(0, 0), (2, 0)], [said("ab"), T1], [R1, said("ab"), R2, T1]),
        ([(0, 0), (1, 0)], [said("ab"), T1], [R1, said("a"), R2, said("b"), T1]),
        ([(1, 0), (1, 0)], [said("ab"), T1], [said("a"), R1, R2, said("b"), T1]),
        ([(0, 0), (2, 1)], [said("ab"), T1, T2], [R1, said("ab"), T1, R2, T2]),
        ([(0, 1), (0, 1)], [T1, T2], [T1, R1, R2, T2]),
        # Text that came behind a call comes before it in a message: its thoughts keep their order.
        ([(1, 0), (1, 1)], [said("ab"), T1, T2], [said("a"), R1, said("b"), T1, R2, T2]),
        # Not last, and no blank text.
        ([(0, 0), (2, 0)], [said("ab")], [R1, R2, said("ab")]),
        ([(0, 1), (0, 2)], [T1, T2], [T1, R1, R2, T2]),
        ([(1, 0)], [said(" b"), T1], [R1, said(" b"), T1]),
        ([(1, 0)], [said("a "), T1], [R1, said("a "), T1]),
        # A pack that is nonsense moves things, and loses none.
        ([(2, 5), (0, 0)], [said("ab"), T1], [said("ab"), R1, R2, T1]),
        ([(-7, -7), (1, 0)], [said("ab"), T1], [R1, said("a"), R2, said("b"), T1]),
    ],
)  # fmt: skip
def test_thoughts_go_where_they_were(
    places: list[tuple[int, int]], blocks: Turn, turn: Turn
) -> None:
    length = sum(len(block.get("text", "")) for block in blocks)
    told = Replay([R1, R2, R3][: len(places)], [Place(*place) for place in places], length)
    assert told.among(blocks) == turn
    assert Replay(told.blocks, told.places, length + 1).among(blocks) == [*told.blocks, *blocks]


segments = st.lists(
    st.sampled_from("rtc").flatmap(
        lambda kind: st.tuples(
            st.just(kind), st.text(st.sampled_from("ab \n"), min_size=1, max_size=3)
        )
    ),
    min_size=1,
    max_size=8,
)


def events(turn: list[tuple[str, str]]) -> list[Event]:
    """What Bedrock would send of it."""
    told = [("messageStart", {"role": "assistant"})]
    for index, (kind, text) in enumerate(turn):
        place = {"contentBlockIndex": index}
        if kind == "c":
            use = {"name": "f", "toolUseId": f"t{index}"}
            told.append(("contentBlockStart", {**place, "start": {"toolUse": use}}))
        deltas: list[dict[str, Any]] = [{"text": text}] if kind == "t" else []
        if kind == "r":
            signed = ({"text": text}, {"signature": f"{index:04}"})
            deltas = [{"reasoningContent": part} for part in signed]
        told += [("contentBlockDelta", {**place, "delta": delta}) for delta in deltas]
        told.append(("contentBlockStop", place))
    called = any(kind == "c" for kind, _ in turn)
    told.append(("messageStop", {"stopReason": "tool_use" if called else "end_turn"}))
    return told


def returned(turn: list[tuple[str, str]]) -> Turn:
    """The turn as the next request has it, of a client that keeps all it was given."""
    collector = ChatCollector(
        Translation(body={}, operation="converse-stream", plan=Plan(family="claude")),
        Stamp("0", 0, "m"),
        0,
    )
    collector.add(events(turn))
    message = collector.choice()["message"]
    messages: list[Any] = [{"role": "user", "content": "Hi"}, message]
    for call in message.get("tool_calls", []):
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": "ok"})
    messages.append({"role": "user", "content": "Go on"})
    body = {"model": "m", "messages": messages, "tools": [TOOL]}
    model = Model("m", SONNET, SONNET, "m", traits_for(SONNET))
    found: Any = translate(parse_request(orjson.dumps(body), {}), model, Options()).body["messages"]
    return next((one["content"] for one in found if one["role"] == "assistant"), [])


def kinds(turn: Turn) -> str:
    letters = {"reasoningContent": "r", "text": "t", "toolUse": "c"}
    return "".join(letters[next(iter(block))] for block in turn)


@given(segments)
def test_a_turn_comes_back_as_it_was(turn: list[tuple[str, str]]) -> None:
    back = returned(turn)
    if not back:
        assert not "".join(text for kind, text in turn if kind == "t").strip()
        return
    inner = [block["reasoningContent"] for block in back if "reasoningContent" in block]
    assert [one["reasoningText"]["text"] for one in inner] == [t for kind, t in turn if kind == "r"]
    text = "".join(text for kind, text in turn if kind == "t")
    assert "".join(block.get("text", "") for block in back) in (text, "")
    assert all(block["text"].strip() for block in back if "text" in block)
    whole = "".join(kind for kind, _ in turn)
    in_order = "ct" not in whole.replace("r", "") and not whole.endswith("r")
    if in_order and all(text.strip() for kind, text in turn if kind == "t"):
        told = ("t" if kind == "t" else kind * len([*group]) for kind, group in groupby(whole))
        assert kinds(back) == "".join(told)
