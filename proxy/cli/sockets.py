"""Listening sockets, and what a worker inherits of them.

A socket is bound here rather than by uvicorn where it is shared (several workers), where the error
should say what to do, or for ``::``, which asyncio takes for IPv6 alone. What is inherited is known
to a worker by its descriptor's number.
"""

import resource
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from proxy.cli.options import stop


@dataclass(frozen=True, slots=True)
class Inherited:
    """A worker's sockets: the public listener, the metrics listener if there is one, and the line
    to its parent (``metrics/workers.py``)."""

    listener: socket.socket
    metrics: socket.socket | None
    line: socket.socket


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A socket bound to ``host`` and ``port``, or an exit that names ``flag``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if takes_both(host):
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # whatever the system says
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise stop(
            f"{place(host, port)} cannot be bound: {fault.strerror}. "
            f"Choose another {flag} (0 picks a free one)."
        ) from None
    listener.set_inheritable(True)
    return listener


def raise_descriptor_limit() -> None:
    """As many sockets as the operator's hard limit allows; the usual soft one is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def address(listener: socket.socket) -> str:
    """The URL of a listener."""
    return f"http://{place(*listener.getsockname()[:2])}"


def place(host: str, port: int) -> str:
    """Host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def takes_both(host: str) -> bool:
    """Whether ``host`` stands for every address there is: ``::``, however it is written."""
    try:
        return ip_address(host) == ip_address("::")
    except ValueError:
        return False
