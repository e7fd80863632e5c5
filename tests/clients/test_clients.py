"""Each client does what its users do, and what the README's row says is what it is given here."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients import (
    EMBEDDING,
    KEY,
    MODEL,
    SCRIPTS,
    Place,
    clean,
    drive,
    driven,
    node_env,
    python_env,
    told,
    versions,
)

pytestmark = pytest.mark.clients

ROWS = (
    "extra-openai-models.yaml", "createOpenAICompatible", "OpenAIChatModel(", "apiBase",
    "check_embedding_ctx_length=False", "supportsReasoningEffort",
)  # fmt: skip
HELLO = "Say hello in five words."
SAID = "Hello there from simulated Bedrock"
OSLO = {"name": "Oslo", "population": 1}


def python_client(place: Place, script: str, package: str, *extra: str, pinned: str) -> Any:
    environment = python_env(pinned, *extra)
    stdout = drive(
        [str(environment / "bin/python"), str(SCRIPTS / script), place.url, KEY, MODEL, EMBEDDING],
        clean(place.home, LITELLM_LOCAL_MODEL_COST_MAP="True"),
        place.home,
    )
    return told(stdout), versions(environment, package, "openai")


def node_client(place: Place, script: str, *packages: str) -> Any:
    node, folder = node_env(*packages)
    target = folder / script
    target.write_text((SCRIPTS / script).read_text())
    stdout = drive(
        [str(node / "node"), str(target), place.url, KEY, MODEL, EMBEDDING],
        clean(place.home, node),
        folder,
    )
    names = [package.rpartition("@")[0] for package in packages]
    return told(stdout), versions(folder, *names)


def check(heard: Any, *done: str) -> str:
    """The parts that scripts have in common; what was done, for the table."""
    assert heard["text"] == SAID
    if "after_tool" in heard:
        assert "4 degrees and rain" in heard["after_tool"]
        assert heard["tool"] in ("get_weather", ["Oslo"])
    if "structured" in heard:
        assert heard["structured"] == OSLO
    if "vectors" in heard:
        assert heard["vectors"] == [1024, 1024]
    if "legacy" in heard:
        assert heard["legacy"]
    assert heard["usage"] > 0
    return ", ".join(("stream", *done))


def test_openai_node(place: Place) -> None:
    heard, version = node_client(place, "openai_node.mjs", "openai@7.57.0")
    done = check(heard, "tools", "models", "embeddings", "completions")
    assert heard["folded"] == SAID
    assert heard["listed"] is True
    assert heard["refused"] == ["NotFoundError", "model_not_found"]
    driven.append(("openai-node", version, done))


def test_vercel_ai_sdk(place: Place) -> None:
    heard, version = node_client(
        place, "ai_sdk.mjs", "ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92"
    )
    assert heard["reasoning"]
    driven.append(
        ("Vercel AI SDK", version, check(heard, "tools", "object", "reasoning", "embeddings"))
    )


def test_langchain(place: Place) -> None:
    heard, version = python_client(
        place, "langchain_client.py", "langchain-openai", pinned="langchain-openai==1.7.4"
    )
    driven.append(
        ("LangChain", version, check(heard, "tools", "structured", "embeddings", "completions"))
    )


def test_litellm(place: Place) -> None:
    heard, version = python_client(place, "litellm_client.py", "litellm", pinned="litellm==1.110.2")
    assert heard["reasoning"]
    driven.append(
        ("LiteLLM", version, check(heard, "tools", "reasoning", "embeddings", "completions"))
    )


def test_pydantic_ai(place: Place) -> None:
    heard, version = python_client(
        place, "pydantic_ai_client.py", "pydantic-ai-slim",
        pinned="pydantic-ai-slim[openai]==2.68.0",
    )  # fmt: skip
    driven.append(("pydantic-ai", version, check(heard, "tools", "structured")))


def test_llm(place: Place) -> None:
    environment = python_env("llm==0.36")
    common = f"  model_name: {MODEL}\n  api_base: {place.url}\n  api_key_name: bedrock\n"
    (place.home / "extra-openai-models.yaml").write_text(
        f"- model_id: bedrock\n{common}  supports_tools: true\n  supports_schema: true\n"
        f"- model_id: bedrock-legacy\n{common}  completion: true\n"
    )
    variables = clean(place.home, LLM_USER_PATH=str(place.home), OPENAI_API_KEY=KEY)

    def llm(*arguments: str) -> str:
        command = [str(environment / "bin/llm"), "--key", KEY, *arguments]
        return drive(command, variables, place.home)

    weather = (
        'def get_weather(city: str) -> str:\n    "Look up the weather of a city"\n'
        '    return "4 degrees and rain"'
    )
    assert llm("-m", "bedrock", HELLO).strip() == SAID
    assert "4 degrees" in llm("-m", "bedrock", "--functions", weather, "Use get_weather for Oslo.")
    assert (
        json.loads(llm("-m", "bedrock", "--schema", "name, population int", "Tell of Oslo."))
        == OSLO
    )
    assert llm("-m", "bedrock-legacy", "Say hello.").strip()
    driven.append(
        ("llm", versions(environment, "llm", "openai"), "stream, tools, schema, completions")
    )


def test_aider(place: Place) -> None:
    environment = python_env("aider-chat==0.86.2")
    variables = clean(
        place.home, OPENAI_API_BASE=place.url, OPENAI_API_KEY=KEY,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )  # fmt: skip
    flags = (
        "--no-git", "--yes-always", "--no-check-update", "--no-analytics", "--no-pretty",
        "--no-show-model-warnings", "--edit-format", "ask",
    )  # fmt: skip
    command = [str(environment / "bin/aider"), "--model", f"openai/{MODEL}", *flags]
    stdout = drive([*command, "--message", HELLO], variables, place.home)
    assert "Tokens:" in stdout
    assert "litellm." not in stdout  # how it tells of errors
    driven.append(("aider", versions(environment, "aider-chat", "litellm"), "stream"))


def test_portkey_gateway(place: Place) -> None:
    """The gateway in front of us, as one provider of its own: a call and a stream through both.

    With the newest hono that npm takes for it, 1.15.2 breaks every stream that it passes through,
    whoever made it ("immutable"; seen with a server of six lines). So hono is that of its lock.
    """
    node, folder = node_env(
        "@portkey-ai/gateway@1.15.2", **{"@hono/node-server": "1.13.1", "hono": "4.9.7"}
    )
    port = "18787"
    start = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    variables = clean(place.home, node, TRUSTED_CUSTOM_HOSTS="127.0.0.1")
    with subprocess.Popen(
        [str(node / "node"), str(start), f"--port={port}", "--headless"],
        cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as gateway:  # fmt: skip
        try:
            answer = through_portkey(place, port, stream=False)
            streamed = through_portkey(place, port, stream=True)
        finally:
            os.killpg(gateway.pid, signal.SIGKILL)  # PyPI's node is a program that starts Node
            gateway.wait(15)
    assert answer.json()["choices"][0]["message"]["content"] == SAID
    assert streamed.text.rstrip().endswith("data: [DONE]")
    driven.append(("Portkey gateway", versions(folder, "@portkey-ai/gateway"), "whole, stream"))


def through_portkey(place: Place, port: str, *, stream: bool) -> httpx.Response:
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": place.url,
        "authorization": f"Bearer {KEY}",
    }
    body = {
        "model": MODEL, "stream": stream, "messages": [{"role": "user", "content": HELLO}],
    }  # fmt: skip
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    ends = time.monotonic() + 30
    while True:
        try:
            answer = httpx.post(url, json=body, headers=headers, timeout=30)
        except httpx.ConnectError:
            assert time.monotonic() < ends, "the gateway did not start"
            time.sleep(0.2)
            continue
        assert answer.status_code == 200, answer.text
        return answer


def test_continue(place: Place) -> None:
    node, folder = node_env("@continuedev/cli@1.5.47")
    config = place.home / "config.yaml"
    config.write_text(
        "name: Bedrock\nversion: 1.0.0\nschema: v1\nmodels:\n"
        f"  - name: Claude on Bedrock\n    provider: openai\n    model: {MODEL}\n"
        f"    apiBase: {place.url}\n    apiKey: {KEY}\n    roles: [chat, edit, apply]\n"
    )
    variables = clean(place.home, node, CONTINUE_TELEMETRY_ENABLED="0")
    program = folder / "node_modules/.bin/cn"
    stdout = drive(
        [str(node / "node"), str(program), "--config", str(config), "-p", HELLO],
        variables,
        place.home,
    )
    assert SAID in stdout
    driven.append(("Continue", versions(folder, "@continuedev/cli"), "stream, offers its tools"))


def test_openclaw(place: Place) -> None:
    node, folder = node_env("openclaw@2026.9.6")
    (place.home / "openclaw.json").write_text(json.dumps(openclaw_config(place)))
    variables = clean(
        place.home, node, OPENCLAW_STATE_DIR=str(place.home),
        OPENCLAW_CONFIG_PATH=str(place.home / "openclaw.json"),
    )  # fmt: skip
    program = folder / "node_modules/.bin/openclaw"
    flags = ("infer", "model", "run", "--local", "--model", f"bedrock/{MODEL}", "--prompt", HELLO)
    stdout = drive([str(node / "node"), str(program), *flags], variables, place.home)
    assert SAID in stdout
    driven.append(("OpenClaw", versions(folder, "openclaw"), "stream, its recommended row"))


def openclaw_config(place: Place) -> dict[str, Any]:
    model = {
        "id": MODEL, "name": "Claude Sonnet 4.5", "reasoning": True, "input": ["text", "image"],
        "contextWindow": 200_000, "maxTokens": 64_000,
        "compat": {
            "supportsReasoningEffort": True, "supportsUsageInStreaming": True,
            "thinkingFormat": "openrouter", "cacheControlFormat": "anthropic",
            "supportedReasoningEfforts": ["low", "medium", "high", "xhigh", "max"],
        },
    }  # fmt: skip
    provider = {
        "baseUrl": place.url, "apiKey": KEY, "api": "openai-completions", "models": [model],
    }  # fmt: skip
    return {
        "models": {"mode": "merge", "providers": {"bedrock": provider}},
        "agents": {"defaults": {"model": {"primary": f"bedrock/{MODEL}"}}},
    }


@pytest.mark.skip(reason="open-webui brings torch, several GB: its row in the README was not run")
def test_open_webui(place: Place) -> None:
    raise AssertionError("not driven")


def test_the_readme_s_rows_are_those_that_were_run() -> None:
    """A row that is not driven must say so."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    if "x-portkey-custom-host" not in readme:
        pytest.skip("the rows are not in the README yet")
    for word in ROWS:
        assert word in readme
