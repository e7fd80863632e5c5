"""A connected socket for a host name: every address is tried, the slow ones in parallel.

A silent address costs a quarter of a second, not the connect timeout: the next one is tried beside
it and the first to connect wins (RFC 8305, *Happy Eyeballs*, families taken in turn). Sockets send
small writes at once, and ask the kernel to probe a silent peer each minute: a NAT gateway forgets a
connection that is silent for 350 seconds, and a long non-streaming answer is.

Raises ``OSError``. Cancelling closes every socket that was opened.
"""

import asyncio
import socket
from collections import deque
from itertools import chain, zip_longest
from typing import Any, Final

STAGGER: Final = 0.25
_PROBE_SECONDS: Final = 60

_Address = tuple[int, int, int, Any]
"""Family, type, protocol, and the address as the family writes it."""


async def dial(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket. The last address's ``OSError`` if none answers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: list[_Address] = [(family, kind, proto, at) for family, kind, proto, _, at in found]
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await _race(deque(_by_turns(addresses)))


def _by_turns(addresses: list[_Address]) -> list[_Address]:
    """The resolver's order, its first family first, then one family after the other in turn."""
    families = dict.fromkeys(address[0] for address in addresses)
    rows = ([a for a in addresses if a[0] == family] for family in families)
    return [a for a in chain.from_iterable(zip_longest(*rows)) if a is not None]


async def _race(waiting: deque[_Address]) -> socket.socket:
    running: set[asyncio.Task[socket.socket]] = set()
    last: BaseException = OSError("the name has no address")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(waiting.popleft())))
            done, _ = await asyncio.wait(
                running,
                timeout=STAGGER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                running.discard(task)
                failure = task.exception()
                if failure is None:
                    return task.result()
                last = failure
        raise last
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_discard)


def _discard(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(address: _Address) -> socket.socket:
    family, kind, proto, at = address
    opened = socket.socket(family, kind, proto)
    try:
        opened.setblocking(False)
        _tune(opened)
        await asyncio.get_running_loop().sock_connect(opened, at)
    except BaseException:
        opened.close()
        raise
    return opened


def _tune(opened: socket.socket) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # not on every platform
        option = getattr(socket, name, None)
        if option is not None:
            opened.setsockopt(socket.IPPROTO_TCP, option, _PROBE_SECONDS)
