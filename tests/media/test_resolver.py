"""Look-ups of names: by the system's own resolver, and in nobody's way."""

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from proxy.media.resolver import MOST, Resolver

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"


async def test_names_are_looked_up_without_search_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def getaddrinfo(host: str, port: int, type: int) -> list[Any]:
        asked.append((host, port))
        return [(0, 0, 0, "", (PUBLIC, port)), (0, 0, 0, "", ("2606:4700::1111", port, 0, 0))]

    monkeypatch.setattr("proxy.media.resolver.socket.getaddrinfo", getaddrinfo)
    resolver = Resolver()
    assert await resolver.look_up("img.example", 443) == [PUBLIC, "2606:4700::1111"]
    assert asked == [("img.example.", 443)]
    resolver.close()


async def test_what_waits_for_a_thread_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """More look-ups than threads, some that nobody waits for any more; failures come through."""
    go, asked = threading.Event(), []

    def getaddrinfo(host: str, port: int, type: int) -> list[Any]:
        asked.append(host)
        assert go.wait(10)
        if "no" in host:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(0, 0, 0, "", (PUBLIC, port))]

    monkeypatch.setattr("proxy.media.resolver.socket.getaddrinfo", getaddrinfo)
    resolver = Resolver()
    names = [f"{'no' if n % 2 else 'yes'}{n}.example" for n in range(3 * MOST)]
    tasks = [asyncio.create_task(resolver.look_up(name, 443)) for name in names]
    await asyncio.sleep(0.05)
    assert len(asked) == MOST
    tasks[-1].cancel()
    tasks[0].cancel()
    await asyncio.sleep(0)
    go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert isinstance(found[-1], asyncio.CancelledError)
    assert found[2:-1:2] == [[PUBLIC]] * (len(found[2:-1:2]))
    assert all(isinstance(one, socket.gaierror) for one in found[1:-1:2])
    assert len(asked) == 3 * MOST - 1
    resolver.close()


_HANGING = """
import asyncio, socket, time
socket.getaddrinfo = lambda *names, **more: time.sleep(60)
from proxy.media.fetch import Fetcher
async def main():
    fetcher = Fetcher()
    try:
        await asyncio.wait_for(fetcher._resolve("img.example", 443), 0.1)
    except TimeoutError:
        fetcher.close()
asyncio.run(main())
"""


def test_a_name_server_that_hangs_does_not_keep_the_process_alive() -> None:
    done = subprocess.run([sys.executable, "-c", _HANGING], timeout=20, check=False)
    assert done.returncode == 0
