"""The command line as its users meet it: in a process of its own, with their mistakes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest

from proxy.cli.workers import _Supervisor
from proxy.simulator import Simulator
from tests.support.commands import BARE, KEYS, ROOT, alive, run, started
from tests.support.running import wait_until


def test_the_bare_command_prints_help() -> None:
    done = run()
    assert done.returncode == 0
    assert "demo" in done.stdout
    assert "serve" in done.stdout


def test_a_misspelt_command_is_told_what_was_meant() -> None:
    done = run("serv")
    assert done.returncode == 2
    assert "Did you mean 'serve'?" in done.stderr


def test_without_dependencies_the_set_up_is_printed(tmp_path: Path) -> None:
    """An interpreter that finds none of them, as in a fresh clone."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "proxy", "demo"],
        cwd=ROOT, env={"PATH": BARE["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^  (python3 -m venv .*)$", done.stderr, re.MULTILINE)
    assert command in readme


def test_serve_without_any_credentials_exits_with_the_fix() -> None:
    done = run("serve", "--port", "0")
    assert done.returncode == 2
    assert "AWS_BEARER_TOKEN_BEDROCK" in done.stderr
    assert "bedrock-openai-proxy demo" in done.stderr


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("doctor",)])
def test_a_bedrock_key_with_a_line_end_in_it_names_its_variable(command: tuple[str, ...]) -> None:
    done = run(*command, AWS_BEARER_TOKEN_BEDROCK="ABSKone\r\ntwo")
    assert "AWS_BEARER_TOKEN_BEDROCK" in done.stderr + done.stdout
    assert "line break" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert "ABSK" not in done.stderr + done.stdout
    assert done.returncode in (1, 2)


@pytest.mark.parametrize("flags", [("--host", "0.0.0.0"), ("--host", "::")])
def test_an_open_door_needs_a_key(flags: tuple[str, ...]) -> None:
    done = run("serve", *flags, **KEYS)
    assert done.returncode == 2
    assert "BEDROCK_PROXY_API_KEY" in done.stderr
    assert "--no-auth" in done.stderr


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["::", "[::]", "0::0"])
def test_both_protocols_are_heard(host: str, workers: str) -> None:
    flags = ("--host", host, "--no-auth", "--port", "0", "--workers", workers, "--no-memory")
    with started("serve", *flags, **KEYS) as (_, url):
        assert url.startswith("http://[::]:")
        port = url.rsplit(":", 1)[1]
        for one in ("127.0.0.1", "[::1]"):
            wait_until(lambda at=f"http://{one}:{port}": alive(at), within=10)  # type: ignore[misc]
        doctor = run("doctor", "--no-calls", "--host", host, "--port", port, "--no-auth", **KEYS)
        assert f"a proxy is running on [{host.strip('[]')}]:{port}" in doctor.stdout


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_shown_in_brackets(host: str) -> None:
    with started("serve", "--host", host, "--port", "0", **KEYS) as (_, url):
        assert url.startswith("http://[::1]:")
        assert alive(url)
        port = url.rsplit(":", 1)[1]
        taken = run("serve", "--host", host, "--port", port, **KEYS)
        assert f"[::1]:{port} cannot be listened on" in taken.stderr


def test_a_key_that_is_set_but_empty_is_no_key() -> None:
    done = run("serve", "--port", "0", **KEYS, BEDROCK_PROXY_API_KEY="")
    assert done.returncode == 2
    assert "set but empty" in done.stderr


def test_a_wrong_setting_names_its_flag() -> None:
    done = run("serve", "--grace", "soon", **KEYS)
    assert done.returncode == 2
    assert "--grace: must be a number" in done.stderr


@pytest.mark.parametrize("slip", ["eu-west-1", "EU", "us.", "europe"])
def test_what_can_be_no_geography_is_refused(slip: str) -> None:
    """It would forbid every profile, and say so in no word."""
    done = run("serve", "--port", "0", **KEYS, BEDROCK_PROXY_GEOGRAPHIES=f"us,{slip}")
    assert done.returncode == 2
    assert f"geographies: '{slip}'" in done.stderr
    assert "known are us-gov, us, ca, eu," in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--port", str(taken.getsockname()[1]), **KEYS)
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoint_that_is_none_is_told() -> None:
    done = run("serve", "--port", "0", **KEYS, AWS_ENDPOINT_URL_BEDROCK_RUNTIME="nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_serve_says_where_it_gets_credentials_and_waits_for_a_slow_upstream() -> None:
    with started("serve", "--port", "0", **KEYS, AWS_ENDPOINT_URL="http://127.0.0.1:9") as (_, url):
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            json={"model": "x.y", "messages": [{"role": "user", "content": "x"}]},
        )
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"


def test_a_failing_source_means_not_ready_and_a_clear_503() -> None:
    source = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/none"}
    with started("serve", "--port", "0", **source) as (_, url):
        assert httpx.get(f"{url}/readyz").status_code == 503
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            json={"model": "x.y", "messages": [{"role": "user", "content": "x"}]},
            timeout=30,
        )
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "upstream_credentials"
        assert answer.headers["retry-after"]


@pytest.mark.parametrize("key", [None, "sk-demo"])
def test_the_demos_curl_line_works_when_pasted(key: str | None) -> None:
    environment = {"BEDROCK_PROXY_API_KEY": key} if key else {}
    arguments = [sys.executable, "-m", "proxy", "demo", "--port", "0", "--pace", "0"]
    with subprocess.Popen(
        arguments, cwd=ROOT, env=BARE | environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        text = ""
        while "flush=True" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        curl = text[text.index("curl -N") : text.index("}'") + 2]
        done = subprocess.run(
            ["bash", "-c", curl],
            env=BARE | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(15) in (0, 130, -2)
        assert "AWS credentials" not in process.stderr.read()  # the user has none here
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_models_are_listed_without_a_server() -> None:
    with Simulator() as simulator:
        environment = {
            "AWS_ACCESS_KEY_ID": simulator.access_key,
            "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
            "AWS_ENDPOINT_URL": simulator.url,
        }
        table = run("models", "list", **environment)
        listed = run("models", "list", "--json", "--provider-filter", "amazon", **environment)
    assert table.returncode == 0
    assert re.search(r"^us\.amazon\.nova-pro-v1:0 +300000 ", table.stdout, re.MULTILINE)
    ids = [model["id"] for model in orjson.loads(listed.stdout)["data"]]
    assert "us.amazon.nova-pro-v1:0" in ids
    assert not [one for one in ids if "anthropic" in one]


def test_models_that_cannot_be_listed_are_an_error() -> None:
    done = run("models", "list", **KEYS, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "bedrock:ListFoundationModels" in done.stderr


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("models", "list")])
def test_a_variable_that_cannot_be_followed_is_named(command: tuple[str, ...]) -> None:
    done = run(*command, **KEYS, AWS_CA_BUNDLE="/nowhere.pem")
    assert done.returncode == 2
    assert "AWS_CA_BUNDLE: /nowhere.pem: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_that_could_not_remember_together_are_refused() -> None:
    done = run("serve", "--port", "0", "--workers", "2", **KEYS)
    assert done.returncode == 2
    assert "BEDROCK_PROXY_VALKEY_URL" in done.stderr
    assert "--no-memory" in done.stderr
    url = {"BEDROCK_PROXY_VALKEY_URL": "redis://127.0.0.1:9"}
    for key in ({}, {"BEDROCK_PROXY_VALKEY_KEY": "short"}):
        done = run("serve", "--port", "0", **KEYS, **url, **key)
        assert done.returncode == 2
        assert "openssl rand -hex 32" in done.stderr


def test_sighup_reads_the_aliases_again(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('[aliases]\nsmall = "us.amazon.nova-micro-v1:0"\n')

    def called(url: str, name: str) -> str | None:
        body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20)
        return answer.headers.get("x-bedrock-proxy-model") if answer.status_code == 200 else None

    with Simulator() as simulator:
        environment = {
            "AWS_ACCESS_KEY_ID": simulator.access_key,
            "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
            "AWS_ENDPOINT_URL": simulator.url,
        }
        with started("serve", "--port", "0", "--config", str(file), **environment) as (
            process,
            url,
        ):
            assert called(url, "small") == "us.amazon.nova-micro-v1:0"
            file.write_text('[aliases]\nsmall = "us.amazon.nova-lite-v1:0"\n')
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: called(url, "small") == "us.amazon.nova-lite-v1:0")
            file.write_text("[aliases\n")
            process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            assert called(url, "small") == "us.amazon.nova-lite-v1:0"


def test_workers_share_a_port_and_are_replaced() -> None:
    environment = {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    command = ("serve", "--port", "0", "--workers", "2", "--no-memory")
    with started(*command, **environment) as (parent, url):
        wait_until(lambda: alive(url), within=10)
        wait_until(lambda: len(children(parent.pid)) == 2, within=10)
        victim = children(parent.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: len(children(parent.pid)) == 2 and victim not in children(parent.pid), within=5
        )
        wait_until(lambda: alive(url), within=10)
        began = time.monotonic()
        parent.send_signal(signal.SIGTERM)
        parent.wait(10)
        assert time.monotonic() - began < 10
        assert parent.returncode in (0, 143)


def test_who_calls_before_the_first_worker_is_there_is_answered() -> None:
    """The line that tells the URL comes first."""
    with started("serve", "--port", "0", "--workers", "2", "--no-memory", **KEYS) as (_, url):
        assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200


def test_nobody_waits_for_workers_that_are_leaving() -> None:
    """A call that comes while they drain is refused at once, so that a balancer goes elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        command = ("serve", "--port", "0", "--workers", "2", "--no-memory", "--drain-timeout", "4")
        with started(*command, **environment) as (parent, url):
            wait_until(lambda: alive(url), within=10)
            at = (httpx.URL(url).host, httpx.URL(url).port or 0)
            with socket.create_connection(at) as client:
                body = b'{"model": "a.b", "messages": [{"role": "user", "content": "x"}]}'
                client.sendall(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(body), body)
                )
                time.sleep(0.3)
                parent.send_signal(signal.SIGTERM)
                wait_until(lambda: refused(at), within=2)
                assert parent.poll() is None
                client.settimeout(10)
                assert b" 503 " in client.recv(100)
            parent.wait(10)


def refused(at: tuple[str, int]) -> bool:
    try:
        socket.create_connection(at).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_signal_while_a_worker_is_being_started_reaches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor: Any = None

    def popen(arguments: list[str], **_: Any) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        supervisor._pass_on(signal.SIGTERM, None)  # as the handler would, between two lines
        return worker

    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = _Supervisor(1, listener, None)
        monkeypatch.setattr("proxy.cli.workers.subprocess", SimpleNamespace(Popen=popen))
        supervisor._start()
        [worker] = supervisor._workers
        assert worker.wait(5) == -signal.SIGTERM
        supervisor._gathering.close()


def children(pid: int) -> list[int]:
    """Linux: the direct children of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs Linux's /proc to see the workers")
    return [int(one) for one in path.read_text().split()]


def test_the_demo_is_not_led_astray_by_settings_for_the_real_aws() -> None:
    environment = {
        "BEDROCK_PROXY_REGION": "eu-west-1",
        "BEDROCK_PROXY_PROFILE": "work",
        "BEDROCK_PROXY_TARGETS": "us-west-2",
        "BEDROCK_PROXY_RUNTIME_ENDPOINT": "http://127.0.0.1:9",
        "BEDROCK_PROXY_DISCOVERY_REGION": "eu-west-1",
        "AWS_BEARER_TOKEN_BEDROCK": "ABSKreal",
    }
    body = {"model": "amazon.nova-micro-v1:0", "messages": [{"role": "user", "content": "x"}]}
    with started("demo", "--port", "0", "--pace", "0", **environment) as (_, url):
        assert httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20).status_code == 200


def test_who_brings_keys_of_their_own_needs_none_of_ours() -> None:
    with Simulator() as simulator:
        environment = {"AWS_ENDPOINT_URL": simulator.url, "BEDROCK_PROXY_CLIENT_KEYS": "1"}
        body = {"model": "amazon.nova-micro-v1:0", "messages": [{"role": "user", "content": "x"}]}
        with started("serve", "--port", "0", "--host", "0.0.0.0", **environment) as (_, url):
            url = url.replace("0.0.0.0", "127.0.0.1")
            headers = {"authorization": f"Bearer {simulator.bearer}"}
            answer = httpx.post(
                f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20
            )
            assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 401
    assert answer.status_code == 200
