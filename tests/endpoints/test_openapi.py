"""The OpenAPI document: held to the routes, to the fields that are read, and to real answers."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openapi_spec_validator
import orjson
import pytest

from proxy import __version__
from proxy.access.hashing import mint_key
from proxy.endpoints.openapi import document
from proxy.errors import ProxyError
from proxy.openai.chat.request import parse_request
from proxy.simulator import Simulator
from tests.support.running import Running, serving

ROOT = Path(__file__).parents[2]
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
STREAMED = "ChatCompletionChunk"
"""OpenAPI 3.1 has no way to refer to what the lines of a stream hold."""
METHODS = {"get", "post", "put", "delete", "patch"}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Running]:
    with (
        Simulator() as simulator,
        serving(
            simulator.url,
            access_key=simulator.access_key,
            secret_key=simulator.secret_key,
            settings={"explain": True},
        ) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def told(proxy: Running) -> Any:
    answer = httpx.get(f"{proxy.url}/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def operations(told: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in told["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method]


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for inner in node.values():
            yield from refs(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from refs(inner)


def find(told: Any, ref: str) -> Any:
    node = told
    for step in ref.removeprefix("#/").split("/"):
        node = node[step]
    return node


def test_it_is_openapi(told: Any) -> None:
    assert told["openapi"].startswith("3.1.")
    assert told["info"]["version"] == __version__
    ids = [operation["operationId"] for _, _, operation in operations(told)]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in told["tags"]}
    for path, _, operation in operations(told):
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"])
        wanted = set(re.findall(r"\{(\w+)\}", path))
        given = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert given == wanted
    for need in told["security"]:
        assert need.keys() <= told["components"]["securitySchemes"].keys()


def test_every_reference_leads_somewhere_and_nothing_is_left_over(told: Any) -> None:
    used = set(refs(told))
    for ref in used:
        assert find(told, ref)
    for kind in ("schemas", "responses", "headers"):
        for name in told["components"][kind]:
            assert f"#/components/{kind}/{name}" in used or name == STREAMED
    for one in told["components"]["responses"].values():
        assert one["description"]


def test_the_specs_own_validator(told: Any) -> None:
    openapi_spec_validator.validate(told)


def test_paths_are_the_routes(proxy: Running, told: Any) -> None:
    starlette = proxy.service.asgi
    while not hasattr(starlette, "routes"):
        starlette = starlette._app
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in starlette.routes
        for method in route.methods - {"HEAD"}
    }
    prefixes = ("/api/v1/", "/openai/v1/")
    others = {one for one in served if one[0].startswith(prefixes)}
    bare = {one for one in served if (f"/v1{one[0]}", one[1]) in served}
    assert {(path, method) for path, method, _ in operations(told)} == served - others - bare


def test_what_is_not_served_is_not_described() -> None:
    assert document("1", {"/healthz"})["paths"].keys() == {"/healthz"}


def test_it_stands_behind_the_key() -> None:
    key = mint_key()
    with (
        Simulator() as simulator,
        serving(simulator.url, environment={"BEDROCK_PROXY_API_KEY": key}) as guarded,
    ):
        url = f"{guarded.url}/openapi.json"
        assert httpx.get(url).status_code == 401
        told = httpx.get(url, headers={"api-key": key})
        assert told.status_code == 200
        assert "/v1/explain" not in told.json()["paths"]


# What a wrong type is not refused for: fields that take several types, or are looked at elsewhere.
LENIENT = {"extra_body", "cache_control", "tool_choice", "prompt_cache_retention"}


def blamed(name: str, value: Any) -> str:
    """The field that a chat with ``name`` set to ``value`` is refused for; "" if it is not."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], name: value}
    try:
        parse_request(orjson.dumps(body), {})
    except ProxyError as fault:
        return fault.param or "?"
    return ""


def test_each_field_of_a_chat_is_read(told: Any) -> None:
    """A field that is described and ignored would be a promise that nobody keeps."""
    fields = told["components"]["schemas"]["ChatRequest"]["properties"]
    for name in fields.keys() - LENIENT:
        refused = [blamed(name, wrong) for wrong in ([[7]], 7.5, "no such word")]
        assert any(param.startswith(name) for param in refused), (name, refused)


def test_each_field_that_is_read_is_described(told: Any) -> None:
    reads = re.compile(r'(?:read_\w+|require_text)\(\s*(?:fields|body), "([\w-]+)"')
    described = {
        "chat": "ChatRequest",
        "completions": "CompletionRequest",
        "embeddings": "EmbeddingsRequest",
    }
    for room, schema in described.items():
        sources = (ROOT / "proxy/openai" / room).glob("request*.py")
        names = {name for source in sources for name in reads.findall(source.read_text())}
        assert len(names) >= 3
        assert names <= told["components"]["schemas"][schema]["properties"].keys()


def fits(told: Any, schema: Any, value: Any, at: str = "") -> list[str]:
    """What speaks against ``value`` being one of ``schema``: the little of JSON Schema that the
    document uses for answers."""
    if "$ref" in schema:
        return fits(told, find(told, schema["$ref"]), value, at)
    if "anyOf" in schema:
        tried = [fits(told, one, value, at) for one in schema["anyOf"]]
        return [] if any(not one for one in tried) else min(tried, key=len)
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
             "number": (int, float), "null": type(None)}  # fmt: skip
    named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, kinds[kind]) for kind in named):
        return [f"{at}: {value!r} is no {named}"]
    faults = [f"{at}: not {schema['const']}"] if schema.get("const", value) != value else []
    if value not in schema.get("enum", (value,)):
        faults.append(f"{at}: {value!r} is not among {schema['enum']}")
    if isinstance(value, list):
        for index, one in enumerate(value):
            faults += fits(told, schema.get("items", {"type": list(kinds)}), one, f"{at}[{index}]")
    if isinstance(value, dict):
        faults += [
            f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value
        ]
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                faults += fits(told, inner, value[name], f"{at}.{name}")
    return faults


CHAT = {
    "model": SONNET, "messages": [{"role": "user", "content": "Use look_up."}],
    "tools": [{"type": "function", "function": {"name": "look_up"}}], "reasoning_effort": "low",
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/v1/chat/completions", CHAT),
        ("post", "/v1/chat/completions", {**CHAT, "model": "a b"}),
        ("post", "/v1/completions", {"model": SONNET, "prompt": "Hello"}),
        ("post", "/v1/embeddings", {"model": "amazon.titan-embed-text-v2:0", "input": "Hello"}),
        ("post", "/v1/explain", CHAT),
        ("get", "/v1/models", None),
        ("get", f"/v1/models/{SONNET}", None),
        ("get", "/v1/models/none", None),
        ("get", "/healthz", None),
        ("get", "/readyz", None),
    ],
)
def test_answers_are_as_described(
    proxy: Running, told: Any, method: str, path: str, body: Any
) -> None:
    answer = httpx.request(method, proxy.url + path, json=body, timeout=20)
    pattern = re.sub(r"(/v1/models)/.+", r"\1/{model}", path)
    response = told["paths"][pattern][method]["responses"][str(answer.status_code)]
    response = find(told, response["$ref"]) if "$ref" in response else response
    schema = response["content"]["application/json"]["schema"]
    assert fits(told, schema, answer.json()) == []
    for name in answer.headers.keys() & told["components"]["headers"].keys():
        assert name in response.get("headers", ()) or method == "get"


def test_chunks_are_as_described(proxy: Running, told: Any) -> None:
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    lines = httpx.post(f"{proxy.url}/v1/chat/completions", json=asked, timeout=20).text.split(
        "\n\n"
    )
    chunks = [orjson.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert len(chunks) > 5
    schema = {"$ref": "#/components/schemas/ChatCompletionChunk"}
    for chunk in chunks:
        assert fits(told, schema, chunk) == []


def test_the_judge_of_answers_bites(told: Any) -> None:
    schema = {"$ref": "#/components/schemas/Error"}
    good = {"message": "m", "type": "t", "param": None, "code": None}
    assert fits(told, schema, {"error": good}) == []
    assert fits(told, schema, {"error": {**good, "message": 7}})
    assert fits(told, schema, {"error": {"message": "m"}})
    assert fits(told, {"$ref": "#/components/schemas/Model"}, {"id": "x", "object": "list"})
