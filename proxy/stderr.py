"""Non-blocking standard error: its reader may have stopped (a log driver, ``less``).

A line is written at once by the calling thread if that does not block: no thread, no queue. What
would block is buffered, at most ``ROOM`` bytes, and written in order by a thread that exists only
that long. Lines beyond that are dropped and counted; their number is reported once the buffer has
been written.

``O_NONBLOCK`` belongs to the open file description, which is shared with a shell or other workers;
pipes and terminals are therefore opened again, privately. Where that is not possible (a socket,
another user's pipe, no ``/proc``) each write first polls whether ``PIPE_BUF`` bytes fit: POSIX,
*write* and *poll*; Linux, pipe(7). Regular files never block a writer in that sense.
"""

import os
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final, TextIO

ROOM: Final = 1_000_000
"""Bytes that wait at most: some two thousand lines."""
FAREWELL: Final = 1.0
"""Seconds that what still waits gets when we leave."""
_LOOK: Final = 100
"""Milliseconds after which the thread looks whether we leave."""


class Stderr:
    """A stream for ``logging.StreamHandler``. ``told`` makes the line of how many were lost, and
    ``on_lost`` is called for each.

    A ``stream`` without a descriptor (a test's) is written to as it is; ``None`` takes nothing.
    """

    def __init__(self, stream: TextIO | None, told: Callable[[int], str]) -> None:
        self._stream = stream
        self._told = told
        self.on_lost: Callable[[], None] = lambda: None
        self._shared = _descriptor(stream)
        self._own = None if self._shared is None else _reopened(self._shared)
        self._fd = self._shared if self._own is None else self._own
        self._waits = self._own is None and not _is_file(self._shared)
        self._poll = select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLOUT)
        # Reentrant: a collection may end a task whose exception nobody saw, and log that.
        self._lock = threading.RLock()
        self._waiting = bytearray()
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._ends = 0.0

    def write(self, text: str) -> None:
        """Write whole lines; from any thread, without waiting."""
        if self._fd is None:
            if self._stream is not None:
                self._stream.write(text)
            return
        data = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting:
                if self._lost or len(self._waiting) + len(data) > ROOM:
                    self._lose(1)
                    return
            else:
                if self._lost:
                    data = self._note() + data
                try:
                    data = data[self._put(data) :]
                except OSError:  # nobody reads any more, or the disk is full
                    self._lose(1)
                    return
                self._lost = 0
            if data:
                self._waiting += data
                self._begin()

    def flush(self) -> None:
        """What can be written has been."""

    def close(self) -> None:
        """Give what waits a last moment, then write to the descriptor that we share."""
        with self._lock:
            self._ends = monotonic() + FAREWELL
            thread = self._thread
        if thread is not None:
            thread.join(FAREWELL + 0.5)
        with self._lock:
            if self._own is not None and self._thread is None and self._shared is not None:
                self._poll.unregister(self._own)
                os.close(self._own)
                self._fd, self._own, self._waits = self._shared, None, True
                self._poll.register(self._fd, select.POLLOUT)

    def _put(self, data: bytes) -> int:
        """Write as much as goes without waiting; how much that was. Raises ``OSError``."""
        fd, done = self._fd, 0
        assert fd is not None
        while done < len(data):
            if self._waits and not self._poll.poll(0):
                break
            part = data[done : done + select.PIPE_BUF] if self._waits else data[done:]
            try:
                done += os.write(fd, part)
            except BlockingIOError:
                break
        return done

    def _lose(self, lines: int) -> None:
        self._lost += lines
        for _ in range(lines):
            self.on_lost()

    def _note(self) -> bytes:
        return self._told(self._lost).encode("utf-8", "backslashreplace")

    def _begin(self) -> None:
        if self._thread is None and not self._ends:
            self._thread = threading.Thread(target=self._pump, name="stderr", daemon=True)
            with suppress(RuntimeError):  # no thread to be had: the next line tries again
                self._thread.start()
                return
            self._thread = None

    def _pump(self) -> None:
        """Write what waits, until nothing does or we leave."""
        while True:
            ready = self._poll.poll(_LOOK)
            with self._lock:
                if not ready:
                    if self._ends and monotonic() > self._ends:
                        self._thread = None
                        return
                    continue
                # Whole lines of at most PIPE_BUF bytes are not torn by what other workers write.
                end = self._waiting.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
                part = bytes(self._waiting[:end])
            try:
                done, gone = self._put(part), False
            except OSError:
                done, gone = 0, True
            with self._lock:
                if self._advance(done, gone):
                    self._thread = None
                    return

    def _advance(self, done: int, gone: bool) -> bool:
        """Let go of what was written, or of all if nobody reads any more; whether that was all."""
        if gone:
            self._lose(self._waiting.count(b"\n"))
            self._waiting.clear()
            return True
        del self._waiting[:done]
        if not self._waiting and self._lost:
            self._waiting += self._note()
            self._lost = 0
        return not self._waiting


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # no descriptor, or closed
        return None


def _is_file(fd: int | None) -> bool:
    return fd is not None and stat.S_ISREG(os.fstat(fd).st_mode)


def _reopened(fd: int) -> int | None:
    """The same pipe or terminal by an open file of our own, where there can be one."""
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
