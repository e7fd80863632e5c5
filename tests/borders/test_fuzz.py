"""Twenty thousand bodies that no client would send: each is answered, none with a 5xx, none late.

The whole service is called in process, as an ASGI application with a key, limits and remote media;
what passes the parser is answered by a stand-in for Bedrock. Every body goes to one of the three
client APIs or to the dry run. Made by hypothesis: legal bodies with something wrong in one place,
structures of random JSON, and bytes.
"""

import asyncio
import os
import time
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.app import Service, build
from proxy.bedrock.regions import AwsConfig
from proxy.settings import load
from tests.relay.answers import EVENTS

ASKED = os.environ.get("FUZZ_BODIES")
"""Another number of bodies means other bodies: the usual ones are the same each time."""
BODIES = int(ASKED or "20000")
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/explain")
LATE = 2.0
"""Seconds of work; bodies are small, so any of them is answered in milliseconds."""
HUNG = 60.0
"""Seconds of waiting, on however busy a machine."""

words = st.sampled_from(
    (
        "user", "assistant", "system", "tool", "text", "image_url", "function", "auto", "none",
        "required", "json_object", "json_schema", "enabled", "high", "ephemeral", "5m", SONNET,
        "amazon.titan-embed-text-v2:0", "us.amazon.nova-pro-v1:0", "../x", "arn:aws:s3:::x", "",
        " ", "data:image/png;base64,iVBORw0KGgo=", "https://127.0.0.1/x", "http://[::1]/",
        "file:///etc/passwd", "s3://bucket/key.png", "{}", "[", "\u0000", "\u2028",
        "\ufeff", "e\u0301", "x" * 5000, "\U0001f600",
    )
)  # fmt: skip
scalars = st.one_of(
    words, st.text(max_size=20), st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
names = st.sampled_from(
    (
        "model", "messages", "role", "content", "type", "text", "image_url", "url", "tools",
        "function", "name", "parameters", "tool_calls", "id", "arguments", "tool_call_id",
        "tool_choice", "response_format", "json_schema", "schema", "stop", "n", "max_tokens",
        "temperature", "top_p", "top_k", "stream", "stream_options", "include_usage", "reasoning",
        "reasoning_effort", "thinking", "budget_tokens", "metadata", "user", "guardrailConfig",
        "requestMetadata", "serviceTier", "additionalModelRequestFields", "cache_control", "ttl",
        "prompt", "input", "dimensions", "file", "file_data", "filename", "source", "data",
        "media_type", "input_audio", "reasoning_details", "functions", "function_call", "echo",
        "suffix", "extra_body", "$ref", "properties", "items", "anyOf", "enum", "required",
    )
)  # fmt: skip
keys = st.one_of(names, st.text(max_size=6))
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
LEGAL: tuple[dict[str, Any], ...] = (
    {
        "model": SONNET,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
        ],
        "tools": [{"type": "function", "function": {
            "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
        }}],
        "tool_choice": "auto", "max_tokens": 100, "temperature": 0.5, "stop": ["x"], "n": 1,
    },
    {
        "model": SONNET, "messages": [{"role": "user", "content": "Hello"}], "stream": True,
        "stream_options": {"include_usage": True}, "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "a", "schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
        }},
        "metadata": {"a": "b"}, "user": "somebody",
    },
    {"model": SONNET, "prompt": ["Hello", "there"], "max_tokens": 5, "echo": True, "stop": "x"},
    {"model": "amazon.titan-embed-text-v2:0", "input": ["Hello"], "dimensions": 256},
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A legal body in which one to three places hold something else."""
    body = orjson.loads(orjson.dumps(draw(st.sampled_from(LEGAL))))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = body
        while True:
            steps = list(node) if isinstance(node, dict) else range(len(node))
            if not steps:
                break
            step = draw(st.sampled_from(list(steps)))
            inner = node[step]
            if isinstance(inner, dict | list) and inner and draw(st.integers(0, 3)):
                node = inner
                continue
            if isinstance(node, dict) and draw(st.integers(0, 4)) == 0:
                node[draw(keys)] = draw(junk)
            elif isinstance(node, dict) and draw(st.integers(0, 5)) == 0:
                del node[step]
            else:
                node[step] = draw(junk)
            break
    return orjson.dumps(body)


bodies = st.one_of(
    spoilt(),
    spoilt(),
    st.dictionaries(keys, junk, max_size=6).map(orjson.dumps),
    junk.map(orjson.dumps),
    st.binary(max_size=60),
    st.builds(
        lambda data, at, other: data[: at % (len(data) + 1)] + other + data[at % (len(data) + 1) :],
        spoilt(), st.integers(0, 500), st.binary(max_size=6),
    ),
)  # fmt: skip


def bedrock(request: httpx.Request) -> httpx.Response:
    """Answers whatever is asked, as a model would."""
    if request.url.path.endswith("/converse-stream"):
        head = {"content-type": "application/vnd.amazon.eventstream"}
        return httpx.Response(200, headers=head, stream=httpx.ByteStream(b"".join(EVENTS)))
    if request.url.path.endswith("/converse"):
        said = {"role": "assistant", "content": [{"text": "Hello"}]}
        usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
        return httpx.Response(200, json={
            "output": {"message": said}, "stopReason": "end_turn", "usage": usage,
            "metrics": {"latencyMs": 1},
        })  # fmt: skip
    if request.url.path.endswith("/invoke"):
        wanted = orjson.loads(request.content).get("dimensions") or 1024
        return httpx.Response(200, json={"embedding": [0.5] * wanted, "inputTextTokenCount": 1})
    return httpx.Response(200, json={})


def service() -> Service:
    own = {
        "BEDROCK_PROXY_API_KEY": "sk-fuzz", "BEDROCK_PROXY_EXPLAIN": "true",
        "BEDROCK_PROXY_TOKENS_PER_MINUTE": "1000000000", "BEDROCK_PROXY_LOG_LEVEL": "error",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    aws = AwsConfig("us-east-1", False, False, {})
    return build(load({}, None, own), aws, engine=httpx.MockTransport(bedrock))


class Client:
    """Calls a service on one event loop that stays."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.service = self.runner.run(self.opened())
        self.statuses: dict[int, int] = {}

    async def opened(self) -> Service:
        made = service()
        made.account.start()
        await made.defences.open()
        return made

    async def closed(self) -> None:
        await self.service.defences.close()
        await self.service.deps.context.memory.close()
        await self.service.account.close()

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []
        given = [{"type": "http.request", "body": body, "more_body": False}]
        forever = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not given:
                await forever.wait()
            return given.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "state": {},
            "root_path": "", "http_version": "1.1", "scheme": "http",
            "headers": [(b"authorization", b"Bearer sk-fuzz"), (b"host", b"localhost"),
                        (b"content-type", b"application/json")],
        }  # fmt: skip
        await self.service.asgi(scope, receive, send)
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])

    def check(self, path: str, body: bytes) -> None:
        began = time.process_time()
        status, told = self.runner.run(asyncio.wait_for(self.post(path, body), HUNG))
        assert time.process_time() - began < LATE
        self.statuses[status] = self.statuses.get(status, 0) + 1
        assert status < 500, told
        if status != 200:
            assert orjson.loads(told)["error"].keys() == {"message", "type", "param", "code"}
        else:
            assert b'"internal_error"' not in told


@pytest.fixture(scope="module")
def client() -> Any:
    made = Client()
    yield made
    made.runner.run(made.closed())
    made.runner.close()


def fuzz(client: Client, examples: int) -> None:
    @settings(
        max_examples=examples, derandomize=ASKED is None, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(path=st.sampled_from(PATHS), body=bodies)
    def run(path: str, body: bytes) -> None:
        client.check(path, body)

    run()


def test_some_bodies(client: Client) -> None:
    """A taste of it in the quick suite."""
    for path, legal in zip((PATHS[0], PATHS[0], *PATHS[1:3]), LEGAL, strict=True):
        client.check(path, orjson.dumps(legal))
    assert client.statuses == {200: 4}
    fuzz(client, 300)


@pytest.mark.long
def test_twenty_thousand_bodies(client: Client) -> None:
    fuzz(client, BODIES)
    assert sum(client.statuses.values()) >= BODIES
    assert client.statuses[200] > BODIES / 50  # some of them are answered: it gets that far
    assert client.statuses[400] > BODIES / 4
