"""``serve --workers N``: several processes on one socket, for one virtual machine.

The parent opens the socket, starts the workers, replaces one that died within a second, and passes
signals on: SIGTERM and SIGINT once (each worker drains by itself) and SIGHUP as it is (uvicorn's
own supervisor would take it for a restart). One process is the default and the unit of scaling.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

import click

from proxy.cli.options import stop
from proxy.settings import Settings

_PAUSE = 0.5
_GIVE_UP_AFTER = 5
"""Starts in a row that failed within ``_SHORT`` seconds: then the fault is not a worker's."""
_SHORT = 3.0


def supervise(settings: Settings) -> None:
    """Run ``settings.workers`` workers until a signal; returns when all have left."""
    listener = _listen(settings.host, settings.port)
    _Supervisor(settings.workers, listener).run()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as fault:
        raise stop(f"{host}:{port} cannot be listened on: {fault.strerror}") from None
    listener.set_inheritable(True)
    return listener


class _Supervisor:
    def __init__(self, count: int, listener: socket.socket) -> None:
        self._count = count
        self._listener = listener
        self._workers: dict[subprocess.Popen[bytes], float] = {}
        self._leaving = False
        self._failures = 0

    def run(self) -> None:
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, self._pass_on)
        host, port = self._listener.getsockname()[:2]
        click.echo(f"listening on http://{host}:{port} with {self._count} workers", err=True)
        while not self._leaving or self._workers:
            self._bury()
            while not self._leaving and len(self._workers) < self._count:
                self._start()
            time.sleep(_PAUSE)

    def _start(self) -> None:
        fd = self._listener.fileno()
        arguments = [sys.executable, "-m", "proxy", *sys.argv[1:], "--fd", str(fd)]
        self._workers[subprocess.Popen(arguments, pass_fds=(fd,))] = time.monotonic()

    def _bury(self) -> None:
        for worker, since in tuple(self._workers.items()):
            code = worker.poll()
            if code is None:
                continue
            del self._workers[worker]
            if self._leaving:
                continue
            short = time.monotonic() - since < _SHORT
            self._failures = self._failures + 1 if short else 0
            click.echo(f"worker {worker.pid} ended with {code}; replacing it", err=True)
            if self._failures >= _GIVE_UP_AFTER:
                self._pass_on(signal.SIGTERM, None)
                raise stop("The workers end as soon as they start; see their messages above.")

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self._leaving = True
        for worker in self._workers:
            os.kill(worker.pid, number)
