"""``serve --workers N``: several processes on one socket, for one virtual machine.

The parent opens the socket, starts the workers, replaces one that died within a second, and passes
signals on: SIGTERM and SIGINT once (each worker drains by itself) and SIGHUP as it is (uvicorn's
own supervisor would take it for a restart). One process is the default and the unit of scaling.

Each worker has a place (1 to N) that its successor takes over, and a line to the parent, over which
the figures of all become one page of metrics. A worker whose parent is gone leaves by itself.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from types import FrameType

from proxy import logs
from proxy.cli.options import say, stop
from proxy.cli.sockets import address, listen
from proxy.metrics.workers import Gathering
from proxy.server import BACKLOG
from proxy.settings import Settings

_PAUSE = 0.5
_GIVE_UP_AFTER = 5
"""Starts in a row that failed within ``_SHORT`` seconds: then the fault is not a worker's."""
_SHORT = 3.0


def supervise(settings: Settings) -> None:
    """Run ``settings.workers`` workers until a signal; returns when all have left."""
    listener = listen(settings.host, settings.port, "--port")
    listener.listen(BACKLOG)  # who calls before the first worker is there waits for it
    metrics = None
    if settings.metrics_port is not None:
        metrics = listen(settings.metrics_host, settings.metrics_port, "--metrics-port")
        say(f"metrics on {address(metrics)}/metrics")
    with closing(logs.configure(settings.log_level, settings.log_format)):
        _Supervisor(settings.workers, listener, metrics).run()


@dataclass(frozen=True, slots=True)
class _Started:
    place: int
    at: float


class _Supervisor:
    def __init__(self, count: int, listener: socket.socket, metrics: socket.socket | None) -> None:
        self._count = count
        self._listener = listener
        self._metrics = metrics
        self._gathering = Gathering()
        self._workers: dict[subprocess.Popen[bytes], _Started] = {}
        self._leaving = False
        self._failures = 0

    def run(self) -> None:
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, self._pass_on)
        url = address(self._listener)
        say(f"listening on {url} with {self._count} workers")
        while not self._leaving or self._workers:
            self._bury()
            while not self._leaving and len(self._workers) < self._count:
                self._start()
            if self._leaving:
                self._close()
            time.sleep(_PAUSE)
        self._gathering.close()

    def _close(self) -> None:
        """Close our copies of the workers' listeners: once the workers have closed theirs, a
        connection is refused instead of waiting to be accepted."""
        for one in (self._listener, self._metrics):
            if one is not None:
                one.close()

    def _start(self) -> None:
        taken = {started.place for started in self._workers.values()}
        place = next(one for one in range(1, self._count + 1) if one not in taken)
        ours, theirs = socket.socketpair()
        inherited = {"--fd": self._listener, "--line-fd": theirs}
        if self._metrics is not None:
            inherited["--metrics-fd"] = self._metrics
        arguments = [sys.executable, "-m", "proxy", *sys.argv[1:]]
        for flag, one in inherited.items():
            arguments += [flag, str(one.fileno())]
        fds = [one.fileno() for one in inherited.values()]
        worker = subprocess.Popen(arguments, pass_fds=fds)
        theirs.close()
        self._workers[worker] = _Started(place, time.monotonic())
        if self._leaving:  # the signal came while it was starting and did not reach it
            worker.terminate()
        self._gathering.add(str(place), ours)

    def _bury(self) -> None:
        for worker, started in tuple(self._workers.items()):
            code = worker.poll()
            if code is None:
                continue
            del self._workers[worker]
            if self._leaving:
                continue
            short = time.monotonic() - started.at < _SHORT
            self._failures = self._failures + 1 if short else 0
            logs.logger.error("worker %d ended with %d; replacing it", worker.pid, code)
            if self._failures >= _GIVE_UP_AFTER:
                self._pass_on(signal.SIGTERM, None)
                raise stop("The workers end as soon as they start; see their messages above.")

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGHUP:
            self._leaving = True
        for worker in self._workers:
            os.kill(worker.pid, number)
