"""Tools that were sent before: whoever remembers them says what whoever reads them anew says."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Options, Translation
from proxy.errors import ProxyError
from proxy.openai.chat.request import ChatRequest, parse_request
from proxy.openai.chat.to_converse import translate
from proxy.openai.chat.tool_memory import ToolMemory

FOLDER = Path(__file__).parents[2] / "requests"
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2402-v1:0"


def with_tools() -> list[str]:
    names = [path.name.removesuffix(".openai.json") for path in FOLDER.glob("*.openai.json")]
    return sorted(name for name in names if "tools" in case_of(name).get("request", {}))


def case_of(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.openai.json").read_text(encoding="utf-8"))


def model(foundation: str) -> Model:
    return Model(foundation, foundation, foundation, foundation, traits_for(foundation))


def tool(name: str, **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def asked(tools: Any, **more: Any) -> bytes:
    messages = [{"role": "user", "content": "Look."}]
    return orjson.dumps({"model": "m", "messages": messages, "tools": tools, **more})


def told(request: ChatRequest, foundation: str, options: Options | None = None) -> Translation:
    return translate(request, model(foundation), options or Options())


def outcome(reads: Any, case: Any, foundation: str) -> Any:
    try:
        request = reads(orjson.dumps(case["request"]), case.get("headers", {}))
        made = told(request, foundation, Options(**case.get("options", {})))
    except ProxyError as error:
        return (error.status, error.code, error.param, error.message)
    return (orjson.dumps(made.body), made.notes, made.operation, made.again)


@pytest.mark.parametrize("name", with_tools())
def test_remembered_or_read_anew(name: str) -> None:
    case, memory = case_of(name), ToolMemory()
    for foundation in (case["model"], case["model"], LLAMA, MISTRAL, case["model"]):
        plain = outcome(parse_request, case, foundation)
        assert outcome(memory.parse, case, foundation) == plain


def test_the_same_tools_are_one_value() -> None:
    memory = ToolMemory()
    first = memory.parse(asked([tool("a"), tool("b")]), {})
    again = memory.parse(asked([tool("a"), tool("b")], temperature=1), {})
    other = memory.parse(asked([tool("b"), tool("a")]), {})
    assert first.tools is again.tools
    assert [spec.name for spec in other.tools] == ["b", "a"]
    one, two = (told(each, CLAUDE).body["toolConfig"]["tools"] for each in (first, again))
    assert one is not two  # cache points are put into the list
    assert one[0] is two[0]


def test_points_of_the_cache_stay_with_their_request() -> None:
    memory = ToolMemory()
    long = [tool(f"tool_{number}", description="words " * 400) for number in range(9)]
    before = told(memory.parse(asked(long), {}), CLAUDE)
    marked = told(memory.parse(asked(long), {}), CLAUDE, Options(auto_cache=True))
    after = told(memory.parse(asked(long), {}), CLAUDE)
    assert "cachePoint" in marked.body["toolConfig"]["tools"][-1]
    assert orjson.dumps(after.body) == orjson.dumps(before.body)


def test_what_was_lost_is_told_each_time() -> None:
    memory, loose = ToolMemory(), [tool("a", strict=True)]
    assert [told(memory.parse(asked(loose), {}), LLAMA).notes for _ in range(2)] == [
        ("tools.strict:dropped",),
        ("tools.strict:dropped",),
    ]
    with pytest.raises(ProxyError) as refusal:
        told(memory.parse(asked(loose), {}), LLAMA, Options(strict=True))
    assert refusal.value.param == "tools[0].function.strict"


@pytest.mark.parametrize("tools", [[{"type": "function"}], ["a"], {"a": 1}, [tool("")]])
def test_what_is_faulty_is_refused_each_time(tools: Any) -> None:
    memory = ToolMemory()
    said = []
    for reads in (parse_request, memory.parse, memory.parse):
        with pytest.raises(ProxyError) as refusal:
            reads(asked(tools), {})
        said.append((refusal.value.param, refusal.value.message))
    assert len(set(said)) == 1


def test_more_than_there_is_room_for_is_forgotten() -> None:
    size = len(orjson.dumps([tool("a")]))
    memory = ToolMemory(room=2 * size)
    first, second = (memory.parse(asked([tool(name)]), {}).tools for name in "ab")
    assert memory.parse(asked([tool("a")]), {}).tools is first
    memory.parse(asked([tool("c")]), {})
    assert memory.parse(asked([tool("b")]), {}).tools is not second
    large = asked([tool("a", description="x" * 2 * size)])
    assert memory.parse(large, {}).tools is not memory.parse(large, {}).tools
