"""Nothing of one tenant's reaches another, nothing of a request reaches another place of AWS, and
no page tells what it should not."""

import asyncio
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy.simulator import Fault
from tests.relay.answers import EVENTS, GOOD, event
from tests.support.raw_upstream import RawUpstream, json_answer, sending, stream_answer
from tests.support.running import serving
from tests.support.tenants import NOVA, SONNET, Tenants, tenants

MARK = "PROMPT-6f1c0a"
"""Stands in prompts; may stand in no page, header or log but the answer's own."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    folder = tmp_path_factory.mktemp("keys")
    settings = {"explain": True, "metrics_key_label": True}
    with tenants(folder, {"anna": {}, "ben": {}}, settings) as running:
        yield running


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


# ---- between tenants ----------------------------------------------------------------------------


def test_each_gets_the_tool_names_of_its_own(proxy: Tenants) -> None:
    """Both names become the same legal one; each answer calls the one of its own request."""
    own = {"anna": "look/up", "ben": "look#up"}

    def ask(name: str) -> set[str]:
        answer = proxy.ask(name, f"Use {own[name]}.", tools=[tool(own[name])]).json()
        calls = answer["choices"][0]["message"].get("tool_calls", ())
        return {call["function"]["name"] for call in calls}

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda name: (name, ask(name)), ["anna", "ben"] * 12))
    for name, called in told:
        assert called == {own[name]}


def test_each_gets_the_tools_of_its_own(proxy: Tenants) -> None:
    """Tools that were sent before are not read again; they are told by all of their bytes."""
    for name in ("anna", "ben", "anna", "ben"):
        own = tool("look_up")
        own["function"]["description"] = f"{name}'s shop"
        assert proxy.ask(name, "Hi.", tools=[own]).status_code == 200
        [told] = proxy.last().body["toolConfig"]["tools"]
        assert told["toolSpec"]["description"] == f"{name}'s shop"


def test_reasoning_is_remembered_for_its_own_tenant_only(proxy: Tenants) -> None:
    asked = {"tools": [tool("look_up")], "reasoning_effort": "low"}
    answer = proxy.ask("anna", "Use look_up.", **asked).json()
    [call] = answer["choices"][0]["message"]["tool_calls"]
    history = [
        {"role": "user", "content": "Use look_up."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "4"},
    ]
    body = {"model": SONNET, "messages": history, **asked}
    for path in ("/v1/chat/completions", "/v1/explain"):
        stolen = proxy.post("ben", path, body)
        assert stolen.status_code == 200
        assert b"reasoningContent" not in orjson.dumps(proxy.last().body)
        assert "reasoningContent" not in stolen.text
    own = proxy.post("anna", "/v1/chat/completions", body)
    assert own.status_code == 200
    assert b"reasoningContent" in orjson.dumps(proxy.last().body)


def test_what_refusals_teach_holds_no_word_of_a_request(proxy: Tenants) -> None:
    """A lesson is a name of our own table and facts of a model; it is shown to all, so it must be
    no more than that."""
    refusal = Fault(
        "error", error="ValidationException", status=400, model="nova",
        message="The model returned the following errors: `temperature` is deprecated for this "
        f"model. (asked: {MARK})",
    )  # fmt: skip
    proxy.simulator.script(refusal)
    proxy.ask("anna", f"{MARK} secret", model=NOVA, temperature=0.5)
    shown = proxy.get("ben", f"/v1/models/{NOVA}").json()
    assert MARK not in orjson.dumps(shown).decode()
    assert shown["learned"]["repairs"] == ["sampling"]
    assert shown["learned"].keys() == {"repairs", "expires_in"}
    assert proxy.ask("ben", model=NOVA).status_code == 200


def test_connections_are_shared_and_keys_are_not() -> None:
    """Clients with Bedrock keys of their own over the same pooled connections: each call carries
    its own key, and no answer goes to another client."""

    async def echo(line: Any) -> None:
        said = line.seen.headers.get("authorization", "") + line.seen.body.decode()[-200:]
        delta = event("contentBlockDelta", contentBlockIndex=0, delta={"text": said})
        await line.send(stream_answer(EVENTS[0], delta, *EVENTS[3:]))

    with (
        RawUpstream(echo) as upstream,
        serving(upstream.url, settings={"client_keys": True}, access_key="", secret_key="") as own,
    ):

        def ask(number: int) -> None:
            key = f"bedrock-api-key-{number % 7}"
            body = {"model": NOVA, "messages": [{"role": "user", "content": f"I am {number}."}]}
            answer = httpx.post(
                f"{own.url}/v1/chat/completions", json=body, timeout=20,
                headers={"authorization": f"Bearer {key}"},
            )  # fmt: skip
            assert answer.status_code == 200, answer.text
            said = answer.json()["choices"][0]["message"]["content"]
            assert said.startswith(f"Bearer {key}{{")
            assert f"I am {number}." in said

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(80)))
        calls = upstream.calls()
        assert len(calls) == 80
        keys_by_connection: dict[int, set[str]] = {}
        for one in calls:
            keys_by_connection.setdefault(one.connection, set()).add(one.headers["authorization"])
        assert len(keys_by_connection) < 80
        assert max(map(len, keys_by_connection.values())) > 1  # it was worth looking


# ---- into AWS -----------------------------------------------------------------------------------

LISTINGS = (
    "/foundation-models", "/inference-profiles", "/imported-models", "/provisioned-model",
    "/custom-models", "/prompt-routers", "/model-customization", "/marketplace-model/endpoints",
)  # fmt: skip
NAMES = (
    "../models", "..%2fmodels", "..%2Fguardrails%2Fx", "a/../../guardrail/x/version/1/apply",
    "a/./b", "a//b", "%2e%2e/x", "a%2fb", "a?x=1", "a#b", "a\\..\\b", "a b", "a\tb", "a\r\nHost: x",
    "a\x00b", "http://evil.example/", "//evil.example", "@evil.example", "a@evil.example",
    "arn:aws:s3:::bucket/key", "arn:aws:lambda:us-east-1:123456789012:function:x",
    "arn:aws:iam::123456789012:role/x", "arn:aws:bedrock:us-east-1:123456789012:agent/x",
    "arn:aws:bedrock:us-east-1:123456789012:guardrail/x",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/../x",
    "arn:aws:bedrock:evil.example/:123456789012:inference-profile/x",
    "model/x/converse", "x/converse-stream", "x/invoke", "us.anthropic.claude/../../x",
)  # fmt: skip


def test_no_name_reaches_another_path() -> None:
    """Whatever is called is ``/model/<one segment>/<our operation>``, on the one host."""
    with RawUpstream(sending(GOOD)) as upstream, serving(upstream.url) as running:
        for name in NAMES:
            body = {"model": name, "messages": [{"role": "user", "content": "x"}], "stream": True}
            httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=20)
            httpx.post(f"{running.url}/v1/embeddings", json={"model": name, "input": "x"})
            quoted = httpx.URL(running.url).copy_with(raw_path=b"/v1/models/" + _quoted(name))
            httpx.get(quoted)
        for one in upstream.seen:
            if one.path.startswith("/model/"):
                assert re.fullmatch(r"/model/[A-Za-z0-9%._~-]+/(converse-stream|invoke)", one.path)
                segment = one.path.split("/")[2]
                assert segment not in ("..", ".")
                assert one.headers["host"] == urlsplit(upstream.url).netloc
            else:  # a listing, or the look-up of an ARN of Bedrock's: one segment of its own
                assert one.path.startswith(LISTINGS), one.path
                assert not re.search(r"\.\.|%2e%2e|evil|s3|lambda|iam|agent", one.path, re.I)


def _quoted(name: str) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in name.encode())


@pytest.mark.parametrize(
    "value", ["x\r\ny: 1", "x\ny", "\x85y", "\u2028", "a" * 5000, "${jndi:ldap://x}", "\x1b[2J"]
)
def test_no_header_ends_early(proxy: Tenants, value: str) -> None:
    """A model's name goes into a header and a log line; a tool's name into a note."""
    answer = proxy.ask("anna", model=f"us.amazon.{value}")
    assert "y" not in answer.headers
    answer = proxy.ask("anna", tools=[tool(value)], metadata={value[:20]: value})
    assert "y" not in answer.headers
    assert "\n" not in answer.headers.get("x-bedrock-proxy-notes", "")


def test_an_upstreams_error_is_masked(tmp_path: Path) -> None:
    message = (
        "User: arn:aws:sts::123456789012:assumed-role/prod-bedrock/i-0abc is not authorized to "
        "perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1:123456789012:"
        "application-inference-profile/abc123 at https://internal.vpce.example/x"
    )
    with tenants(tmp_path, {"a": {}}) as proxy:
        for stream in (True, False):
            proxy.simulator.script(
                Fault("error", error="AccessDeniedException", status=403, message=message,
                      model="claude")
            )  # fmt: skip
            told = proxy.ask("a", stream=stream)
            assert told.status_code == 403
            for secret in ("123456789012", "prod-bedrock", "i-0abc", "abc123"):
                assert secret not in told.text
            assert "not authorized" in told.text
            assert "bedrock:InvokeModel" in told.text


# ---- pages --------------------------------------------------------------------------------------


def test_no_page_tells_a_key_or_a_prompt(proxy: Tenants) -> None:
    for name in ("anna", "ben"):
        asked = {"user": f"user-{MARK}", "metadata": {"m": MARK}, "tools": [tool(f"t_{MARK}")]}
        proxy.ask(name, f"{MARK} tell me", **asked)
        proxy.ask(name, MARK, model=f"no.{MARK}")
        proxy.ask(name, MARK, stream=True)
    told = []
    for path in ("/metrics", "/healthz", "/readyz", "/v1/models?type=all", "/openapi.json"):
        page = proxy.get("ben", path)
        assert page.status_code in (200, 503)
        told.append(page.text + repr(page.headers))
    explained = proxy.post(
        "ben", "/v1/explain", {"model": SONNET, "messages": [{"role": "user", "content": "x"}]}
    )
    told.append(explained.text + repr(explained.headers))
    simulator = proxy.simulator
    for text in told:
        assert MARK not in text
        for secret in (*proxy.keys.values(), simulator.secret_key, simulator.access_key):
            assert secret not in text
            assert secret.removeprefix("bop_") not in text
    assert 'key="anna"' in told[0]  # the names are the operator's own words


def test_explain_shows_the_callers_own_request_only(proxy: Tenants) -> None:
    proxy.ask("anna", f"{MARK} of Anna")
    body = {"model": SONNET, "messages": [{"role": "user", "content": "mine"}]}
    told = proxy.post("ben", "/v1/explain", body).text
    assert "mine" in told
    assert MARK not in told
    for key in proxy.keys.values():
        assert key not in told


# ---- the way in ---------------------------------------------------------------------------------

PATHS = (
    "/v1/models", "/v1/models/", "//v1/models", "/v1//models", "/metrics", "/metrics/",
    "/healthz/../metrics", "/healthz/..%2fmetrics", "/healthz%2f..%2fmetrics", "/healthz/x",
    "/healthz;/metrics", "/./metrics", "/%6detrics", "/METRICS", "/openapi.json", "/v1/explain",
    "/readyz/../v1/models", "/nothing", "/", "", "*", "/v1/chat/completions", "/\\metrics",
    "/healthz/%2e%2e/metrics", "/metrics?x=/healthz", "/metrics#/healthz",
)  # fmt: skip


def raw(url: str, data: bytes) -> bytes:
    """What a socket gets for these bytes, until the other side closes or falls silent."""
    parts = urlsplit(url)
    got = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=3) as client:
        client.sendall(data)
        try:
            while part := client.recv(65536):
                got += part
        except TimeoutError:
            pass
    return got


@pytest.mark.parametrize("path", PATHS)
def test_no_spelling_of_a_path_passes_the_door(proxy: Tenants, path: str) -> None:
    request = b"GET %b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % path.encode()
    status = raw(proxy.url, request).split(b"\r\n", 1)[0]
    assert status.split(b" ")[1] in (b"401", b"400"), status


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://localhost/healthz/../metrics HTTP/1.1\r\nhost: localhost",
        b"GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost",
        b"GET /metrics HTTP/1.1\r\nhost: localhost/healthz",
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-forwarded-prefix: /healthz",
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-original-url: /healthz",
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-rewrite-url: /healthz",
        b"GET /metrics HTTP/1.0\r\nhost: x/healthz?",
        b"OPTIONS /metrics HTTP/1.1\r\nhost: localhost",
        b"CONNECT /metrics HTTP/1.1\r\nhost: localhost",
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic eDp5",
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer",
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer \r\napi-key: ",
    ],
)
def test_no_header_moves_the_path_either(proxy: Tenants, line: bytes) -> None:
    got = raw(proxy.url, line + b"\r\nconnection: close\r\n\r\n")
    assert got.split(b"\r\n", 1)[0].split(b" ")[1] in (b"401", b"400"), got[:200]


def test_two_requests_of_one_connection_are_two(proxy: Tenants) -> None:
    """Pipelined: each is answered by itself, in order, and judged by its own key."""
    key = proxy.keys["anna"].encode()

    def chat(text: bytes, shown: bytes) -> bytes:
        body = b'{"model":"%b","messages":[{"role":"user","content":"%b"}]}' % (
            SONNET.encode(), text,
        )  # fmt: skip
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (shown, len(body), body)
        )

    models = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n\r\n" % key
    got = raw(proxy.url, chat(b"first", key) + models + chat(b"third", b"wrong"))
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", got)
    assert statuses == [b"200", b"200", b"401"]
    assert got.index(b"chat.completion") < got.index(b'"object":"list"') < got.index(b"invalid_api")
    assert b"first" in got
    assert b"third" not in got


# ---- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"7", b'"x"', b"\xff\xfe", b'{"model":"\xff"}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"m","temperature":NaN,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","temperature":Infinity,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","temperature":1e999,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","max_tokens":1e400,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","max_tokens":99999999999999999999,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}]} trailing',
        b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","messages":[{"role":"user","content":"x","y":' + b'{"a":' * 50_000,
        b'{"model":"m","model":7,"messages":[]}',
        b'{"__proto__":{"x":1},"model":{},"messages":{}}',
    ],
    ids=range(19),
)  # fmt: skip
@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings", "explain"])
def test_a_hostile_body_is_a_400(proxy: Tenants, path: str, body: bytes) -> None:
    answer = httpx.post(
        f"{proxy.url}/v1/{path}", content=body, headers=proxy.headers("anna"), timeout=20
    )
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert len(answer.content) < 2000


def test_an_upstreams_raw_body_is_not_passed_on() -> None:
    """Bedrock's raw error body is not passed on: it may hold anything."""
    hostile = json_answer("500 x", b'{"message":"boom","stack":"/srv/secret.py"}')
    with RawUpstream(sending(hostile)) as upstream, serving(upstream.url) as running:
        body = {"model": SONNET, "messages": [{"role": "user", "content": "x"}]}
        told = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=30)
        assert told.status_code >= 500
        assert "secret.py" not in told.text


def test_others_go_on_while_a_large_body_is_read(proxy: Tenants) -> None:
    """A body near the limit is parsed off the loop: others go on meanwhile."""
    large = {"model": SONNET, "messages": [{"role": "user", "content": "x " * 4_000_000}]}

    async def run() -> float:
        async with httpx.AsyncClient(timeout=60, headers=proxy.headers("anna")) as client:
            slow = asyncio.create_task(
                client.post(f"{proxy.url}/v1/chat/completions", json={**large, "model": "no such"})
            )
            worst = 0.0
            while not slow.done():
                quick = await client.get(f"{proxy.url}/healthz")
                worst = max(worst, quick.elapsed.total_seconds())
            await slow
            return worst

    assert asyncio.run(run()) < 1.0
