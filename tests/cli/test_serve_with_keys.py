"""Keys and limits as an operator meets them: the command line, a running proxy, a changed file."""

import signal
from pathlib import Path

import httpx

from proxy.simulator import Simulator
from tests.support.commands import KEYS, heard, run, started
from tests.support.running import wait_until

QUESTION = {
    "model": "us.amazon.nova-pro-v1:0", "messages": [{"role": "user", "content": "Hello"}],
}  # fmt: skip
SERVE = ("serve", "--port", "0")


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
        with heard(*SERVE, **surroundings) as (process, url, said):
            assert "limits are counted per process, in memory" in said
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
    absent = run(*SERVE, "--keys", str(tmp_path / "none.toml"), **KEYS)
    assert absent.returncode == 2
    assert "No such file" in absent.stderr
    assert "keys create" in absent.stderr
    broken = tmp_path / "keys.toml"
    broken.write_text('[keys.a]\nhash = "md5:1"\n')
    refused = run(*SERVE, "--workers", "2", "--no-memory", "--keys", str(broken), **KEYS)
    assert refused.returncode == 2
    assert "[keys.a]" in refused.stderr
    assert "Traceback" not in absent.stderr + refused.stderr


def test_a_keys_file_opens_the_host_to_others(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.toml")
    run("keys", "create", "one", "--file", file)
    limits = ("--requests-per-minute", "5")
    with started(*SERVE, "--host", "0.0.0.0", "--keys", file, *limits, **KEYS):
        pass


def test_where_limits_are_counted_is_told() -> None:
    with heard(*SERVE, "--max-concurrent", "5", **KEYS) as (_, _, said):
        assert "limits are counted per process, in memory" in said
    with heard(*SERVE, **KEYS) as (_, _, said):
        assert "limits" not in said
