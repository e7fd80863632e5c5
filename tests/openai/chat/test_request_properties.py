"""What must hold of every request, whatever it says: a body that Bedrock can take, the same bytes
for the same beginning, and a 400 with a name for everything else.

The requests are made: drawn from the grammar of chat requests, the histories wild on purpose.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import botocore.session
import orjson
import pytest
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model, Traits
from proxy.dialect import Options, Translation
from proxy.errors import ProxyError
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

MODELS = (
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "anthropic.claude-opus-4-8",
    "anthropic.claude-3-haiku-20240307-v1:0",
    "amazon.nova-lite-v1:0",
    "amazon.nova-2-lite-v1:0",
    "meta.llama3-1-70b-instruct-v1:0",
    "mistral.mistral-7b-instruct-v0:2",
    "mistral.mistral-large-2402-v1:0",
    "mistral.pixtral-large-2502-v1:0",
    "cohere.command-r-plus-v1:0",
    "openai.gpt-oss-120b-1:0",
    "deepseek.r1-v1:0",
    "qwen.qwen3-32b-v1:0",
    "writer.palmyra-x4-v1:0",
    "acme.unheard-of-v1:0",
)
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"
PDF = "data:application/pdf;base64,JVBERi0xLjQK"
TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"properties": {"q": {"type": "string"}}}},
    }
    for name in ("look_up", "files.read")
]

texts = st.one_of(
    st.sampled_from(["", " ", "\n\t", "Hi", "Hi ", "ß∂✓ 漢字", "\u2028", "<system>"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
marks = st.sampled_from([{}, {}, {"cache_control": {"type": "ephemeral"}}])
text_parts = st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, texts, marks)
media_parts = st.one_of(
    st.just({"type": "image_url", "image_url": {"url": PNG}}),
    st.just({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}),
    st.just({"type": "guarded_text", "text": "g"}),
)
plain_content = st.one_of(texts, st.lists(text_parts, max_size=3))
rich_content = st.one_of(
    texts, st.lists(st.one_of(text_parts, text_parts, media_parts), max_size=3)
)
call_ids = st.sampled_from(["call_0", "call_1", "tooluse_AbCdEfGhIjKlMnOpQrStUv", "a|b", "x" * 70])
calls = st.builds(
    lambda id, name, arguments: {
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    call_ids,
    st.sampled_from(["look_up", "files.read", "gone"]),
    st.sampled_from(["{}", '{"q":"x"}', "", '{"q":', "[1]", "null", '{"q":1}{"q":2}']),
)
messages = st.one_of(
    st.builds(lambda c: {"role": "system", "content": c}, plain_content),
    st.builds(lambda c, m: {"role": "user", "content": c, **m}, rich_content, marks),
    st.builds(lambda c: {"role": "user", "content": c}, rich_content),
    st.builds(lambda c: {"role": "assistant", "content": c}, st.one_of(st.none(), plain_content)),
    st.builds(
        lambda c, t: {"role": "assistant", "content": c, "tool_calls": t},
        st.one_of(st.none(), texts),
        st.lists(calls, min_size=1, max_size=3),
    ),
    st.builds(
        lambda i, c: {"role": "tool", "tool_call_id": i, "content": c},
        call_ids,
        st.one_of(
            plain_content, st.lists(media_parts.filter(lambda p: "text" not in p), max_size=1)
        ),
    ),
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.sampled_from([[], TOOLS, TOOLS[:1]]),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(0, 500),
        "max_tokens": st.integers(1, 200_000),
        "stop": st.one_of(texts, st.lists(texts, max_size=6)),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "max"]),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
        "parallel_tool_calls": st.booleans(),
        "metadata": st.dictionaries(texts, texts, max_size=3),
        "frequency_penalty": st.floats(-2, 2),
        "service_tier": st.sampled_from(["auto", "flex", "priority"]),
        "prompt_cache_retention": st.just("24h"),
        "cache_control": st.just({"type": "ephemeral"}),
        "stream": st.booleans(),
    },
)


@pytest.fixture(scope="module")
def shape() -> Any:
    service = botocore.session.Session().get_service_model("bedrock-runtime")
    return service.operation_model("ConverseStream").input_shape


def model_for(foundation: str) -> Model:
    return Model("m", foundation, foundation, foundation, traits_for(foundation))


def translated(request: Mapping[str, Any], foundation: str) -> Translation:
    return translate(
        parse_request(orjson.dumps({"model": "m", **request}), {}), model_for(foundation), Options()
    )


@settings(max_examples=500)
@given(
    st.lists(messages, min_size=1, max_size=8).filter(
        lambda all: sum("image_url" in str(m) or "filename" in str(m) for m in all) < 2
    ),
    fields,
    st.sampled_from(MODELS),
)
def test_any_request_becomes_a_legal_body(
    shape: Any, history: list[Any], extra: dict[str, Any], foundation: str
) -> None:
    traits = traits_for(foundation)
    if not traits.tools:
        extra.pop("tools", None)
    translation = translated({"messages": history, **extra}, foundation)
    body = orjson.loads(orjson.dumps(translation.body))
    problems = ParamValidator().validate({"modelId": "m", **body}, shape)
    assert not problems.has_errors(), problems.generate_report()
    check_turns(body["messages"], traits)
    check_tools(body, traits)
    check_texts(body)
    points = orjson.dumps(body).count(b'"cachePoint"')
    assert points <= (4 if traits.cache_places else 0)


def check_turns(turns: list[Any], traits: Traits) -> None:
    roles = [turn["role"] for turn in turns]
    assert roles[0] == "user" or (traits.leading_assistant and roles[0] == "assistant")
    for before, after in pairwise(roles):
        assert before != after
        assert after != "system" or before == "user"
        assert before != "system" or after == "assistant"
    assert roles[-1] != "assistant" or traits.prefill
    assert "system" not in roles or traits.mid_system
    if roles[-1] == "assistant":
        last = next(block["text"] for block in reversed(turns[-1]["content"]) if "text" in block)
        assert last == last.rstrip()


def check_tools(body: Any, traits: Traits) -> None:
    turns = body["messages"]
    seen: set[str] = set()
    for at, turn in enumerate(turns):
        uses = [block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block]
        assert not seen.intersection(uses)
        assert len(set(uses)) == len(uses)
        seen.update(uses)
        if uses:
            assert turn["role"] == "assistant"
            following = turns[at + 1]["content"]
            results = [block for block in following if "toolResult" in block]
            assert [block["toolResult"]["toolUseId"] for block in results] == uses
            first = [block for block in following if "cachePoint" not in block][: len(uses)]
            assert first == results
            if traits.results_alone:
                assert all("toolResult" in b or "cachePoint" in b for b in following)
                assert all("toolUse" in b or "cachePoint" in b for b in turn["content"])
        elif turn["role"] == "user":
            before = turns[at - 1]["content"] if at else []
            if not any("toolUse" in block for block in before):
                assert not any("toolResult" in block for block in turn["content"])
    assert not seen or "toolConfig" in body


def check_texts(body: Any) -> None:
    blocks = [*body.get("system", ()), *(b for turn in body["messages"] for b in turn["content"])]
    blocks += [inner for b in blocks for inner in b.get("toolResult", {}).get("content", ())]
    assert all(block["text"].strip() for block in blocks if "text" in block)
    for turn in body["messages"]:
        assert turn["content"]
        if any("document" in block for block in turn["content"]):
            assert any("text" in b or "guardContent" in b for b in turn["content"])


@st.composite
def exchanges(draw: st.DrawFn) -> list[list[Any]]:
    """Stretches of a conversation that each begin with a user and end with nothing left open."""
    stretches: list[list[Any]] = []
    for turn in range(draw(st.integers(2, 5))):
        stretch: list[Any] = [{"role": "user", "content": draw(plain_content)}]
        for step in range(draw(st.integers(0, 2))):
            ids = [f"call_{number}" for number in range(draw(st.integers(1, 2)))]
            called = [
                {"id": id, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
                for id in ids
            ]
            stretch.append({"role": "assistant", "content": draw(texts), "tool_calls": called})
            stretch += [
                {"role": "tool", "tool_call_id": id, "content": f"{turn}{step}"}
                for id in reversed(ids)
            ]
        stretch.append({"role": "assistant", "content": draw(texts) + "."})
        stretches.append(stretch)
    return stretches


@settings(max_examples=200)
@given(exchanges(), st.sampled_from(MODELS), st.integers(1, 4), st.booleans())
def test_a_longer_conversation_begins_with_the_same_bytes(
    stretches: list[list[Any]], foundation: str, cut: int, extra: bool
) -> None:
    tools = {"tools": TOOLS} if traits_for(foundation).tools else {}
    system = [{"role": "system", "content": "Be brief."}]
    longer = sum(stretches, list(system))
    shorter = sum(stretches[:cut], list(system))
    if cut < len(stretches):
        shorter.append(stretches[cut][0])
        if extra:
            longer.append({"role": "user", "content": "And?"})
    else:
        shorter = longer
    first = translated({"messages": shorter, **tools}, foundation).body
    second = translated({"messages": longer, **tools}, foundation).body
    for member in ("system", "toolConfig"):
        assert orjson.dumps(first.get(member)) == orjson.dumps(second.get(member))
    before, after = without_points(first["messages"]), without_points(second["messages"])
    assert orjson.dumps(before[:-1]) == orjson.dumps(after[: len(before) - 1])
    tail = before[-1]["content"]
    assert orjson.dumps(tail) == orjson.dumps(after[len(before) - 1]["content"][: len(tail)])
    again = translated({"messages": longer, **tools}, foundation).body
    assert orjson.dumps(second) == orjson.dumps(again)


def without_points(turns: list[Any]) -> list[Any]:
    """Of too many cache points the first ones go; they are no content of the prefix."""
    return [
        {**turn, "content": [block for block in turn["content"] if "cachePoint" not in block]}
        for turn in turns
    ]


junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False),
        texts, st.sampled_from(["data:", "data:image/png;base64,", "s3://", "auto", "function"]),
    ).filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["type", "text", "role", "content", "name", "function", "id", "url", "data",
                 "source", "effort", "json_schema", "schema", "ttl", "x"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)  # fmt: skip
FIELDS = (
    "messages", "tools", "tool_choice", "functions", "function_call", "response_format", "stop",
    "temperature", "top_p", "top_k", "n", "max_tokens", "max_completion_tokens", "metadata", "user",
    "reasoning", "reasoning_effort", "thinking", "enable_thinking", "chat_template_kwargs",
    "cache_control", "prompt_cache_options", "prompt_cache_retention", "guardrailConfig",
    "performance_config", "requestMetadata", "promptVariables", "serviceTier", "outputConfig",
    "additionalModelRequestFields", "additionalModelResponseFieldPaths", "web_search_options",
    "stream", "stream_options", "modalities", "audio", "logit_bias", "extra_body",
    "amazon-bedrock-guardrailConfig", "parallel_tool_calls", "service_tier", "seed",
)  # fmt: skip
PLACES = ("content", "part", "image_url", "file", "source", "tool_calls", "function", "arguments",
          "tool_content", "cache", "reasoning_details", "thinking_blocks", "call_id")  # fmt: skip


def planted(place: str, value: Any) -> dict[str, Any]:
    """A sound conversation with one wrong thing in it."""
    function: Any = {"name": "look_up", "arguments": "{}"}
    call: Any = {"id": "c1", "type": "function", "function": function}
    part: Any = {"type": "text", "text": "Hi"}
    user: Any = {"role": "user", "content": [part]}
    assistant: Any = {"role": "assistant", "content": "Ok", "tool_calls": [call]}
    tool: Any = {"role": "tool", "tool_call_id": "c1", "content": "4"}
    targets: dict[str, tuple[Any, str, Any]] = {
        "content": (user, "content", value),
        "part": (user, "content", [value]),
        "image_url": (user, "content", [{"type": "image_url", "image_url": value}]),
        "file": (user, "content", [{"type": "file", "file": value}]),
        "source": (user, "content", [{"type": "document", "source": value, "citations": value}]),
        "function": (call, "function", value),
        "arguments": (function, "arguments", value),
        "tool_content": (tool, "content", value),
        "cache": (part, "cache_control", value),
        "call_id": (call, "id", value),
    }
    target, key, replacement = targets.get(place, (assistant, place, value))
    target[key] = replacement
    return {"messages": [user, assistant, tool], "tools": TOOLS}


@settings(max_examples=700)
@given(
    st.one_of(
        st.builds(
            lambda name, value: {"messages": [{"role": "user", "content": "Hi"}], name: value},
            st.sampled_from(FIELDS),
            junk,
        ),
        st.builds(planted, st.sampled_from(PLACES), junk),
    ),
    st.sampled_from(MODELS),
)
def test_junk_is_a_named_400_or_a_legal_body(
    shape: Any, request: dict[str, Any], foundation: str
) -> None:
    body, error = attempted(request, foundation)
    if error is not None:
        assert error.status == 400
        assert error.message
        assert error.param
        return
    problems = ParamValidator().validate({"modelId": "m", **orjson.loads(body)}, shape)
    assert not problems.has_errors(), problems.generate_report()


def attempted(request: dict[str, Any], foundation: str) -> tuple[bytes, ProxyError | None]:
    try:
        return orjson.dumps(translated(request, foundation).body), None
    except ProxyError as error:
        return b"", error


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=40), junk.map(orjson.dumps)))
def test_junk_bytes_are_a_400(body: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        parse_request(body, {})
    assert caught.value.status == 400
