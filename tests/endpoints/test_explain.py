"""The dry run, over HTTP and on the command line: what a call would send, and nothing is sent."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from proxy.endpoints.explain import cache_points
from proxy.simulator import Simulator
from tests.support.running import Running, serving

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BARE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
TOOL = {"type": "function", "function": {"name": "look.up", "parameters": {"type": "object"}}}
QUESTION: dict[str, Any] = {
    "model": BARE,
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", **MARK}]},
        {"role": "user", "content": "Use look.up."},
    ],
    "tools": [TOOL],
    "temperature": 1.5,
    "reasoning_effort": "low",
    "stream": True,
}


@pytest.fixture(scope="module")
def proxy(simulator: Simulator) -> Iterator[Running]:
    with serving(
        simulator.url,
        access_key=simulator.access_key,
        secret_key=simulator.secret_key,
        settings={"explain": True, "max_body_mb": 0.1},
    ) as running:
        yield running


def calls(simulator: Simulator) -> list[Any]:
    return [one for one in simulator.requests if one.operation.startswith("Converse")]


def explain(proxy: Running, body: Any, path: str = "/v1/explain") -> httpx.Response:
    return httpx.post(f"{proxy.url}{path}", json=body, timeout=20)


def test_it_shows_exactly_what_a_call_then_sends(simulator: Simulator, proxy: Running) -> None:
    told = explain(proxy, QUESTION).json()
    assert calls(simulator) == []
    answer = httpx.post(f"{proxy.url}/v1/chat/completions", json=QUESTION, timeout=20)
    [call] = calls(simulator)
    assert told["body"] == call.body
    assert told["url"].endswith(call.path)
    assert told["operation"] == call.operation == "ConverseStream"
    assert ",".join(told["notes"]) == answer.headers["x-bedrock-proxy-notes"]
    assert told["model"] == {
        "asked": BARE, "called": SONNET, "foundation": BARE, "family": "claude",
    }  # fmt: skip
    assert told["region"] == "us-east-1"
    assert told["cache_points"] == [{"at": "system[1]", "ttl": "1h"}]
    assert (told["calls"], told["learned"]) == (1, None)


def test_reasoning_that_would_be_put_back_is_in_it(simulator: Simulator, proxy: Running) -> None:
    question = {**QUESTION, "stream": False, "messages": QUESTION["messages"][1:]}
    message = httpx.post(f"{proxy.url}/v1/chat/completions", json=question, timeout=20).json()
    [call] = message["choices"][0]["message"]["tool_calls"]
    history = [
        *question["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "4"},
    ]
    told = explain(proxy, {**question, "messages": history}).json()
    assert "reasoning:restored" in told["notes"]
    assert "reasoningContent" in told["body"]["messages"][1]["content"][0]


def test_faults_are_those_of_the_request_itself(proxy: Running) -> None:
    refused = explain(proxy, {"model": SONNET, "messages": [{"role": "user", "content": 7}]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "messages[0].content"
    broken = httpx.post(f"{proxy.url}/v1/explain", content=b"{", timeout=20)
    assert broken.status_code == 400
    large = httpx.post(f"{proxy.url}/v1/explain", content=bytes(200_000), timeout=20)
    assert large.status_code == 413
    unknown = explain(proxy, {**QUESTION, "model": "no such model"})
    assert unknown.status_code == 404


def test_it_is_off_unless_enabled(simulator: Simulator) -> None:
    with serving(simulator.url, access_key=simulator.access_key,
                 secret_key=simulator.secret_key) as running:  # fmt: skip
        assert explain(running, QUESTION).status_code == 404


def test_cache_points_are_listed_in_the_order_of_the_cache() -> None:
    point, hour = {"cachePoint": {"type": "default"}}, {"cachePoint": {"ttl": "1h"}}
    body = {
        "toolConfig": {"tools": [{}, hour]},
        "system": [{"text": "a"}, hour],
        "messages": [{"role": "user", "content": [{"text": "b"}, point, {"text": "c"}, point]}],
    }
    assert cache_points(body) == [
        {"at": "toolConfig.tools[1]", "ttl": "1h"},
        {"at": "system[1]", "ttl": "1h"},
        {"at": "messages[0].content[1]", "ttl": "5m"},
        {"at": "messages[0].content[3]", "ttl": "5m"},
    ]


def command(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """In an environment without credentials: none are needed."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", "explain", *arguments],
        input=stdin, capture_output=True, timeout=60, check=False,
        cwd=Path(__file__).parents[2], env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip


def test_on_the_command_line(tmp_path: Path, proxy: Running) -> None:
    file = tmp_path / "request.json"
    file.write_bytes(orjson.dumps(QUESTION))
    ended = command(str(file))
    assert ended.returncode == 0, ended.stderr
    told = orjson.loads(ended.stdout)
    served = explain(proxy, QUESTION).json()
    served["url"] = told["url"]  # there it is the simulator's
    assert told == served
    assert told["url"].startswith("https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anth")


def test_on_the_command_line_for_another_model_and_from_a_pipe() -> None:
    ended = command("-", "--model", "openai.gpt-oss-120b-1:0", "--region", "eu-central-1",
                    stdin=orjson.dumps(QUESTION))  # fmt: skip
    told = orjson.loads(ended.stdout)
    assert told["model"]["family"] == "gpt-oss"
    assert told["region"] == "eu-central-1"
    assert told["body"]["additionalModelRequestFields"] == {"reasoning_effort": "low"}


def test_on_the_command_line_a_fault_is_one_line() -> None:
    ended = command("-", stdin=b'{"model": "amazon.nova-lite-v1:0", "messages": []}')
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith("Error: It would be answered with 400 (messages): ")
    assert b"Traceback" not in ended.stderr
