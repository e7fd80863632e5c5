"""Cache points: read from four kinds of marks, placed where there are none, legal in any case."""

import copy
from typing import Any, cast

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.families import traits_for
from proxy.catalog.model import Traits
from proxy.converse.types import ConverseRequest
from proxy.errors import ProxyError
from proxy.openai.chat.caching import cache_mark, legalise
from proxy.openai.chat.notes import Notes

SONNET_45 = traits_for("anthropic.claude-sonnet-4-5-20250929-v1:0")
SONNET_4 = traits_for("anthropic.claude-sonnet-4-20250514-v1:0")
NOVA = traits_for("amazon.nova-lite-v1:0")
LLAMA = traits_for("meta.llama3-3-70b-instruct-v1:0")

POINT = {"cachePoint": {"type": "default"}}
HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
SHORT = {"cachePoint": {"type": "default", "ttl": "5m"}}
LONG = {"text": "word " * 2_000}
TEXT = {"text": "x"}
DOC = {"document": {"name": "d", "format": "txt", "source": {"bytes": "eA=="}}}
VIDEO = {"video": {"format": "mp4", "source": {"bytes": "eA=="}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}
TOOL = {"toolSpec": {"name": "a", "inputSchema": {"json": {"type": "object"}}}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def legal(
    body: dict[str, Any],
    traits: Traits = SONNET_45,
    *,
    ttl: str | None = None,
    automatic: bool = False,
    anchors: tuple[int, ...] = (),
) -> tuple[dict[str, Any], tuple[str, ...]]:
    body = copy.deepcopy(body)
    notes = Notes()
    legalise(
        cast("ConverseRequest", body),
        traits,
        ttl=ttl,
        automatic=automatic,
        anchors=tuple((index, ends_at(body, index)) for index in anchors),
        notes=notes,
    )
    return body, notes.tokens()


def ends_at(body: dict[str, Any], index: int) -> int:
    messages = body["messages"]
    return len(messages[index]["content"]) if index < len(messages) else 1


def points(body: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(place, ttl) of every point, in the cache's order."""
    places = [("tools", body.get("toolConfig", {}).get("tools", []))]
    places.append(("system", body.get("system", [])))
    places += [("messages", message["content"]) for message in body["messages"]]
    return [
        (name, block["cachePoint"].get("ttl"))
        for name, blocks in places
        for block in blocks
        if "cachePoint" in block
    ]


# Marks


@pytest.mark.parametrize(
    ("obj", "block"),
    [
        ({}, None),
        ({"cache_control": None}, None),
        ({"cache_control": {"type": "ephemeral"}}, POINT),
        ({"cache_control": {}}, POINT),
        ({"cache_control": {"type": "ephemeral", "ttl": None}}, POINT),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, SHORT),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, HOUR),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, POINT),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, HOUR),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, HOUR),
        ({"cachePoint": {"type": "default", "ttl": "1h"}}, HOUR),
    ],
)
def test_marks(obj: dict[str, Any], block: Any) -> None:
    assert cache_mark(obj, "messages[0].content[1]") == block


@pytest.mark.parametrize(
    ("obj", "param"),
    [
        ({"cache_control": "ephemeral"}, "m.cache_control"),
        ({"cache_control": True}, "m.cache_control"),
        ({"cache_control": {"type": "persistent"}}, "m.cache_control.type"),
        ({"cache_control": {"type": []}}, "m.cache_control.type"),
        ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "m.cache_control.ttl"),
        ({"cache_control": {"type": "ephemeral", "ttl": 300}}, "m.cache_control.ttl"),
        ({"prompt_cache_breakpoint": {"mode": "x"}}, "m.prompt_cache_breakpoint.mode"),
        ({"cachePoint": {"type": "x"}}, "m.cachePoint.type"),
    ],
)
def test_malformed_marks(obj: dict[str, Any], param: str) -> None:
    with pytest.raises(ProxyError) as caught:
        cache_mark(obj, "m")
    assert (caught.value.status, caught.value.param) == (400, param)


# Places


def test_points_in_their_places_stay() -> None:
    body = {
        "toolConfig": {"tools": [TOOL, POINT]},
        "system": [TEXT, POINT],
        "messages": [
            user(TEXT, POINT),
            {"role": "assistant", "content": [TEXT]},
            user(TEXT, POINT),
        ],
    }
    assert legal(body) == (body, ())


@pytest.mark.parametrize(
    ("content", "made", "noted"),
    [
        ([POINT, TEXT], [TEXT], ("cache_control:dropped",)),
        ([TEXT, POINT, POINT], [TEXT, POINT], ()),
        ([TEXT, SHORT, HOUR], [TEXT, HOUR], ()),
        ([TEXT, HOUR, SHORT], [TEXT, HOUR], ()),
        ([TEXT, DOC, POINT], [TEXT, POINT, DOC], ("cache_control:moved",)),
        ([TEXT, DOC, VIDEO, POINT], [TEXT, POINT, DOC, VIDEO], ("cache_control:moved",)),
        ([TEXT, DOC, POINT, VIDEO, POINT], [TEXT, POINT, DOC, VIDEO], ("cache_control:moved",)),
        ([DOC, POINT, TEXT], [DOC, TEXT], ("cache_control:dropped",)),
        ([DOC, TEXT, POINT], [DOC, TEXT, POINT], ()),
        ([THOUGHT, POINT, TEXT], [THOUGHT, TEXT], ("cache_control:dropped",)),
        ([TEXT, THOUGHT, POINT], [TEXT, POINT, THOUGHT], ("cache_control:moved",)),
    ],
)
def test_points_out_of_place(content: Any, made: Any, noted: Any) -> None:
    body, tokens = legal({"messages": [user(*content)]})
    assert body["messages"][0]["content"] == made
    assert tokens == noted


def test_a_point_inside_a_tool_result_stands_behind_it() -> None:
    result = {"toolResult": {"toolUseId": "t", "content": [TEXT, POINT, TEXT]}}
    body, _ = legal({"messages": [user(result, TEXT)]})
    assert body["messages"][0]["content"] == [
        {"toolResult": {"toolUseId": "t", "content": [TEXT, TEXT]}},
        POINT,
        TEXT,
    ]


def test_nova_takes_none_behind_tools() -> None:
    body = {
        "toolConfig": {"tools": [TOOL, POINT]},
        "system": [TEXT, POINT],
        "messages": [user(TEXT, POINT)],
    }
    made, noted = legal(body, NOVA)
    assert points(made) == [("system", None), ("messages", None)]
    assert noted == ("cache_control:dropped",)


def test_a_family_without_caching_gets_none() -> None:
    made, noted = legal({"system": [TEXT, POINT], "messages": [user(TEXT, POINT)]}, LLAMA)
    assert made == {"system": [TEXT], "messages": [user(TEXT)]}
    assert noted == ("cache_control:dropped",)
    assert legal({"messages": [user(LONG)]}, LLAMA, automatic=True, anchors=(0,))[1] == ()


def test_the_last_four_are_kept() -> None:
    body = {
        "toolConfig": {"tools": [TOOL, POINT]},
        "system": [TEXT, POINT, TEXT, POINT],
        "messages": [user(TEXT, POINT, TEXT, POINT), user(TEXT, POINT)],
    }
    made, noted = legal(body)
    assert points(made) == [("system", None)] + [("messages", None)] * 3
    assert noted == ("cache_control:dropped",)


# Lifetimes


@pytest.mark.parametrize(
    ("marks", "ttl", "made"),
    [
        ((POINT, POINT), None, [None, None]),
        ((SHORT, SHORT), None, [None, None]),
        ((HOUR, POINT), None, ["1h", None]),
        ((POINT, HOUR), None, ["1h", "1h"]),  # an hour may not follow five minutes
        ((POINT, POINT), "1h", ["1h", "1h"]),
        ((POINT, SHORT), "1h", ["1h", None]),
        ((POINT, POINT), "5m", [None, None]),
    ],
)
def test_lifetimes(marks: Any, ttl: Any, made: Any) -> None:
    body, noted = legal({"system": [TEXT, marks[0]], "messages": [user(TEXT, marks[1])]}, ttl=ttl)
    assert [ttl for _, ttl in points(body)] == made
    assert noted == ()


def test_an_hour_where_there_are_only_minutes() -> None:
    body, noted = legal({"messages": [user(TEXT, HOUR)]}, SONNET_4)
    assert points(body) == [("messages", None)]
    assert noted == ("cache_control.ttl:clamped",)


# Automatic points

AGENT = {
    "toolConfig": {"tools": [TOOL]},
    "system": [LONG],
    "messages": [
        user(LONG),
        {"role": "assistant", "content": [TEXT]},
        user(TEXT),
    ],
}


def test_automatic_points_after_tools_system_and_two_messages() -> None:
    body = {**AGENT, "toolConfig": {"tools": [TOOL] * 400}}
    made, noted = legal(body, automatic=True, anchors=(0, 2))
    assert [place for place, _ in points(made)] == ["tools", "system", "messages", "messages"]
    assert made["messages"][0]["content"][-1] == POINT
    assert made["messages"][2]["content"][-1] == POINT
    assert noted == ()
    hours, _ = legal(body, automatic=True, anchors=(0, 2), ttl="1h")
    assert {ttl for _, ttl in points(hours)} == {"1h"}


def test_automatic_points_need_a_prefix_worth_caching() -> None:
    assert points(legal(AGENT, automatic=True, anchors=(0, 2))[0])[0] == ("system", None)
    small = {"system": [TEXT], "messages": [user(TEXT), user(LONG)]}
    assert points(legal(small, automatic=True, anchors=(0, 1))[0]) == [("messages", None)]
    image = {"image": {"format": "png", "source": {"bytes": "A" * 100_000}}}
    picture = {"messages": [user(TEXT, image)]}
    assert points(legal(picture, automatic=True, anchors=(0,))[0]) == []


def test_automatic_points_respect_the_clients() -> None:
    body = {**AGENT, "system": [LONG, POINT]}
    assert points(legal(body, automatic=True, anchors=(0, 2))[0]) == [("system", None)]
    assert points(legal(AGENT, automatic=False, anchors=(0, 2))[0]) == []


def test_an_automatic_point_stands_before_a_last_document() -> None:
    body = {"messages": [user(LONG, DOC)]}
    made, noted = legal(body, automatic=True, anchors=(0,))
    assert made["messages"][0]["content"] == [LONG, POINT, DOC]
    assert noted == ()  # it was nobody's wish


def test_automatic_points_do_not_wander_with_the_conversation() -> None:
    """The second-last client message of a call was the last of the call before."""
    first = {"system": [LONG], "messages": [user(LONG)]}
    then = {
        "system": [LONG],
        "messages": [user(LONG), {"role": "assistant", "content": [TEXT]}, user(TEXT)],
    }
    before, _ = legal(first, automatic=True, anchors=(0,))
    after, _ = legal(then, automatic=True, anchors=(0, 2))
    assert after["messages"][0] == before["messages"][0]
    assert after["system"] == before["system"]


def test_many_marks_behind_many_blocks_take_no_time() -> None:
    body = {"messages": [user(TEXT, *[THOUGHT, POINT] * 20_000)]}
    made, _ = legal(body)
    assert made["messages"][0]["content"] == [TEXT, POINT] + [THOUGHT] * 20_000


def test_two_client_messages_may_end_in_one_turn() -> None:
    """A tool result, then the passing context that is gone on the next call."""
    result = {"toolResult": {"toolUseId": "t", "content": [LONG]}}
    body = {"messages": [user(result, TEXT)]}
    notes = Notes()
    legalise(
        cast("ConverseRequest", body),
        SONNET_45,
        ttl=None,
        automatic=True,
        anchors=((0, 1), (0, 2)),
        notes=notes,
    )
    assert body["messages"][0]["content"] == [result, POINT, TEXT, POINT]


# Any body, any marks

blocks_ = st.sampled_from([TEXT, LONG, DOC, VIDEO, THOUGHT, POINT, POINT, HOUR, SHORT]).map(
    copy.deepcopy
) | st.lists(st.sampled_from([TEXT, POINT, HOUR]), min_size=1, max_size=3).map(
    lambda content: {"toolResult": {"toolUseId": "t", "content": copy.deepcopy(content)}}
)
contents = st.lists(blocks_, min_size=1, max_size=5).map(
    lambda content: [copy.deepcopy(TEXT), *content]
)


def some(blocks: list[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.sampled_from(blocks).map(copy.deepcopy), max_size=4)


bodies = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.builds(lambda content: {"role": "user", "content": content}, contents),
            min_size=1,
            max_size=4,
        )
    },
    optional={
        "system": st.lists(
            st.sampled_from([TEXT, LONG, POINT, HOUR]).map(copy.deepcopy), max_size=4
        ),
        "toolConfig": some([TOOL, POINT, HOUR]).map(lambda tools: {"tools": [dict(TOOL), *tools]}),
    },
)


@pytest.fixture(scope="module")
def converse() -> Any:
    service = botocore.session.Session().get_service_model("bedrock-runtime")
    return service.operation_model("Converse").input_shape


def without_points(value: Any) -> Any:
    if isinstance(value, list):
        return [without_points(one) for one in value if "cachePoint" not in one]
    if isinstance(value, dict):
        return {key: without_points(one) for key, one in value.items()}
    return value


@given(
    bodies,
    st.sampled_from([SONNET_45, SONNET_4, NOVA, LLAMA]),
    st.sampled_from([None, "5m", "1h"]),
    st.booleans(),
    st.sets(st.integers(0, 4), max_size=2),
)
def test_any_marks_become_legal(
    converse: Any, body: Any, traits: Traits, ttl: Any, automatic: bool, anchors: set[int]
) -> None:
    options: dict[str, Any] = {
        "ttl": ttl,
        "automatic": automatic,
        "anchors": tuple(sorted(anchors)),
    }
    made, _ = legal(body, traits, **options)
    assert without_points(made) == without_points(body), "nothing but points may change"
    found = points(made)
    assert len(found) <= 4
    assert {place for place, _ in found} <= traits.cache_places
    lifetimes = [ttl or "5m" for _, ttl in found]
    assert lifetimes == sorted(lifetimes)  # 1h before 5m
    assert traits.cache_hour or "1h" not in lifetimes
    for blocks in lists_of(made):
        kinds = [next(iter(block)) for block in blocks]
        for at, kind in enumerate(kinds):
            if kind == "cachePoint":
                assert at > 0
                assert kinds[at - 1] not in ("cachePoint", "reasoningContent", "document", "video")
    assert legal(made, traits)[0] == made
    report = ParamValidator().validate({"modelId": "m", **made}, converse)
    assert not report.has_errors(), report.generate_report()


def lists_of(body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [
        body.get("toolConfig", {}).get("tools", []),
        body.get("system", []),
        *(message["content"] for message in body["messages"]),
    ]
