"""Listening sockets, and what a worker inherits of them.

A socket is bound here rather than by uvicorn where it is shared (several workers) or where the
error should say what to do. What is inherited is known to a worker by its descriptor's number.
"""

import resource
import socket
from contextlib import suppress
from dataclasses import dataclass

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
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise stop(
            f"{host}:{port} cannot be bound: {fault.strerror}. "
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
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
