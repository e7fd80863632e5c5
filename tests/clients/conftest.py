"""``demo`` as a user starts it, for other people's clients; and the table of what was driven."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import KEY, Place, driven

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    """``demo`` with a key, as a user starts it; its URL with ``/v1``."""
    environment = {"PATH": os.environ["PATH"], "BEDROCK_PROXY_API_KEY": KEY}
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo", "--port", "0", "--pace", "0"],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            url = None
            while url is None:
                line = process.stdout.readline()
                assert line, "demo did not start"
                url = re.search(r"Proxy: (http://\S+)", line)
            yield f"{url[1]}/v1"
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait(15)


@pytest.fixture
def place(demo: str, tmp_path: Path) -> Place:
    return Place(demo, tmp_path)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if driven:
        terminalreporter.section("clients that were driven")
        for client, version, what in driven:
            terminalreporter.write_line(f"{client:16} {version:60} {what}")
