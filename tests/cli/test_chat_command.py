"""``chat`` and ``completion``: what they print where, and what they say when it fails."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.cli import command as program
from proxy.simulator import Simulator
from proxy.simulator.faults import Fault
from tests.support.commands import BARE, ROOT
from tests.support.running import Running, serving

NOVA = "us.amazon.nova-pro-v1:0"
NO_INSTANCE = {
    "AWS_EC2_METADATA_DISABLED": "false",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "1",
}
"""A machine that may be an instance with a role, and turns out to be none."""


def run(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments], cwd=ROOT, env=BARE | environment,
        input=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def proxy(simulator: Simulator) -> Iterator[Running]:
    with serving(
        simulator.url,
        access_key=simulator.access_key,
        secret_key=simulator.secret_key,
        environment={"BEDROCK_PROXY_API_KEY": "k-1"},
    ) as running:
        yield running


def test_the_answer_is_on_stdout_and_what_it_took_on_stderr() -> None:
    done = run("chat", "--demo", "Say hello in five words")
    assert done.returncode == 0
    assert done.stdout.startswith("Hello")
    assert re.search(
        r"first token \d\.\d\d s · total \d\.\d\d s · \d+ tokens in, \d+ out .*finish stop",
        done.stderr,
    )


def test_it_can_be_piped_into_and_printed_as_json() -> None:
    done = run("chat", "--demo", "--json", "--model", NOVA, given="Count to five.")
    told = json.loads(done.stdout)
    assert told["model"] == NOVA
    assert told["text"]
    assert 0 < told["time_to_first_token_seconds"] <= told["total_seconds"]
    assert told["usage"]["completion_tokens"] > 0
    assert told["finish_reason"] == "stop"


def test_straight_to_aws_with_the_settings_of_serve(simulator: Simulator) -> None:
    done = run(
        "chat", "hi", "--max-tokens", "40",
        AWS_ACCESS_KEY_ID=simulator.access_key, AWS_SECRET_ACCESS_KEY=simulator.secret_key,
        AWS_REGION=simulator.region, AWS_ENDPOINT_URL=simulator.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nova-lite" in done.stderr  # none was named: a cheap one that is listed
    assert simulator.requests[-1].body["inferenceConfig"]["maxTokens"] == 40


@pytest.mark.parametrize("tail", ["", "/", "/v1"])
def test_a_running_proxy(proxy: Running, tail: str) -> None:
    done = run(
        "chat", "--url", proxy.url + tail, "--model", NOVA, "--system", "Be brief.", "hi",
        BEDROCK_PROXY_API_KEY="k-1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.startswith(NOVA)


def test_on_a_terminal_the_answer_stands_below_what_was_thought() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", "chat", "--demo", "--effort", "low", "hi"],
        cwd=ROOT, env=BARE, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
    ):  # fmt: skip
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how Linux tells that nobody writes any more
            while data := os.read(ours, 4096):
                shown += data
        os.close(ours)
    assert re.search(rb"plainly\.(?:\x1b\[0m)?\r\n\r\nYou said", shown), shown


def test_reasoning_is_counted_as_a_first_token() -> None:
    done = run("chat", "--demo", "--json", "--effort", "high", "Which is larger?")
    told = json.loads(done.stdout)
    assert told["reasoning"]
    assert told["reasoning"] not in told["text"]


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--url", "{url}", "hi"], {}, ["401 invalid_api_key", "export BEDROCK_PROXY_API_KEY"]),
        (
            ["--url", "{url}", "--model", "us.amazon.nova-prow-v1:0", "hi"],
            {"BEDROCK_PROXY_API_KEY": "k-1"},
            ["404 model_not_found", "us.amazon.nova-pro-v1:0", "models list"],
        ),
        (["--url", "http://127.0.0.1:9", "hi"], {}, ["nothing listens at", "serve"]),
        (["--url", "{url}", "--demo", "hi"], {}, ["exclude each other"]),
        (["hi"], {}, ["AWS_BEARER_TOKEN_BEDROCK", "demo"]),
        (["hi"], NO_INSTANCE, ["No AWS credentials were found", "demo"]),
        (["--demo"], {}, ["a prompt is missing"]),
        (["--demo", "--effort", "colossal", "hi"], {}, ["400 invalid_value", "reasoning_effort"]),
    ],
)
def test_a_failure_says_what_and_what_next(
    proxy: Running, arguments: list[str], variables: dict[str, str], words: list[str]
) -> None:
    done = run("chat", *(word.format(url=proxy.url) for word in arguments), **variables)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_a_listing_without_credentials_says_how_to_get_some() -> None:
    done = run("models", "list", **NO_INSTANCE)
    assert (done.returncode, done.stdout) == (2, "")
    assert "aws configure" in done.stderr
    assert "ListFoundationModels" not in done.stderr


def test_a_failure_in_mid_stream_is_no_success(simulator: Simulator, proxy: Running) -> None:
    simulator.script(Fault("exception", error="internalServerException", after=4))
    done = run("chat", "--url", proxy.url, "--model", NOVA, "Say hello in twenty words.",
               BEDROCK_PROXY_API_KEY="k-1")  # fmt: skip
    assert done.returncode == 2
    assert "in the stream" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_for_each_shell(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_BEDROCK_OPENAI_PROXY_COMPLETE" in done.stdout
    assert f"{shell}_complete" in done.stdout
    assert ("compinit" in done.stdout) == (shell == "zsh")
    if shutil.which(shell):
        check = [shell, "--no-execute"] if shell == "fish" else [shell, "-n"]
        subprocess.run(check, input=done.stdout, text=True, check=True)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_zsh_takes_it_where_nothing_has_started_completion(tmp_path: Path) -> None:
    """As a ``.zshrc`` that holds nothing else: macOS's is empty."""
    (tmp_path / ".zshrc").write_text(run("completion", "zsh").stdout)
    done = subprocess.run(
        ["zsh", "-i", "-c", "echo $_comps[bedrock-openai-proxy]"],
        env={"PATH": BARE["PATH"], "HOME": str(tmp_path)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "command not found" not in done.stderr
    assert done.stdout.split() == ["_bedrock_openai_proxy_completion"]


def test_a_shell_is_told_what_fits() -> None:
    """The variable in the script is the one that click listens to under the installed name."""
    asked = {"COMP_WORDS": "bedrock-openai-proxy se", "COMP_CWORD": "1"}
    name = "_BEDROCK_OPENAI_PROXY_COMPLETE"
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'bedrock-openai-proxy'\n"
         "from proxy.__main__ import main; main()"],
        cwd=ROOT, env=BARE | asked | {name: "bash_complete"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,serve"]


def test_both_are_listed() -> None:
    assert {"chat", "completion"} <= set(program.list_commands(None))  # type: ignore[attr-defined,arg-type]
