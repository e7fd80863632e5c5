"""A Valkey or Redis server of a test's own: on loopback, nothing on disk.

``BINARY`` is ``None`` where none is on the path; ``needs_server`` skips then, and where the Python
packages of the extra ``valkey`` are absent.
"""

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

BINARY = shutil.which("valkey-server") or shutil.which("redis-server")
_ABSENT = [name for name in ("redis", "cryptography") if importlib.util.find_spec(name) is None]
needs_server = pytest.mark.skipif(
    BINARY is None or bool(_ABSENT),
    reason=f"needs a valkey-server or redis-server on the path and the extra `valkey` {_ABSENT}",
)


class ValkeyServer:
    """``url`` stays the same when it is stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "ValkeyServer":
        assert BINARY is not None
        self._process = subprocess.Popen(
            [BINARY, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        ends = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < ends, "the server did not start"
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
