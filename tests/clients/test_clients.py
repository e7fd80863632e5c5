"""Each client does what its users do, and what the README's row says is what it is given here."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import (
    EMBEDDING,
    KEY,
    MODEL,
    NEAREST,
    SCRIPTS,
    UNKNOWN,
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

HELLO = "Say hello in five words."
SAID = "Hello there from simulated Bedrock"
OSLO = {"name": "Oslo", "population": 1}


def python_client(
    place: Place, script: str, package: str, *, pinned: str, only: bool = False
) -> Any:
    """What the script told, and the versions: of the package, and of the openai SDK below it."""
    environment = python_env(pinned)
    stdout = drive(
        [str(environment / "bin/python"), str(SCRIPTS / script), place.url, KEY, MODEL, EMBEDDING],
        clean(place.home, LITELLM_LOCAL_MODEL_COST_MAP="True"),
        place.home,
    )
    return told(stdout), versions(environment, package, *(() if only else ("openai",)))


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
    if "reasoning" in heard:
        assert heard["reasoning"]
    name, code, message = heard["refused"]
    assert "Error" in name
    assert code in (404, "model_not_found")
    assert NEAREST in message
    assert heard["usage"] > 0
    return ", ".join(("stream", *done, "refusal"))


def test_openai_python(place: Place) -> None:
    """What the default suite drives in our own environment, in one of a user's."""
    heard, version = python_client(
        place, "openai_python.py", "openai", only=True, pinned="openai==3.57.0"
    )
    done = check(heard, "tools", "reasoning", "embeddings", "completions")
    driven.append(("openai-python", version, done))


def test_openai_node(place: Place) -> None:
    heard, version = node_client(place, "openai_node.mjs", "openai@7.57.0")
    done = check(heard, "tools", "reasoning", "models", "embeddings", "completions")
    assert heard["folded"] == SAID
    assert heard["listed"] is True
    assert heard["refused"][:2] == ["NotFoundError", "model_not_found"]
    driven.append(("openai-node", version, done))


def test_vercel_ai_sdk(place: Place) -> None:
    heard, version = node_client(
        place, "ai_sdk.mjs", "ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92"
    )
    driven.append(
        ("Vercel AI SDK", version, check(heard, "tools", "object", "reasoning", "embeddings"))
    )


def test_langchain(place: Place) -> None:
    heard, version = python_client(
        place, "langchain_client.py", "langchain-openai", pinned="langchain-openai==1.7.4"
    )
    assert heard["notes"] == "reasoning:restored"  # it drops what the model thought
    done = check(heard, "tools", "thinking tools", "structured", "embeddings", "completions")
    driven.append(("LangChain", version, done))


def test_litellm(place: Place) -> None:
    heard, version = python_client(place, "litellm_client.py", "litellm", pinned="litellm==1.110.2")
    driven.append(
        ("LiteLLM", version, check(heard, "tools", "reasoning", "embeddings", "completions"))
    )


def test_pydantic_ai(place: Place) -> None:
    heard, version = python_client(
        place, "pydantic_ai_client.py", "pydantic-ai-slim",
        pinned="pydantic-ai-slim[openai]==2.68.0",
    )  # fmt: skip
    driven.append(("pydantic-ai", version, check(heard, "tools", "reasoning", "structured")))


def test_llm(place: Place) -> None:
    environment = python_env("llm==0.36")
    common = f"  model_name: {MODEL}\n  api_base: {place.url}\n  api_key_name: bedrock\n"
    (place.home / "extra-openai-models.yaml").write_text(
        f"- model_id: bedrock\n{common}"
        "  supports_tools: true\n  supports_schema: true\n  reasoning: true\n"
        f"- model_id: bedrock-legacy\n{common}  completion: true\n"
        f"- model_id: unknown\n{common.replace(MODEL, UNKNOWN)}"
    )
    variables = clean(place.home, LLM_USER_PATH=str(place.home), OPENAI_API_KEY=KEY)

    def llm(*arguments: str, fails: bool = False) -> str:
        command = [str(environment / "bin/llm"), "--key", KEY, *arguments]
        return drive(command, variables, place.home, fails=fails)

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
    assert llm("-m", "bedrock", "-o", "reasoning_effort", "low", HELLO).strip() == SAID
    assert llm("-m", "bedrock-legacy", "Say hello.").strip()
    assert NEAREST in llm("-m", "unknown", HELLO, fails=True)
    done = "stream, tools, schema, effort, completions, refusal"
    driven.append(("llm", versions(environment, "llm", "openai"), done))


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
    effort = ("--reasoning-effort", "low", "--no-check-model-accepts-settings")

    def aider(model: str, *more: str) -> str:
        command = [str(environment / "bin/aider"), "--model", f"openai/{model}", *flags, *more]
        return drive([*command, "--message", HELLO], variables, place.home)

    plain, thought, refused = aider(MODEL), aider(MODEL, *effort), aider(UNKNOWN)
    assert "Tokens:" in plain
    assert "litellm." not in plain  # how it tells of errors
    assert "THINKING" in thought
    assert SAID in thought
    assert "litellm.NotFoundError" in refused
    assert NEAREST in refused
    done = "stream, reasoning, refusal"
    driven.append(("aider", versions(environment, "aider-chat", "litellm"), done))


def test_continue(place: Place) -> None:
    node, folder = node_env("@continuedev/cli@1.5.47")
    config = place.home / "config.yaml"
    config.write_text(
        "name: Bedrock\nversion: 1.0.0\nschema: v1\nmodels:\n"
        f"  - name: Claude on Bedrock\n    provider: openai\n    model: {MODEL}\n"
        f"    apiBase: {place.url}\n    apiKey: {KEY}\n    roles: [chat, edit, apply]\n"
    )
    other = place.home / "other.yaml"
    other.write_text(config.read_text().replace(MODEL, UNKNOWN))
    variables = clean(place.home, node, CONTINUE_TELEMETRY_ENABLED="0")
    program = [str(node / "node"), str(folder / "node_modules/.bin/cn"), "--config"]

    def cn(file: Path, *words: str, fails: bool = False) -> str:
        return drive([*program, str(file), *words], variables, place.home, fails=fails)

    assert SAID in cn(config, "-p", HELLO)
    looped = cn(config, "--allow", "Read", "-p", "Use Read once.")
    assert "Read returned" in looped  # of a file that is not there, and it is told so
    assert NEAREST in cn(other, "-p", HELLO, fails=True)
    done = "stream, its own tool, refusal"
    driven.append(("Continue", versions(folder, "@continuedev/cli"), done))


def test_openclaw(place: Place) -> None:
    node, folder = node_env("openclaw@2026.9.6")
    (place.home / "openclaw.json").write_text(json.dumps(openclaw_config(place)))
    variables = clean(
        place.home, node, OPENCLAW_STATE_DIR=str(place.home),
        OPENCLAW_CONFIG_PATH=str(place.home / "openclaw.json"),
    )  # fmt: skip
    program = [str(node / "node"), str(folder / "node_modules/.bin/openclaw")]
    infer = [*program, "infer", "model", "run", "--local", "--prompt", HELLO, "--model"]
    agent = [*program, "agent", "exec", "--thinking", "low", "--json", "Use read once."]
    assert SAID in drive([*infer, f"bedrock/{MODEL}"], variables, place.home)
    assert NEAREST in drive([*infer, f"bedrock/{UNKNOWN}"], variables, place.home, fails=True)
    turn = json.loads(drive(agent, variables, place.home))
    assert "read returned" in turn["final"]
    assert turn["toolSummary"]["tools"] == ["read"]
    assert turn["usage"]["cacheRead"] > 0  # the second request finds what the first one wrote
    done = "its recommended row: stream, an agent's tool with thinking, cache, refusal"
    driven.append(("OpenClaw", versions(folder, "openclaw"), done))


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
        "baseUrl": place.url, "apiKey": KEY, "api": "openai-completions",
        "models": [model, {**model, "id": UNKNOWN}],
    }  # fmt: skip
    return {
        "models": {"mode": "merge", "providers": {"bedrock": provider}},
        "agents": {"defaults": {"model": {"primary": f"bedrock/{MODEL}"}}},
        # The simulator calls every tool that a prompt names: no command of its making is to run.
        "tools": {"deny": ["exec", "process"]},
    }
