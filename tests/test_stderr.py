"""Standard error whose reader stops: nobody waits for it, order holds, and losses are told."""

import fcntl
import os
import pty
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import StringIO
from pathlib import Path
from typing import TextIO

import pytest

from proxy import stderr
from proxy.stderr import ROOM, Stderr
from tests.support.running import wait_until

LINE = "x" * 98 + "\n"
Opened = Callable[[int], TextIO]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """A stream on a descriptor, as ``sys.stderr`` is one; closed at the end."""
    with ExitStack() as streams:

        def open_(fd: int) -> TextIO:
            return streams.enter_context(os.fdopen(fd, "w", buffering=1))

        yield open_


@pytest.fixture
def pipe(opened: Opened) -> Iterator[tuple[int, TextIO]]:
    """A pipe of one page: what reads it, and the stream that writes."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, opened(writer)
    os.close(reader)


def told(lost: int) -> str:
    return f"lost {lost}\n"


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"{number:06d} {LINE}" for number in range(start, start + count)]


class Reader:
    """Reads to the end, in a thread."""

    def __init__(self, fd: int) -> None:
        self.data = b""
        self._fd = fd
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while part := os.read(self._fd, 65536):
            self.data += part

    def lines(self) -> list[str]:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.data.decode().splitlines(keepends=True)


def test_what_is_read_needs_no_thread(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    with closing(Stderr(stream, told)) as log:
        for line in numbered(100):
            log.write(line)
            assert os.read(reader, 65536) == line.encode()
        assert not [one for one in threading.enumerate() if one.name == "stderr"]


def test_what_is_not_read_holds_nobody_up_and_keeps_its_order(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    lines = numbered(5_000)
    with closing(Stderr(stream, told)) as log:
        for line in lines:
            log.write(line)
        reading = Reader(reader)
        wait_until(lambda: len(reading.data) == sum(map(len, lines)))
        more = numbered(10, 5_000)
        for line in more:
            log.write(line)
    stream.close()
    assert reading.lines() == lines + more


def test_what_is_lost_is_counted_and_told_once(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    lines = numbered(2 * ROOM // len(numbered(1)[0]))
    lost = 0

    def count() -> None:
        nonlocal lost
        lost += 1

    with closing(Stderr(stream, told)) as log:
        log.on_lost = count
        for line in lines:
            log.write(line)
        reading = Reader(reader)
        wait_until(lambda: b"lost" in reading.data)
        log.write("after\n")
    stream.close()
    kept = reading.lines()
    assert 0 < lost < len(lines)
    assert kept == [*lines[: len(lines) - lost], f"lost {lost}\n", "after\n"]


def test_leaving_gives_a_second(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stderr, "FAREWELL", 0.3)
    reader, stream = pipe
    log = Stderr(stream, told)
    for line in numbered(1_000):
        log.write(line)
    began = time.monotonic()
    log.close()
    assert 0.3 <= time.monotonic() - began < 5
    log.write("too late, and nobody waits\n")
    assert os.read(reader, 65536).decode().startswith("000000")


def test_leaving_waits_no_longer_than_for_the_last_line(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    lines = numbered(1_000)
    log = Stderr(stream, told)
    for line in lines:
        log.write(line)
    reading = Reader(reader)
    log.close()
    stream.close()
    assert reading.lines() == lines


def test_a_long_line_goes_whole(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    lines = ["y" * 300_000 + "\n", "short\n"]
    with closing(Stderr(stream, told)) as log:
        for line in lines:
            log.write(line)
        reading = Reader(reader)
    stream.close()
    assert reading.lines() == lines


def test_a_reader_that_is_gone_costs_its_lines_only(opened: Opened) -> None:
    reader, writer = os.pipe()
    lost: list[bool] = []
    with closing(Stderr(opened(writer), told)) as log:
        log.on_lost = lambda: lost.append(True)
        lines = numbered(2_000)
        for line in lines:
            log.write(line)
        os.close(reader)
        wait_until(lambda: bool(lost))
        for line in numbered(3):
            log.write(line)
        wait_until(lambda: not [one for one in threading.enumerate() if one.name == "stderr"])
        assert 3 < len(lost) <= len(lines) + 3


def test_what_others_share_stays_as_it_was(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell or another worker has the same open file, and may not know of EAGAIN."""
    monkeypatch.setattr(stderr, "FAREWELL", 0.1)
    reader, stream = pipe
    with closing(Stderr(stream, told)) as log:
        for line in numbered(100):
            log.write(line)
        assert os.get_blocking(stream.fileno())
        os.read(reader, 65536)


def test_a_pipe_that_cannot_be_opened_again_is_asked_first(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stderr, "_reopened", lambda fd: None)
    reader, stream = pipe
    lines = numbered(1_000)
    with closing(Stderr(stream, told)) as log:
        for line in lines:
            log.write(line)
        reading = Reader(reader)
    stream.close()
    assert reading.lines() == lines


def test_a_socket_as_of_systemd_is_asked_first(opened: Opened) -> None:
    ours, theirs = socket.socketpair()
    stream = opened(theirs.detach())
    lines = numbered(5_000)
    with ours, closing(Stderr(stream, told)) as log:
        for line in lines:
            log.write(line)
        reading = Reader(ours.fileno())
        wait_until(lambda: len(reading.data) == sum(map(len, lines)))
        stream.close()
        assert reading.lines() == lines


def test_a_terminal_that_stands_still_holds_nobody_up(opened: Opened) -> None:
    screen, terminal = pty.openpty()
    lines = numbered(3_000)
    with closing(Stderr(opened(terminal), told)) as log:
        for line in lines:
            log.write(line)
        data = b""
        while len(data) < sum(map(len, lines)) + len(lines):  # a carriage return for each
            data += os.read(screen, 65536)
    assert data.decode().replace("\r", "") == "".join(lines)
    os.close(screen)


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with path.open("a") as stream, closing(Stderr(stream, told)) as log:
        log.write("one\n")
        stream.write("by print\n")
        stream.flush()
        log.write("é\ud800\n")
    assert path.read_text() == "before\none\nby print\né\\ud800\n"


def test_a_full_disk_is_told_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with (tmp_path / "log").open("a") as stream, closing(Stderr(stream, told)) as log:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            for line in numbered(3):
                log.write(line)
        log.write("after\n")
    assert (tmp_path / "log").read_text() == "lost 3\nafter\n"


def test_nowhere_takes_everything(opened: Opened) -> None:
    with closing(Stderr(opened(os.open(os.devnull, os.O_WRONLY)), told)) as log:
        for line in numbered(100):
            log.write(line)
    Stderr(None, told).write("descriptor 2 was closed\n")
    stream = StringIO()
    log = Stderr(stream, told)
    log.write("a test's\n")
    log.flush()
    log.close()
    assert stream.getvalue() == "a test's\n"


def test_many_threads_lose_no_line(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    with closing(Stderr(stream, told)) as log:
        reading = Reader(reader)

        def say(start: int) -> None:
            for line in numbered(500, start):
                log.write(line)

        threads = [threading.Thread(target=say, args=(500 * turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    stream.close()
    assert sorted(reading.lines()) == numbered(2_000)


def test_a_line_said_while_one_is_written_is_no_deadlock(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a finalizer that logs: the collector runs where it likes."""
    monkeypatch.setattr(stderr, "FAREWELL", 0.1)
    _, stream = pipe
    with closing(Stderr(stream, told)) as log:

        def once() -> None:
            log.on_lost = lambda: None
            log.write("said by a finalizer\n")

        log.on_lost = once
        for line in numbered(2 * ROOM // 100):
            log.write(line)
        assert log.on_lost is not once


def test_no_descriptor_is_left_open(pipe: tuple[int, TextIO]) -> None:
    _, stream = pipe
    before = len(os.listdir("/proc/self/fd"))
    log = Stderr(stream, told)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    log.close()
    assert len(os.listdir("/proc/self/fd")) == before
