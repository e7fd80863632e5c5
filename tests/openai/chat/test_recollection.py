"""What a tool turn leaves to be remembered, and what of it is put back into which history."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.catalog.repairs import with_changes
from proxy.converse.types import Event
from proxy.dialect import Options, Stamp
from proxy.openai.chat.from_converse import ChatCollector, ChatEncoder
from proxy.openai.chat.reasoning import pack
from proxy.openai.chat.recollection import Called, keepsake, lacking, restored
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.request_shape import ChatRequest
from proxy.openai.chat.to_converse import translate

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
BLOCKS = [{"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}]
ID = "tooluse_Ab-3_xYz-0123456789abcd"
MANGLED = "tooluseAb3xYz0123456789abcd"
ARGUMENTS = '{"city": "Oslo", "days": 2}'


def model(id: str, **changes: Any) -> Model:
    traits = with_changes(traits_for(id), changes)
    return Model(name=id, id=id, foundation=id, label=id, traits=traits)


CLAUDE = model(SONNET)


def call(id: str = ID, name: str = "weather", arguments: Any = ARGUMENTS) -> Any:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def history(*calls: Any, effort: str | None = "low", **fields: Any) -> ChatRequest:
    """A request whose one assistant turn made ``calls``."""
    body: dict[str, Any] = {
        "model": SONNET,
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": list(calls), **fields},
            *({"role": "tool", "tool_call_id": one["id"], "content": "4"} for one in calls),
        ],
    }
    if effort is not None:
        body["reasoning_effort"] = effort
    return parse_request(orjson.dumps(body), {})


KEPT = keepsake([Called(ID, "weather", ARGUMENTS)], pack(BLOCKS, "claude"))
FOUND = {KEPT.key: KEPT.value}


def replayed(request: ChatRequest, found: Any = None, of: Model = CLAUDE) -> list[Any]:
    """The reasoning blocks that would be sent."""
    request = restored(request, of, FOUND if found is None else found)
    body = translate(request, of, Options()).body
    return [b for m in body["messages"] for b in m["content"] if "reasoningContent" in b]


def test_it_comes_back_in_front_of_its_call() -> None:
    request = history(call())
    assert lacking(request, CLAUDE) == (KEPT.key,)
    whole = restored(request, CLAUDE, FOUND)
    assert lacking(whole, CLAUDE) == ()
    body = translate(whole, CLAUDE, Options()).body
    kinds = [next(iter(block)) for block in body["messages"][1]["content"]]
    assert kinds == ["reasoningContent", "toolUse"]
    assert body["messages"][1]["content"][0] == BLOCKS[0]
    assert "thinking" in body["additionalModelRequestFields"]


@pytest.mark.parametrize(
    "returned",
    [
        call(MANGLED),
        call(ID[:40]),
        call(arguments='{"days":2,"city":"Oslo"}'),
        call(arguments='{"days":2.0,\n"city":"\\u004fslo"}'),
        call(arguments={"city": "Oslo", "days": 2}),
    ],
    ids=["ids without signs", "cut ids", "sorted", "spelled anew", "an object"],
)
def test_mangled_ids_and_respelled_arguments_are_the_same_call(returned: Any) -> None:
    request = history(returned)
    assert lacking(request, CLAUDE) == (KEPT.key,)
    assert replayed(request) == BLOCKS


@pytest.mark.parametrize(
    "returned",
    [
        call(name="climate"),
        call(arguments='{"city": "Bergen", "days": 2}'),
        call(arguments='{"city": "Oslo", "days": 2'),
        call(arguments=""),
        call("another"),
    ],
    ids=["name", "arguments", "broken", "empty", "id"],
)
def test_other_calls_get_no_reasoning_of_this_one(returned: Any) -> None:
    assert replayed(history(returned)) == []


def test_parallel_calls_belong_together_in_any_order() -> None:
    one, two = call("tooluse_1", "a", "{}"), call("tooluse_2", "b", "")
    kept = keepsake(
        [Called("tooluse_1", "a", ""), Called("tooluse_2", "b", "{}")], pack(BLOCKS, "claude")
    )
    found = {kept.key: kept.value}
    assert replayed(history(one, two), found) == BLOCKS
    assert replayed(history(two, one), found) == BLOCKS
    assert replayed(history(one), found) == []


def test_a_client_that_keeps_reasoning_is_not_looked_up() -> None:
    entry = {"type": "reasoning.encrypted", "id": ID, "data": pack(BLOCKS, "claude")}
    assert lacking(history(call(), reasoning_details=[entry]), CLAUDE) == ()
    # Unsigned text alone is no reasoning that could be sent.
    assert lacking(history(call(), reasoning_content="Hm."), CLAUDE) == (KEPT.key,)


@pytest.mark.parametrize("behind", [False, True], ids=["text first", "text behind"])
def test_reasoning_beside_the_text_of_a_turn_is_that_of_its_calls(behind: bool) -> None:
    """A turn may come as two messages, which become one (Codex)."""
    entry = {"type": "reasoning.encrypted", "id": ID, "data": pack(BLOCKS, "claude")}
    calls = {"role": "assistant", "content": None, "tool_calls": [call()]}
    text = {"role": "assistant", "content": "So.", "reasoning_details": [entry]}
    answer = {"role": "tool", "tool_call_id": ID, "content": "4"}
    asked = {"role": "user", "content": "Hi"}
    turn = [calls, text] if behind else [text, calls]
    body = {"model": SONNET, "reasoning_effort": "low", "messages": [asked, *turn, answer]}
    request = parse_request(orjson.dumps(body), {})
    assert lacking(request, CLAUDE) == ()
    assert replayed(request, {}) == BLOCKS
    # The text of another turn is none of these calls', nor text behind calls without results.
    for others in ([asked, text, asked, calls, answer], [asked, calls, text, asked]):
        body["messages"] = others
        assert lacking(parse_request(orjson.dumps(body), {}), CLAUDE) == (KEPT.key,)


@pytest.mark.parametrize(
    ("id", "effort", "looked_up"),
    [
        (SONNET, "low", True),
        (SONNET, None, False),
        (SONNET, "none", False),
        ("anthropic.claude-opus-5-5", None, True),
        ("openai.gpt-6-sol", None, True),
        ("amazon.nova-2-lite-v1:0", "low", False),
        ("meta.llama3-3-70b-instruct-v1:0", "low", False),
        ("openai.gpt-oss-120b-1:0", "high", False),
        ("deepseek.r1-v1:0", None, False),
    ],
)
def test_only_models_that_want_it_back_are_looked_up(
    id: str, effort: str | None, looked_up: bool
) -> None:
    assert bool(lacking(history(call(), effort=effort), model(id))) is looked_up
    assert lacking(history(call(), effort=effort), model(id, replays=False)) == ()


def test_reasoning_of_another_family_stays_out() -> None:
    foreign = keepsake([Called(ID, "weather", ARGUMENTS)], pack(BLOCKS, "gpt"))
    assert replayed(history(call()), {foreign.key: foreign.value}) == []
    assert replayed(history(call()), {KEPT.key: b"\xff" + KEPT.value[1:]}) == []
    assert replayed(history(call()), {KEPT.key: KEPT.value[:16] + b"\xff\xfe"}) == []
    assert replayed(history(call()), {}) == []


def test_custom_tools_are_remembered_by_their_text() -> None:
    kept = keepsake([Called(ID, "patch", '{"input": "*** Begin"}')], pack(BLOCKS, "claude"))
    custom = {"id": ID, "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert replayed(history(custom), {kept.key: kept.value}) == BLOCKS


# ---- what an answer leaves ----------------------------------------------------------------------


def event(kind: str, **body: Any) -> Event:
    return (kind, body)


def answer(*, signed: bool = True, called: bool = True) -> list[Event]:
    thought: dict[str, Any] = {"text": "Hm."}
    events = [
        event("messageStart", role="assistant"),
        event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": thought}),
    ]
    if signed:
        delta = {"reasoningContent": {"signature": "c2ln"}}
        events.append(event("contentBlockDelta", contentBlockIndex=0, delta=delta))
    events.append(event("contentBlockStop", contentBlockIndex=0))
    if called:
        use = {"toolUseId": ID, "name": "weather"}
        events.append(event("contentBlockStart", contentBlockIndex=1, start={"toolUse": use}))
        for part in ("", ARGUMENTS[:9], ARGUMENTS[9:]):
            delta = {"toolUse": {"input": part}}
            events.append(event("contentBlockDelta", contentBlockIndex=1, delta=delta))
        events.append(event("contentBlockStop", contentBlockIndex=1))
    return [*events, event("messageStop", stopReason="tool_use" if called else "end_turn")]


def translated(**fields: Any) -> Any:
    body = {"model": SONNET, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return translate(parse_request(orjson.dumps(body), {}), CLAUDE, Options())


def test_an_answer_leaves_its_keepsake_by_its_end() -> None:
    stamp = Stamp("x", 0, SONNET)
    encoder = ChatEncoder(translated(stream=True), stamp, 0)
    *before, stop = answer()
    encoder.encode(before)
    assert encoder.keepsake is None
    encoder.encode([stop])
    assert encoder.keepsake == KEPT
    collector = ChatCollector(translated(), stamp, 0)
    collector.add(answer())
    assert collector.keepsake == KEPT


def test_what_cannot_be_sent_again_leaves_nothing() -> None:
    stamp = Stamp("x", 0, SONNET)
    for events in (answer(signed=False), answer(called=False)):
        collector = ChatCollector(translated(), stamp, 0)
        collector.add(events)
        assert collector.keepsake is None
    legacy = ChatCollector(translated(functions=[{"name": "weather"}]), stamp, 0)
    legacy.add(answer())
    assert legacy.keepsake is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(id=st.text(), name=st.text(), arguments=st.text() | JSON.map(repr))
def test_any_call_can_be_kept(id: str, name: str, arguments: str) -> None:
    one = keepsake([Called(id, name, arguments)], "data")
    assert one == keepsake([Called(id, name, arguments)], "data")


def test_arguments_nested_too_deeply_are_compared_as_text() -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900
    assert keepsake([Called("a", "b", deep)], "x") == keepsake([Called("a", "b", deep)], "x")
