"""Any legal sequence of events becomes a stream that the official SDK folds into the very answer
that the collector gives, however the events are cut into reads and whatever the plan asks for."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.converse.types import Event
from proxy.errors import ProxyError
from proxy.openai.chat.from_converse import ChatEncoder, end
from tests.openai.chat.captured import STAMP, Case, Sdk, make_plan, plain, streamed, whole

texts = st.lists(
    st.one_of(
        st.sampled_from(
            ["", "a", "END", "EN", "D", "<think>", "</think>", "<", "\n", " ", "\u2028"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    ),
    max_size=5,
)
fragments = st.lists(st.sampled_from(["", "{", '"a":', "1", "}", " "]), max_size=4)
names = st.sampled_from(["f", "g", "hidden", "answer"])


def delta(index: int, **member: Any) -> Event:
    return ("contentBlockDelta", {"contentBlockIndex": index, "delta": member})


def start(index: int, **member: Any) -> Event:
    return ("contentBlockStart", {"contentBlockIndex": index, "start": member})


@st.composite
def text_block(draw: st.DrawFn, index: int) -> list[Event]:
    cited = [delta(index, citation={"title": "T", "location": {"web": {"url": "https://x.test/"}}})]
    before = cited if draw(st.booleans()) else []
    return before + [delta(index, text=text) for text in draw(texts)]


@st.composite
def reasoning_block(draw: st.DrawFn, index: int) -> list[Event]:
    parts = [delta(index, reasoningContent={"text": text}) for text in draw(texts)]
    if draw(st.booleans()):
        parts.append(delta(index, reasoningContent={"signature": "c2ln"}))
    if draw(st.booleans()):
        parts.append(delta(index, reasoningContent={"redactedContent": "QUE="}))
    return parts


@st.composite
def call_block(draw: st.DrawFn, index: int) -> list[Event]:
    kind = draw(st.sampled_from([{}, {"type": "tool_use"}, {"type": "server_tool_use"}]))
    use = {"name": draw(names), "toolUseId": f"tooluse_{index}", **kind}
    inputs = [delta(index, toolUse={"input": fragment}) for fragment in draw(fragments)]
    return [start(index, toolUse=use), *inputs]


def result_block(index: int) -> st.SearchStrategy[list[Event]]:
    result = {"toolUseId": "t", "type": "nova_grounding_result", "status": "success"}
    return st.just(
        [start(index, toolResult=result), delta(index, toolResult=[{"text": "[HIDDEN]"}])]
    )


def image_block(index: int) -> st.SearchStrategy[list[Event]]:
    source = {"source": {"bytes": "QQ=="}}
    return st.just([start(index, image={"format": "png"}), delta(index, image=source)])


@st.composite
def messages(draw: st.DrawFn) -> list[Event]:
    kinds = (text_block, text_block, reasoning_block, call_block, result_block, image_block)
    events = [("messageStart", {"role": "assistant"})]
    for index in range(draw(st.integers(0, 6))):
        events += draw(draw(st.sampled_from(kinds))(index))
        events.append(("contentBlockStop", {"contentBlockIndex": index}))
    reasons = ("end_turn", "tool_use", "max_tokens", "stop_sequence", "content_filtered", "new")
    events.append(("messageStop", {"stopReason": draw(st.sampled_from(reasons))}))
    if draw(st.booleans()):
        usage = {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 2, "totalTokens": 9}
        events.append(("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}))
    return events


plans = st.fixed_dictionaries(
    {},
    optional={
        "include_usage": st.booleans(),
        "usage_on_finish": st.booleans(),
        "legacy_functions": st.booleans(),
        "offered": st.just(["f", "g"]),
        "one_call": st.booleans(),
        "json_tool": st.just("answer"),
        "stop": st.just(["END", "\n\n"]),
        "inline_tags": st.just(["think"]),
        "show_trace": st.booleans(),
        "hide_reasoning": st.booleans(),
        "tool_names": st.just({"g": "gé.tool"}),
    },
)


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    reader = Sdk()
    yield reader
    reader.client.close()


@settings(max_examples=250)
@given(events=messages(), members=plans, data=st.data())
def test_a_fold_is_the_whole_answer(
    sdk: Sdk, events: list[Event], members: dict[str, Any], data: st.DataObject
) -> None:
    case = Case("drawn", "", make_plan(members), {}, ())
    stream = streamed(case, [events], None)
    body = whole(case, [events], None)

    borders = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4)))
    cuts = [0, *borders, len(events)]
    batches = [events[a:b] for a, b in pairwise(cuts)]
    assert streamed(case, batches, None) == stream

    answer = orjson.loads(body)
    if "error" in answer:
        # The only way in which a legal message is no answer; and no byte of it has gone out.
        assert answer["error"]["code"] == "only_withheld_calls"
        assert stream == b"data: " + body + b"\n\n"
        return
    folded = sdk.fold(stream)
    assert plain(folded) == plain(sdk.parse(body))
    if case.plan.include_usage:
        assert folded["usage"] == answer["usage"]


@settings(max_examples=60)
@given(events=messages(), members=plans, at=st.integers(0, 40))
def test_heartbeats_change_nothing_but_the_moment(
    sdk: Sdk, events: list[Event], members: dict[str, Any], at: int
) -> None:
    """A heartbeat anywhere leaves the fold as it is, for an answer that is one."""
    case = Case("drawn", "", make_plan(members), {}, ())
    body = whole(case, [events], None)
    encoder = ChatEncoder(case.translation, STAMP, 0)
    at = min(at, len(events))
    if b'"only_withheld_calls"' in body:
        with pytest.raises(ProxyError, match="does not offer"):
            beaten(encoder, events, at)
        return
    stream = beaten(encoder, events, at) + end(case.translation, STAMP, [encoder.usage])
    assert plain(sdk.fold(stream)) == plain(sdk.parse(body))


def beaten(encoder: ChatEncoder, events: list[Event], at: int) -> bytes:
    """The choice's stream, with a heartbeat after ``at`` events and one at the end."""
    head = encoder.encode(events[:at]) + encoder.heartbeat()
    return head + encoder.encode(events[at:]) + encoder.heartbeat() + encoder.finish_stream()
