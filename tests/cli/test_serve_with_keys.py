"""Keys and limits as an operator meets them: the command line, a running proxy, a changed file."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from proxy.simulator import Simulator
from tests.support.running import wait_until

ROOT = Path(__file__).parents[2]
QUESTION = {
    "model": "us.amazon.nova-pro-v1:0", "messages": [{"role": "user", "content": "Hello"}],
}  # fmt: skip
BARE = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "x",
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT, env=BARE | environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@contextmanager
def started(
    *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """A running ``serve``, its URL, and what it said before it listened."""
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", "serve", "--port", "0", *arguments],
        cwd=ROOT, env=BARE | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said: list[str] = []
        url = None
        try:
            while url is None:
                said.append(process.stdout.readline())
                assert said[-1], "".join(said)
                url = re.search(r"listening on (http://\S+)", said[-1])
            yield process, url[1], said
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait(15)


def status(url: str, key: str | None) -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    asked = httpx.post(f"{url}/v1/chat/completions", json=QUESTION, headers=headers, timeout=20)
    return asked.status_code


def test_keys_come_and_go_while_it_runs(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.toml")
    one = run("keys", "create", "one", "--file", file).stdout.strip()
    with Simulator() as simulator:
        surroundings = {
            "AWS_ENDPOINT_URL": simulator.url,
            "AWS_ACCESS_KEY_ID": simulator.access_key,
            "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
            "BEDROCK_PROXY_KEYS": file,
        }
        with started(**surroundings) as (process, url, said):
            assert any("limits are counted per process, in memory" in line for line in said)
            assert (status(url, one), status(url, None), status(url, "x")) == (200, 401, 401)
            two = run("keys", "create", "two", "--file", file).stdout.strip()
            wait_until(lambda: status(url, two) == 200, within=10)
            assert run("keys", "revoke", "one", "--file", file).returncode == 0
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: status(url, one) == 401)
            Path(file).write_text("keys = 7\n")  # a slip locks nobody out, and lets nobody in
            process.send_signal(signal.SIGHUP)
            assert (status(url, two), status(url, one)) == (200, 401)


def test_a_keys_file_that_cannot_be_used_is_a_reason_not_to_start(tmp_path: Path) -> None:
    absent = run("serve", "--port", "0", "--keys", str(tmp_path / "none.toml"))
    assert absent.returncode == 2
    assert "No such file" in absent.stderr
    assert "keys create" in absent.stderr
    broken = tmp_path / "keys.toml"
    broken.write_text('[keys.a]\nhash = "md5:1"\n')
    refused = run("serve", "--port", "0", "--workers", "2", "--no-memory", "--keys", str(broken))
    assert refused.returncode == 2
    assert "[keys.a]" in refused.stderr
    assert "Traceback" not in absent.stderr + refused.stderr


def test_a_keys_file_opens_the_host_to_others(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.toml")
    run("keys", "create", "one", "--file", file)
    with started("--host", "0.0.0.0", "--keys", file, "--requests-per-minute", "5"):
        pass


def test_where_limits_are_counted_is_told() -> None:
    with started("--max-concurrent", "5") as (_, _, said):
        assert any("limits are counted per process, in memory" in line for line in said)
    with started() as (_, _, said):
        assert not any("limits" in line for line in said)
