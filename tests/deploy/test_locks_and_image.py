"""The locks, the Dockerfile and the health check, without building anything."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.shipped import DEPLOY, IMAGE_ENVIRONMENT, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "requirements-full.lock", "requirements-build.lock")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Name to version."""
    text = (DEPLOY / lock).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def lacks(requirements: list[str], held: dict[str, str]) -> list[str]:
    """Those of ``requirements`` that the lock does not satisfy."""
    read = [Requirement(one) for one in requirements]
    return [
        str(one) for one in read
        if not one.specifier.contains(held.get(canonicalize_name(one.name), "0"), prereleases=True)
    ]  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_host_is_named(lock: str) -> None:
    text = (DEPLOY / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins(lock)) > 3
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry.splitlines()[0]


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [one for name, many in extras.items() if name != "test" for one in many]
    plain, full = pins("requirements.lock"), pins("requirements-full.lock")
    assert lacks(PROJECT["project"]["dependencies"], plain) == []
    assert lacks(PROJECT["project"]["dependencies"] + wanted, full) == []
    assert lacks(PROJECT["build-system"]["requires"], pins("requirements-build.lock")) == []
    assert {name: full.get(name) for name in plain} == plain


def test_the_lock_holds_nothing_of_the_tests() -> None:
    full = pins("requirements-full.lock")
    assert {"pytest", "respx", "openai", "mypy", "ruff", "hypothesis"} & full.keys() == set()


def test_the_image_is_what_it_promises() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    environment = dict(
        one.split("=", 1) for one in shlex.split(re.search(r"ENV (.*?)\n[A-Z]", final, re.S)[1])  # type: ignore[index]
        if "=" in one
    )  # fmt: skip
    assert {key: environment.get(key) for key in IMAGE_ENVIRONMENT} == IMAGE_ENVIRONMENT
    assert "USER 65532:65532" in final
    assert "STOPSIGNAL SIGTERM" in final
    assert 'ENTRYPOINT ["bedrock-openai-proxy"]' in final
    assert "bedrock-openai-proxy" in PROJECT["project"]["scripts"]
    assert f"ARG VERSION={PROJECT['project']['version']}" in final
    assert "curl" not in final.replace("no curl", "")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in final


def test_the_build_sees_what_it_copies() -> None:
    """The ignore file hides everything but what is named there."""
    shown = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]  # fmt: skip
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        names = [name.replace("${LOCK}", name_of) for name in (source,) for name_of in LOCKS]
        for name in names:
            assert (ROOT / name).exists(), name
            assert any((ROOT / name).match(pattern) for pattern in shown), name


class _Answer(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        return


@pytest.fixture
def healthy() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {})) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _check(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-IS", str(DEPLOY / "healthcheck.py")],
        env={"BEDROCK_PROXY_PORT": str(port)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_health_check(healthy: HTTPServer) -> None:
    assert _check(healthy.server_port).returncode == 0
    healthy.RequestHandlerClass.status = 503  # type: ignore[attr-defined]
    unwell = _check(healthy.server_port)
    assert (unwell.returncode, "answered 503" in unwell.stderr) == (1, True)


def test_health_check_of_nobody(healthy: HTTPServer) -> None:
    port = healthy.server_port
    healthy.shutdown()
    healthy.socket.close()
    gone = _check(port)
    assert gone.returncode == 1
    assert gone.stderr.startswith(f"port {port}: ConnectionRefusedError")
