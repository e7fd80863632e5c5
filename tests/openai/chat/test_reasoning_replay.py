"""Reasoning sent back by clients: byte-exact to its own family, absent everywhere else."""

import base64
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.families import foundation_of, traits_for
from proxy.catalog.model import Traits
from proxy.openai.chat.reasoning_replay import pack, replay, unpack
from proxy.openai.chat.replay_order import Place, Replay

CLAUDE = traits_for("anthropic.claude-sonnet-4-6")
GPT = traits_for("openai.gpt-6-sol")
NOVA_2 = traits_for("amazon.nova-2-lite-v1:0")
R1 = traits_for("deepseek.r1-v1:0")
CAPTURES = Path(__file__).parents[3].parent / "shared" / "captures"


def signed(text: str = "thought", signature: str = "c2ln") -> dict[str, Any]:
    return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}


def redacted(data: str = "UmVk") -> dict[str, Any]:
    return {"reasoningContent": {"redactedContent": data}}


UNSIGNED = {"reasoningContent": {"reasoningText": {"text": "plain"}}}


def entry(blocks: list[dict[str, Any]], family: str = "claude") -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "id": "tooluse_1", "data": pack(blocks, family)}


def replayed(message: dict[str, Any], traits: Traits = CLAUDE) -> list[dict[str, Any]]:
    return [*replay({"role": "assistant", **message}, traits).blocks]


# The pack

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
blocks_ = st.lists(
    st.builds(signed, texts, texts.filter(bool))
    | st.binary(min_size=1, max_size=20).map(lambda raw: redacted(base64.b64encode(raw).decode()))
    | st.just(UNSIGNED),
    max_size=5,
)


@given(blocks_, st.sampled_from(["claude", "gpt", ""]))
def test_what_is_packed_is_unpacked(blocks: list[dict[str, Any]], family: str) -> None:
    data = pack(blocks, family)
    assert data.isascii()
    assert data.replace("-", "").replace("_", "").isalnum()
    assert unpack(data) == (family, Replay(blocks))
    assert pack(blocks, family) == data


@given(blocks_.filter(bool), st.data())
def test_places_are_packed_too(blocks: list[dict[str, Any]], data: st.DataObject) -> None:
    numbers = st.integers(0, 9)
    places = [Place(data.draw(numbers), data.draw(numbers)) for _ in blocks]
    opened = unpack(pack(blocks, "claude", places, 9))
    told = Replay(blocks, places, 9) if any(map(any, places)) else Replay(blocks)
    assert opened == ("claude", told)


@given(blocks_, st.data())
def test_an_altered_pack_is_no_pack(blocks: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = pack(blocks, "claude")
    at = data.draw(st.integers(0, len(whole) - 2))  # the last character may hold unused bits
    other = data.draw(st.sampled_from("ABCabc012-_").filter(lambda c: c != whole[at]))
    assert unpack(whole[:at] + other + whole[at + 1 :]) is None
    assert unpack(whole[:at]) is None
    assert unpack(whole + whole) is None


@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode())
)
def test_foreign_data_is_no_pack(data: str) -> None:
    assert unpack(data) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b"{}",
        b'{"f":1,"b":[]}',
        b'{"f":"claude","b":{}}',
        b'{"f":"claude","b":[1]}',
        b'{"f":"claude","b":[{"text":"x"}]}',
        b'{"f":"claude","b":[{"reasoningContent":{"redactedContent":"not base64"}}]}',
        b'{"f":"claude","b":[{"reasoningContent":{"redactedContent":""}}]}',
        b'{"f":"claude","b":[{"reasoningContent":{"reasoningText":{"text":1}}}]}',
        b'{"f":"claude","b":[{"reasoningContent":{"reasoningText":{"signature":"c2ln"}}}]}',
        b'{"f":"claude","b":[{"reasoningContent":{"reasoningText":{"text":"a","x":"b"}}}]}',
        b'{"f":"claude","b":[{"reasoningContent":{},"text":"x"}]}',
        b'{"f":"claude","b":[{"reasoningContent":{"redactedContent":"QQ=="}}],"p":[1],"n":1}',
        b'{"f":"claude","b":[{"reasoningContent":{"redactedContent":"QQ=="}}],"p":[["",1]],"n":1}',
        b"nonsense",
    ],
)
def test_a_forged_pack_opens_to_nothing_illegal(payload: bytes) -> None:
    """The digest is no secret: whoever forges a pack still gets no illegal block through."""
    from hashlib import blake2b

    digest = blake2b(payload, digest_size=8).digest()
    data = base64.urlsafe_b64encode(b"bop1" + digest + payload).decode().rstrip("=")
    assert unpack(data) is None


def test_the_format_holds_across_releases() -> None:
    """Clients keep packs in their histories."""
    data = "Ym9wMbp89p6XotDoeyJmIjoiY2xhdWRlIiwiYiI6W119"
    assert pack([], "claude") == data
    assert unpack(data) == ("claude", Replay([]))


# Replay


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": None, "reasoning_content": "thought", "reasoning": "thought"},
        {"reasoning_details": None, "thinking_blocks": "x", "content": "text"},
        {"reasoning_details": [None, 1, "x", {}, {"type": "reasoning.text", "text": "unsigned"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": ""}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAAAA-foreign"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": 5}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s",
                                "format": "openai-responses-v1"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "a"}, {"type": "other"}]},
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "not base64"}]},
        {"content": [{"type": "text", "text": "x"}, "bare"]},
    ],
)  # fmt: skip
def test_unsigned_or_foreign_reasoning_is_absent(message: dict[str, Any]) -> None:
    assert replayed(message) == []


def test_our_own_entry_comes_back_whole_and_in_order() -> None:
    blocks = [signed("one"), redacted(), signed("", "c2lnMg=="), signed("two\n\u2028", "c2ln")]
    assert replayed({"reasoning_details": [entry(blocks)]}) == blocks
    two = {"reasoning_details": [entry(blocks[:2]), entry(blocks[2:])]}
    assert replayed(two) == blocks


def test_our_own_entry_wins_over_what_repeats_it() -> None:
    message = {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "joined", "signature": "first"},
            entry([signed("one"), signed("two")]),
        ],
        "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "y"}],
    }
    assert replayed(message) == [signed("one"), signed("two")]


def test_reasoning_goes_to_its_own_family_only() -> None:
    message = {"reasoning_details": [entry([signed(), redacted()])]}
    assert replayed(message, traits_for("anthropic.claude-opus-5")) == [signed(), redacted()]
    for other in (GPT, NOVA_2, R1, Traits()):
        assert replayed(message, other) == []
    assert replayed({"reasoning_details": [entry([redacted()], "gpt")]}, GPT) == [redacted()]
    assert replayed({"reasoning_details": [entry([redacted()], "gpt")]}) == []
    assert replayed({"reasoning_details": [entry([UNSIGNED], "deepseek")]}, R1) == []
    assert replayed({"reasoning_details": [entry([UNSIGNED, signed()])]}) == [signed()]


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_details": [
            {"type": "reasoning.text", "text": "thought", "signature": "c2ln", "index": 0,
             "format": "anthropic-claude-v1"},
        ]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "thought", "signature": "c2ln"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "thought", "signature": "c2ln"}]},
        {"content": [
            {"type": "thinking", "thinking": "thought", "signature": "c2ln"},
            {"type": "text", "text": "x"},
        ]},
    ],
)  # fmt: skip
def test_signed_reasoning_in_others_forms(message: dict[str, Any]) -> None:
    assert replayed(message) == [signed()]
    assert replayed(message, NOVA_2) == []


def test_redacted_thinking_in_others_forms() -> None:
    hidden = {"type": "redacted_thinking", "data": "UmVk"}
    spoken = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert replayed({"thinking_blocks": [hidden, spoken]}) == [redacted(), signed("")]
    assert replayed({"content": [spoken, hidden]}) == [signed(""), redacted()]


@pytest.mark.skipif(not CAPTURES.exists(), reason="the recordings do not lie beside the project")
def test_recorded_blocks_survive_the_round() -> None:
    seen = 0
    for path in sorted(CAPTURES.glob("*/*.json")):
        case = json.loads(path.read_text())
        body = case["response"].get("body")
        if not case["operation"].startswith("Converse") or not isinstance(body, dict):
            continue
        content = body.get("output", {}).get("message", {}).get("content", [])
        blocks = [block for block in content if block.get("reasoningContent")]
        family = traits_for(foundation_of(case["model"])).family
        if not blocks or family != "claude":
            continue
        seen += 1
        text = orjson.dumps({"reasoning_details": [entry(blocks)]})
        assert replayed(orjson.loads(text)) == blocks
    assert seen > 5
