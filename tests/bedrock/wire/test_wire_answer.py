"""One answer, parsed without a network: any cut of its bytes gives the same result."""

from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bedrock.wire_answer import HEAD_LIMIT, HEADER_LIMIT, INTERIM_LIMIT, Answer
from tests.bedrock.wire.peer import CHUNKED, OK

GOOD = (
    OK,
    CHUNKED + b"5;ext=1\r\nhello\r\n001\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 Fine\r\nX:\r\ncontent-length: 3\r\n\r\nabc",
    b"HTTP/1.1 204 \r\nx-amzn-requestid: a\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    OK + b"surplus",
)


def parse(*reads: bytes, method: str = "POST", end: bool = True) -> Answer:
    answer = Answer(method)
    for read in reads:
        answer.receive(read)
        if answer.complete or answer.error:
            break
    if end and not answer.complete and not answer.error:
        answer.finish(None)
    return answer


def told(answer: Answer) -> tuple[Any, ...]:
    return (
        answer.version,
        answer.status,
        answer.reason,
        answer.headers,
        b"".join(answer.parts),
        answer.opened,
        answer.complete,
        answer.keep,
        answer.error,
    )


@pytest.mark.parametrize("whole", GOOD)
def test_a_cut_anywhere_changes_nothing(whole: bytes) -> None:
    expected = told(parse(whole))
    for at in range(1, len(whole)):
        assert told(parse(whole[:at], whole[at:])) == expected
    assert told(parse(*(whole[at : at + 1] for at in range(len(whole))))) == expected


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    extension=st.sampled_from([b"", b";a", b';a="b;c"']),
    interim=st.booleans(),
    cuts=st.lists(st.integers(min_value=0, max_value=600), max_size=12),
)
def test_any_cuts_of_any_chunks(
    bodies: list[bytes], extension: bytes, interim: bool, cuts: list[int]
) -> None:
    chunks = [b"%x%b\r\n%b\r\n" % (len(body), extension, body) for body in bodies]
    whole = (b"HTTP/1.1 102 X\r\n\r\n" if interim else b"") + CHUNKED
    whole += b"".join(chunks) + b"0\r\n\r\n"
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    reads = [whole[a:b] for a, b in pairwise(places)]
    answer = parse(*reads, end=False)
    assert answer.complete
    assert answer.keep
    assert b"".join(answer.parts) == b"".join(bodies)


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=300))
def test_no_bytes_raise(noise: bytes, at: int) -> None:
    for begin in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, OK):
        answer = parse(begin + noise[:at], noise[at:])
        assert answer.complete != (answer.error is not None)


def test_surplus_is_noticed_and_never_read() -> None:
    empty = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + b"x" * HEAD_LIMIT)
    assert empty.complete
    assert empty.surplus
    assert empty.error is None
    for surplus in (OK, b"x", b"HTTP/1.1 200 OK\r\n"):
        answer = parse(OK + surplus)
        assert answer.complete
        assert answer.surplus
        assert b"".join(answer.parts) == b"ok"
        assert answer.headers == [(b"Content-Length", b"2")]


def test_an_answer_to_head_ends_with_its_head() -> None:
    answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", method="HEAD", end=False)
    assert answer.complete
    assert not answer.parts
    smuggled = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", method="HEAD", end=False)
    assert smuggled.complete
    assert not smuggled.parts
    assert not smuggled.keep


def error_of(*reads: bytes) -> str:
    answer = parse(*reads, end=False)
    assert isinstance(answer.error, httpx.RemoteProtocolError)
    assert not answer.complete
    return str(answer.error)


def test_heads_have_bounds() -> None:
    begin = b"HTTP/1.1 200 OK\r\n"
    assert "too large" in error_of(begin + b"A: b\r\n" * (HEADER_LIMIT + 1) + b"\r\n")
    assert "too large" in error_of(begin, b"A: " + b"x" * HEAD_LIMIT + b"\r\n\r\n")
    assert "no body" in error_of(begin, *([b"x" * 8192] * 9))
    fine = parse(begin + b"A: b\r\n" * (HEADER_LIMIT - 1) + b"Content-Length: 0\r\n\r\n")
    assert fine.complete


def test_trailers_have_bounds() -> None:
    begin = CHUNKED + b"1\r\nx\r\n0\r\n"
    assert "too large" in error_of(begin + b"A: %b\r\n" % (b"x" * 9000) * 9)
    answer = parse(begin, end=False)
    answer.parts.clear()  # the reader has taken it
    for _ in range(9):
        answer.receive(b"A" * 8192)
    assert "no body" in str(answer.error)


def test_endless_chunk_extensions_have_bounds() -> None:
    assert "no body" in error_of(CHUNKED, b"1;", *([b"x" * 8192] * 9))


def test_interim_answers_have_bounds() -> None:
    one = b"HTTP/1.1 102 Processing\r\n\r\n"
    assert parse(one * INTERIM_LIMIT + OK).complete
    assert "interim" in error_of(one * (INTERIM_LIMIT + 1) + OK)


def test_what_the_end_means() -> None:
    assert parse(b"HTTP/1.1 200 OK\r\n\r\nabc").complete
    assert not parse(b"HTTP/1.1 200 OK\r\n\r\nabc").keep
    short = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
    assert "received 3 bytes, expected 5" in str(short.error)
    assert "incomplete chunked read" in str(parse(CHUNKED).error)
    broken = Answer("POST")
    broken.receive(b"HTTP/1.1 200 OK\r\n\r\nabc")
    broken.finish(ConnectionResetError("reset"))
    assert isinstance(broken.error, httpx.ReadError)
    assert not broken.complete


def test_a_defect_of_ours_is_no_fault_of_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(answer: Answer, name: bytes, value: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Answer, "on_header", broken)
    with pytest.raises(Exception, match="callback"):
        Answer("POST").receive(OK)
