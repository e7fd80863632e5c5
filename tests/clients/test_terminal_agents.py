"""Coding agents of the terminal: a prompt, a read-only tool that thinks, and a refusal.

The simulator calls every tool that a prompt names, so only tools that read are named, and what
asks before it writes is not answered.
"""

import json

import pytest

from tests.support.clients import (
    KEY,
    MODEL,
    NEAREST,
    UNKNOWN,
    Place,
    clean,
    drive,
    driven,
    node_env,
    versions,
)

pytestmark = pytest.mark.clients

HELLO = "Say hello in five words."
SAID = "Hello there from simulated Bedrock"
THOUGHT = "Step 1 of my thinking"


def test_opencode(place: Place) -> None:
    node, folder = node_env("opencode-ai@1.18.33")
    model = {"name": "Claude", "reasoning": True, "limit": {"context": 200_000, "output": 64_000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible", "name": "Bedrock",
        "options": {"baseURL": place.url, "apiKey": KEY}, "models": {MODEL: model, UNKNOWN: model},
    }  # fmt: skip
    config = {
        "provider": {"bedrock": provider}, "model": f"bedrock/{MODEL}",
        "small_model": f"bedrock/{MODEL}", "autoupdate": False, "share": "disabled",
        "permission": {"edit": "deny", "bash": "deny"},
    }  # fmt: skip
    (place.home / "opencode.json").write_text(json.dumps(config))
    variables = clean(place.home, node, OPENCODE_DISABLE_MODELS_FETCH="1")
    # Its own link is set by an install script, which is not run here. The longest name is the
    # build for every CPU of this kind (opencode-linux-x64-baseline).
    builds = (folder / "node_modules").glob("opencode-*/bin/opencode")
    program = [max(map(str, builds), key=len), "run"]

    def run(*words: str, fails: bool = False) -> str:
        return drive([*program, *words], variables, place.home, fails=fails)

    assert SAID in run(HELLO)
    turn = run("--format", "json", "--thinking", "--variant", "high", "Use read once.")
    parts = [json.loads(line).get("part", {}) for line in turn.splitlines() if line[:1] == "{"]
    texts = [part["text"] for part in parts if "text" in part]
    assert sum(THOUGHT in text for text in texts) == 2  # before its call and after the result
    assert "read returned" in texts[-1]
    assert NEAREST in run("-m", f"bedrock/{UNKNOWN}", HELLO, fails=True)
    done = "stream, its own tool with thinking, refusal"
    driven.append(("OpenCode", versions(folder, "opencode-ai"), done))


def test_qwen_code(place: Place) -> None:
    node, folder = node_env("@qwen-code/qwen-code@0.15.10")
    variables = clean(place.home, node, OPENAI_BASE_URL=place.url, OPENAI_API_KEY=KEY)
    program = [str(node / "node"), str(folder / "node_modules/.bin/qwen"), "--auth-type", "openai"]

    def qwen(model: str, prompt: str, *, fails: bool = False) -> str:
        chosen = {**variables, "OPENAI_MODEL": model}
        return drive([*program, "-p", prompt], chosen, place.home, fails=fails)

    assert SAID in qwen(MODEL, HELLO)
    assert "list_directory returned" in qwen(MODEL, "Use list_directory once.")
    assert NEAREST in qwen(UNKNOWN, HELLO, fails=True)
    done = "stream, its own tool, refusal"
    driven.append(("Qwen Code", versions(folder, "@qwen-code/qwen-code"), done))


def test_cline(place: Place) -> None:
    node, folder = node_env("cline@3.0.65")
    variables = clean(place.home, node)
    program = [str(folder / "node_modules/.bin/cline")]
    asking = [*program, "--plan", "-P", "openai"]
    place_of_it = ["auth", "-p", "openai", "-k", KEY, "-m", MODEL, "-b", place.url]
    drive([*program, *place_of_it], variables, place.home)
    assert SAID in drive([*asking, HELLO], variables, place.home)
    file = place.home / "note.txt"
    file.write_text("ospreys\n")
    looped = drive(
        [*asking, "--thinking", "low", f'Use read_files once with paths="{file}"'],
        variables, place.home,
    )  # fmt: skip
    assert THOUGHT.split()[-1] in looped
    assert "read_files returned" in looped
    assert NEAREST in drive([*asking, "-m", UNKNOWN, HELLO], variables, place.home, fails=True)
    done = "stream, its own tool with thinking, refusal"
    driven.append(("Cline (CLI)", versions(folder, "cline"), done))
