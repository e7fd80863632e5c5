"""The contract of an engine, its first part: requests as they leave, answers as they come."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import h11
import httpx
import pytest

from tests.bedrock.wire.peer import (
    CHUNKED,
    OK,
    Line,
    body_of,
    drain,
    engine_of,
    fetch,
    once,
    peer,
    request,
    serving,
)

pytestmark = pytest.mark.anyio


# ---- what leaves ---------------------------------------------------------------------------------


async def test_the_request_leaves_as_it_stands(kind: str) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        target = "/model/a.b-v1%3A0%2Fx/converse?maxResults=1&nextToken=a%2Fb%3D%3D"
        asked = request(far.url + target, headers=[(b"X-Empty", b""), (b"x-UTF", b"\xc3\xa9")])
        assert await fetch(engine, asked) == (200, b"ok")
        assert far.lines[0].heads == [
            b"POST " + target.encode() + b" HTTP/1.1\r\n"
            b"Host: " + far.url[7:].encode() + b"\r\n"
            b"X-Empty: \r\nx-UTF: \xc3\xa9\r\nContent-Length: 2\r\n\r\n"
        ]
        assert far.lines[0].bodies == [b"{}"]


async def test_host_comes_first(kind: str) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        asked = request(far.url, headers=[(b"A", b"1"), (b"Host", b"x"), (b"B", b"2")])
        await fetch(engine, asked)
        assert far.lines[0].heads[0].startswith(b"POST / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n")


@pytest.mark.parametrize("size", [1, 300_000, 5_000_000])
async def test_a_body_of_any_size_arrives(kind: str, size: int) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        for _ in range(2):
            assert await fetch(engine, request(far.url, content=body)) == (200, b"ok")
        assert far.lines[0].bodies == [body, body]
        assert len(far.lines) == 1


async def test_a_streamed_body_arrives(kind: str) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"a", b"", b"b" * 70_000, b"c"):
            yield part

    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        assert await fetch(engine, request(far.url, content=parts())) == (200, b"ok")
        declared = request(far.url, content=parts(), headers=[(b"Content-Length", b"70002")])
        assert await fetch(engine, declared) == (200, b"ok")
        assert far.lines[0].bodies == [b"a" + b"b" * 70_000 + b"c"] * 2
        assert len(far.lines) == 1


async def test_a_body_must_be_as_long_as_declared(kind: str) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        for declared in (b"1", b"3"):
            headers = [(b"Content-Length", declared)]
            # httpx lets h11's own exception of that name through
            with pytest.raises((httpx.LocalProtocolError, h11.LocalProtocolError)):
                await fetch(engine, request(far.url, headers=headers))
        assert all(not line.bodies for line in far.lines)


@pytest.mark.parametrize(
    "header",
    [
        (b"A", b"b\r\nEvil: 1"),
        (b"A", b"b\nEvil: 1"),
        (b"A", b"b\rEvil: 1"),
        (b"A", b"b\0"),
        (b"A\r\nEvil", b"1"),
        (b"A B", b"1"),
        (b"A:", b"1"),
        (b"", b"1"),
    ],
)
async def test_no_header_smuggles_another(kind: str, header: tuple[bytes, bytes]) -> None:
    async with engine_of(kind) as engine, peer(serving(OK)) as far:
        with pytest.raises(httpx.LocalProtocolError):
            await fetch(engine, request(far.url, headers=[header]))
        assert all(not line.heads for line in far.lines)


async def test_other_schemes_are_refused(kind: str) -> None:
    async with engine_of(kind) as engine:
        for url in ("ftp://127.0.0.1/", "/only/a/path"):
            with pytest.raises(httpx.UnsupportedProtocol):
                await fetch(engine, request(url))


# ---- what comes back -----------------------------------------------------------------------------


class Good(NamedTuple):
    name: str
    answer: bytes
    body: bytes
    kept: bool
    method: str = "POST"
    status: int = 200


GOOD = (
    Good("length", OK, b"ok", True),
    Good("empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", True),
    Good("chunked", CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789", True),
    Good("chunked, nothing in it", CHUNKED + b"0\r\n\r\n", b"", True),
    Good(
        "chunk extensions and trailers",
        CHUNKED + b'1;a=b;c="d"\r\nx\r\n0;last\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n',
        b"x",
        True,
    ),
    Good(
        "close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"ok",
        False,
    ),
    Good("until the end", b"HTTP/1.1 200 OK\r\n\r\nall there is", b"all there is", False),
    Good("until the end, empty", b"HTTP/1.1 200 OK\r\n\r\n", b"", False),
    Good("1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    Good("1.0 until the end", b"HTTP/1.0 200 OK\r\n\r\nok", b"ok", False),
    Good("100", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok", True),
    Good(
        "100, 102, 103",
        b"HTTP/1.1 100 A\r\n\r\nHTTP/1.1 102 B\r\nX: 1\r\n\r\n"
        b"HTTP/1.1 103 C\r\nLink: </a>\r\n\r\n" + OK,
        b"ok",
        True,
    ),
    Good("204", b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, "POST", 204),
    Good("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True, "GET", 304),
    Good("no reason", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    Good("500", b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", b"no", True, "POST", 500),
)  # fmt: skip


@pytest.mark.parametrize("case", GOOD, ids=[case.name for case in GOOD])
async def test_a_good_answer_is_read(kind: str, case: Good) -> None:
    async def script(line: Line) -> None:
        while True:
            await line.answer(case.answer)
            if not case.kept:
                return

    async with engine_of(kind) as engine, peer(script) as far:
        for _ in range(2):
            got = await fetch(engine, request(far.url, case.method))
            assert got == (case.status, case.body)
        assert len(far.lines) == (1 if case.kept else 2)


@pytest.mark.parametrize("case", GOOD, ids=[case.name for case in GOOD])
async def test_a_good_answer_is_read_byte_by_byte(kind: str, case: Good) -> None:
    async def script(line: Line) -> None:
        await line.read_request()
        await line.drip(case.answer)

    async with engine_of(kind) as engine, peer(script) as far:
        got = await fetch(engine, request(far.url, case.method))
        assert got == (case.status, case.body)


async def test_the_head_of_an_answer(kind: str) -> None:
    answer = (
        b"HTTP/1.1 299 Fine, thanks\r\nx-amzn-RequestId: a\r\nX-Two: 1\r\nx-two: 2\r\n"
        b"X-Empty:\r\nX-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n"
    )
    async with engine_of(kind) as engine, peer(once(answer)) as far:
        response = await engine.handle_async_request(request(far.url))
        assert response.status_code == 299
        assert response.reason_phrase == "Fine, thanks"
        assert response.http_version == "HTTP/1.1"
        assert response.headers.raw == [
            (b"x-amzn-RequestId", b"a"),
            (b"X-Two", b"1"),
            (b"x-two", b"2"),
            (b"X-Empty", b""),
            (b"X-Latin", b"caf\xe9"),
            (b"Content-Length", b"0"),
        ]
        assert await drain(response) == b""
        await response.aclose()


async def test_a_head_answer_has_no_body(kind: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with engine_of(kind) as engine, peer(serving(answer)) as far:
        for _ in range(2):
            async with asyncio.timeout(2):
                assert await fetch(engine, request(far.url, "HEAD", content=None)) == (200, b"")


async def test_a_body_comes_as_it_comes(kind: str) -> None:
    go = asyncio.Event()

    async def script(line: Line) -> None:
        await line.answer(CHUNKED)
        for part in (b"1", b"2", b"3"):
            await go.wait()
            go.clear()
            await line.send(b"1\r\n%b\r\n" % part)
        await go.wait()
        await line.send(b"0\r\n\r\n")

    async with engine_of(kind) as engine, peer(script) as far:
        response = await engine.handle_async_request(request(far.url))
        body = body_of(response)
        for expected in (b"1", b"2", b"3"):
            go.set()
            assert await anext(body) == expected
        go.set()
        with pytest.raises(StopAsyncIteration):
            await anext(body)
        await response.aclose()


async def test_a_body_is_not_decoded(kind: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\0"
    async with engine_of(kind) as engine, peer(serving(answer)) as far:
        assert await fetch(engine, request(far.url)) == (200, b"\x1f\x8b\0\0")


async def test_redirects_are_answers(kind: str) -> None:
    answer = b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with engine_of(kind) as engine, peer(serving(answer)) as far:
        assert await fetch(engine, request(far.url)) == (307, b"")


async def test_an_answer_under_httpx_client(kind: str) -> None:
    answer = CHUNKED + b"2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n"
    async with engine_of(kind) as engine, peer(serving(answer)) as far:
        async with httpx.AsyncClient(transport=engine) as client:
            for _ in range(2):
                assert (await client.post(far.url, json={"a": 1})).json() == [1]
        assert len(far.lines) == 1
