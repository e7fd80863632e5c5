"""The contract of an engine: answers that break off, or are none; and where the engines differ.

A difference that does not stand in ``DIFFERENCES``, with its reason, is a defect. Two stand beside
their tests: surplus behind an answer, and what a request stopped half-way means for reuse.
"""

import asyncio
from typing import NamedTuple

import httpx
import pytest

from tests.bedrock.wire.peer import (
    CHUNKED,
    OK,
    Line,
    body_of,
    collect,
    engine_of,
    fetch,
    once,
    peer,
    request,
    until,
)

pytestmark = pytest.mark.anyio


# ---- answers that break off, or are none ---------------------------------------------------------

WHOLE = CHUNKED + b"5;x\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n"


async def test_every_truncation_of_a_chunked_answer(kind: str) -> None:
    """Each ends in an error that tells what happened; what came before it is not lost."""
    cut = 0

    async def script(line: Line) -> None:
        await line.read_request()
        await line.send(WHOLE[:cut])

    async with engine_of(kind) as engine, peer(script) as far:
        for cut in range(len(WHOLE)):
            got: list[bytes] = []
            with pytest.raises(httpx.RemoteProtocolError) as caught:
                await collect(engine, request(far.url), got)
            assert bool(got) == (cut >= len(CHUNKED))
            if got:
                assert "closed connection" in str(caught.value)
                arrived = WHOLE[len(CHUNKED) : cut]
                assert b"".join(got) == arrived[5:10] + arrived[15:16]
            else:
                assert str(caught.value) == "Server disconnected without sending a response."
        assert len(far.lines) == len(WHOLE)


async def test_a_short_body(kind: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"
    async with engine_of(kind) as engine, peer(once(answer)) as far:
        response = await engine.handle_async_request(request(far.url))
        parts = body_of(response)
        assert await anext(parts) == b"four"
        with pytest.raises(httpx.RemoteProtocolError, match="received 4 bytes, expected 10"):
            await anext(parts)
        await response.aclose()


async def test_a_reset_before_the_head(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.read_request()
        await line.send(b"HTTP/1.1 200 OK\r\nA:" if line.number == 2 else b"")
        await asyncio.sleep(0.01)
        line.reset()

    async with engine_of(kind) as engine, peer(script) as far:
        for _ in range(2):
            with pytest.raises(httpx.ReadError):
                await fetch(engine, request(far.url))


async def test_a_reset_in_the_body(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.answer(CHUNKED + b"2\r\nhi\r\n")
        await go.wait()
        line.reset()

    go = asyncio.Event()
    async with engine_of(kind) as engine, peer(script) as far:
        response = await engine.handle_async_request(request(far.url))
        parts = body_of(response)
        assert await anext(parts) == b"hi"
        go.set()
        with pytest.raises(httpx.ReadError):
            await anext(parts)
        await response.aclose()


async def test_the_peer_closes_its_half_after_a_whole_answer(kind: str) -> None:
    async def script(line: Line) -> None:
        await line.answer()
        line.end()
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        for _ in range(3):
            assert await fetch(engine, request(far.url)) == (200, b"ok")
            await asyncio.sleep(0.02)
        await until(lambda: far.lines[0].gone.is_set() and far.lines[1].gone.is_set())


BAD = {
    "garbage": b"\x00\x01\x02 garbage \xff\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x16",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status that is none": b"HTTP/1.1 2x0 OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "bad header": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "lengths that differ": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "a head too large": b"HTTP/1.1 200 OK\r\n" + b"A: %b\r\n" % (b"x" * 9_000) * 20 + b"\r\n",
    "a header too large": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300_000 + b"\r\n\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300_000,
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_answer_is_refused(kind: str, name: str) -> None:
    async def script(line: Line) -> None:
        await line.answer(BAD[name])
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await fetch(engine, request(far.url, read=3.0))
        assert "disconnect" not in str(caught.value).lower()  # it would be tried again
        await far.lines[0].gone.wait()


BAD_CHUNKS = {
    "size that is none": b"zz\r\nhello\r\n",
    "negative size": b"-5\r\nhello\r\n",
    "size too large": b"fffffffffffffffffffff\r\nx",
    "no CRLF after a chunk": b"5\r\nhelloX5\r\nhello\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_a_body_that_is_no_chunks_is_refused(kind: str, name: str) -> None:
    async def script(line: Line) -> None:
        await line.answer(CHUNKED + b"3\r\nabc\r\n" + BAD_CHUNKS[name])
        await line.until_gone()

    async with engine_of(kind) as engine, peer(script) as far:
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(engine, request(far.url, read=3.0))
        await far.lines[0].gone.wait()


# ---- where the engines differ --------------------------------------------------------------------

NO_ANSWER = "RemoteProtocolError"


class Difference(NamedTuple):
    answer: bytes
    httpx: str
    wire: str
    reason: str


DIFFERENCES = {
    "bare LF": Difference(
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "ok",
        NO_ANSWER,
        "llhttp is strict; AWS sends CRLF, and leniency is what smuggling lives on",
    ),
    "a folded header": Difference(
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        "ok",
        NO_ANSWER,
        "obsolete since RFC 7230",
    ),
    "length twice, the same": Difference(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "ok",
        NO_ANSWER,
        "allowed by RFC 9112 6.3, not by llhttp; no server of AWS's does it",
    ),
    "length and chunked": Difference(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n",
        "ok",
        NO_ANSWER,
        "RFC 9112 6.3: ought to be handled as an error",
    ),
    "a version that is none of ours": Difference(
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "ok",
        NO_ANSWER,
        "its framing is not known to be the one we parse",
    ),
    "more than 32 interim answers": Difference(
        b"HTTP/1.1 102 X\r\n\r\n" * 40 + OK,
        "ok",
        NO_ANSWER,
        "a bound, so that a peer cannot keep a call alive for ever without an answer",
    ),
    "a head over 64 KB, under 100 KB": Difference(
        b"HTTP/1.1 200 OK\r\n" + b"A: %b\r\n" % (b"x" * 9_000) * 8 + b"Content-Length: 2\r\n\r\nok",
        "ok",
        NO_ANSWER,
        "the bound that the house sets for a head",
    ),
    "more than 256 headers": Difference(
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"Content-Length: 2\r\n\r\nok",
        "ok",
        NO_ANSWER,
        "a bound on counts, not only on bytes",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
async def test_the_engines_differ_only_here(kind: str, name: str) -> None:
    case = DIFFERENCES[name]
    async with engine_of(kind) as engine, peer(once(case.answer)) as far:
        try:
            _, body = await fetch(engine, request(far.url))
            got = body.decode()
        except httpx.RemoteProtocolError:
            got = NO_ANSWER
        assert got == (case.wire if kind == "wire" else case.httpx)
        assert case.reason
