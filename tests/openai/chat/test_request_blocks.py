"""An agent's history in Anthropic's blocks is the history in OpenAI's words, and means the same."""

from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Options, Translation
from proxy.errors import ProxyError
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MARK = {"cache_control": {"type": "ephemeral"}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}


def use(id: str, **more: Any) -> Any:
    return {"type": "tool_use", "id": id, "name": "read", "input": {"path": id}, **more}


def result(id: str, content: Any = "found", **more: Any) -> Any:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def call(id: str, **more: Any) -> Any:
    function = {"name": "read", "arguments": orjson.dumps({"path": id}).decode()}
    return {"id": id, "type": "function", "function": function, **more}


def told(id: str, content: Any = "found", **more: Any) -> Any:
    return {"role": "tool", "tool_call_id": id, "content": content, **more}


def user(*parts: Any) -> Any:
    return {"role": "user", "content": list(parts)}


def text(said: str) -> Any:
    return {"type": "text", "text": said}


def assistant(*parts: Any, **more: Any) -> Any:
    return {"role": "assistant", "content": list(parts), **more}


def translated(messages: list[Any], model_id: str = SONNET, **fields: Any) -> Translation:
    body = orjson.dumps({"model": "m", "messages": messages, **fields})
    model = Model("m", model_id, model_id, model_id, traits_for(model_id))
    return translate(parse_request(body, {}), model, Options())


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
SIGNED = {"type": "thinking", "thinking": "t", "signature": "c2ln"}
ASKED = {"role": "user", "content": "Read a."}
ALIKE = {
    "one call": (
        [assistant(text("I look."), use("a")), user(result("a"))],
        [assistant(text("I look."), tool_calls=[call("a")]), told("a")],
    ),
    "nothing but a call": (
        [assistant(use("a")), user(result("a", None))],
        [assistant(tool_calls=[call("a")]), told("a", None)],
    ),
    "two calls, answered in two messages": (
        [assistant(use("a"), use("b")), user(result("b")), user(result("a", [text("x")]))],
        [assistant(tool_calls=[call("a"), call("b")]), told("b"), told("a", [text("x")])],
    ),
    "words behind the results": (
        [assistant(use("a")), user(result("a"), text("And b?"))],
        [assistant(tool_calls=[call("a")]), told("a"), user(text("And b?"))],
    ),
    "a failure, an image, cache marks": (
        [assistant(use("a", **MARK)), user(result("a", [IMAGE], is_error=True, **MARK))],
        [assistant(tool_calls=[call("a", **MARK)]), told("a", [IMAGE], is_error=True, **MARK)],
    ),
    "thinking in front": (
        [assistant(SIGNED, use("a")), user(result("a"))],
        [assistant(SIGNED, tool_calls=[call("a")]), told("a")],
    ),
    "a call told in both ways": (
        [assistant(use("a"), tool_calls=[call("a")]), user(result("a"))],
        [assistant(tool_calls=[call("a")]), told("a")],
    ),
    "a result whose call is gone": ([user(result("a"), text("b"))], [told("a"), user(text("b"))]),
    "content that is one block": (
        [{"role": "assistant", "content": use("a")}, {"role": "user", "content": result("a")}],
        [assistant(tool_calls=[call("a")]), told("a")],
    ),
}


@pytest.mark.parametrize("model_id", [SONNET, "meta.llama3-3-70b-instruct-v1:0"])
@pytest.mark.parametrize("name", ALIKE)
def test_blocks_are_calls_and_results(name: str, model_id: str) -> None:
    blocks, plain = ALIKE[name]
    flat = {"name": "read", "description": "d", "input_schema": SCHEMA}
    nested = {"name": "read", "description": "d", "parameters": SCHEMA}
    one = translated([ASKED, *blocks], model_id, tools=[flat], reasoning_effort="low")
    function = {"type": "function", "function": nested}
    other = translated([ASKED, *plain], model_id, tools=[function], reasoning_effort="low")
    assert one.body == other.body
    assert one.notes == other.notes


def test_thinking_between_calls_stays_there() -> None:
    between = assistant(SIGNED, use("a"), SIGNED, use("b"))
    body = translated([ASKED, between, user(result("a"), result("b"))]).body
    kinds = [next(iter(block)) for block in body["messages"][1]["content"]]
    assert kinds == ["reasoningContent", "toolUse", "reasoningContent", "toolUse"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (assistant(text("a"), {"type": "tool_use", "name": "x"}), "[1].content[1].id"),
        (assistant({"type": "tool_use", "id": "x"}), "[1].content[0].name"),
        (assistant(use("a", input="{}")), "[1].content[0].input"),
        (user(result(" ")), "[1].content[0].tool_use_id"),
        (user(result("a", 5)), "[1].content[0].content"),
        (user(result("a", [5])), "[1].content[0].content[0]"),
        (user(use("a")), "[1].content[0].type"),
        (assistant(result("a")), "[1].content[0].type"),
        ({"role": "system", "content": [result("a")]}, "[1].content[0].type"),
    ],
)
def test_a_faulty_block_is_named(message: Any, param: str) -> None:
    with pytest.raises(ProxyError) as refused:
        translated([ASKED, message])
    assert refused.value.status == 400
    assert refused.value.param == f"messages{param}"
