"""The command as a process of its own, in an environment with nothing of AWS in it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
BARE = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT, env=BARE | environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running command and the URL it told."""
    with heard(*arguments, **environment) as (process, url, _):
        yield process, url


@contextmanager
def heard(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A running command, the URL it told, and all that it said until then. A command that ends
    without a URL is an ``AssertionError`` of what it said."""
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT, env=BARE | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines: list[str] = []
        url = None
        try:
            while url is None:
                line = process.stdout.readline()
                assert line, "".join(lines)
                lines.append(line)
                url = re.search(r"(?:Proxy:|listening on) (http://\S+)", line)
            # A full pipe would hold up the process in the middle of a log line.
            reader = threading.Thread(target=process.stdout.read, daemon=True)
            reader.start()
            yield process, url[1], "".join(lines)
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            if url is not None:
                reader.join(15)
            process.wait(15)


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False
