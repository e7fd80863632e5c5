"""Requests as bytes: the order of headers, the framing of bodies, and what is refused."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bedrock.transport import Outgoing
from proxy.bedrock.wire_request import SLICE, encode, encode_whole

URL = "https://bedrock-runtime.us-east-1.amazonaws.com"


def asked(content: object = b"{}", **kwargs: object) -> httpx.Request:
    return httpx.Request("POST", URL + "/model/a%3A0/converse", content=content, **kwargs)  # type: ignore[arg-type]


async def written(request: httpx.Request) -> list[bytes]:
    first, more = encode(request)
    return [first] + ([bytes(piece) async for piece in more] if more else [])


def test_head_and_small_body_are_one_write() -> None:
    request = asked(headers=[(b"x-a", b"1"), (b"Authorization", b"AWS4 x, y=z")])
    request.headers.update({"x-amz-date": "20260102T030405Z"})
    assert encode(request) == (
        b"POST /model/a%3A0/converse HTTP/1.1\r\n"
        b"Host: bedrock-runtime.us-east-1.amazonaws.com\r\n"
        b"x-a: 1\r\nAuthorization: AWS4 x, y=z\r\nContent-Length: 2\r\n"
        b"x-amz-date: 20260102T030405Z\r\n\r\n{}",
        None,
    )


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, 1, SLICE, 3 * SLICE + 1])
async def test_a_request_of_ours_is_written_like_httpx_s(size: int) -> None:
    ours = Outgoing("POST", httpx.URL(URL + "/model/a%3A0/converse"), b"x" * size)
    ours.add({"X-Amzn-Bedrock-Trace": "1", "traceparent": "00-a-b-01"})
    headers = [*ours.headers.items()]
    first, more = encode_whole(ours.method, ours.url, headers, ours.body)
    straight = [first] + ([bytes(piece) async for piece in more] if more else [])
    request = httpx.Request("POST", ours.url, headers=headers, stream=httpx.ByteStream(ours.body))
    request.read()
    assert straight == await written(request)
    assert b"\r\nx-amzn-bedrock-trace: 1\r\n" in first


@pytest.mark.parametrize(
    "headers", [{"traceparent": "a\r\nx: y"}, {"x:": "1"}, {"content-length": "3"}, {"": "1"}]
)
def test_a_request_of_ours_smuggles_nothing(headers: dict[str, str]) -> None:
    ours = Outgoing("POST", httpx.URL(URL + "/x"), b"{}")
    ours.add(headers)
    with pytest.raises(httpx.LocalProtocolError):
        encode_whole(ours.method, ours.url, [*ours.headers.items()], ours.body)


def test_a_request_without_body() -> None:
    request = httpx.Request("GET", URL + "/foundation-models?byOutputModality=TEXT")
    data, more = encode(request)
    assert data == (
        b"GET /foundation-models?byOutputModality=TEXT HTTP/1.1\r\n"
        b"Host: bedrock-runtime.us-east-1.amazonaws.com\r\n\r\n"
    )
    assert more is None


@pytest.mark.anyio
@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE, 3 * SLICE + 7])
async def test_a_body_is_cut_into_slices(size: int) -> None:
    body = bytes(n % 251 for n in range(size))
    pieces = await written(asked(body))
    assert b"".join(pieces).endswith(b"Content-Length: %d\r\n\r\n%b" % (size, body))
    assert len(pieces) == max(1, -(-size // SLICE))
    assert all(len(piece) <= SLICE for piece in pieces[1:])


@pytest.mark.anyio
@pytest.mark.parametrize("length", [None, b"3", b"5"])
async def test_a_streamed_body(length: bytes | None) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"ab", b"", b"cd"):
            yield part

    request = asked(parts(), headers=[(b"Content-Length", length)] if length else None)
    if length is None:
        pieces = await written(request)
        assert pieces[1:] == [b"2\r\nab\r\n", b"2\r\ncd\r\n", b"0\r\n\r\n"]
        assert b"Transfer-Encoding: chunked\r\n" in pieces[0]
    else:
        with pytest.raises(httpx.LocalProtocolError, match="declared Content-Length"):
            await written(request)


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_one_header_stays_one_line(name: bytes, value: bytes) -> None:
    """Whatever gets through has exactly the lines it should have, and names that are tokens."""
    request = asked(headers=[(name, value)])
    try:
        data, _ = encode(request)
    except httpx.LocalProtocolError:
        return
    head = data.removesuffix(b"{}")
    if name.lower() not in (b"host", b"content-length", b"transfer-encoding"):
        assert head.split(b"\r\n")[2] == name + b": " + value
        assert head.count(b"\r") == head.count(b"\n") == 5
    assert b"\0" not in head


@pytest.mark.parametrize(
    ("headers", "match"),
    [
        ([(b"Transfer-Encoding", b"gzip")], "transfer encoding"),
        ([(b"Content-Length", b"+2")], "Content-Length"),
        ([(b"Content-Length", b"3")], "Too little"),
        ([(b"Host", b"a"), (b"Host", b"b")], "one Host"),
        ([(b"", b"b")], "no name"),
    ],
)
def test_what_would_be_misread_is_refused(headers: list[tuple[bytes, bytes]], match: str) -> None:
    with pytest.raises(httpx.LocalProtocolError, match=match):
        encode(asked(headers=headers))


def test_a_missing_host_is_refused() -> None:
    request = asked()
    del request.headers["host"]
    with pytest.raises(httpx.LocalProtocolError, match="Host"):
        encode(request)


@pytest.mark.parametrize("method", ["", "PO ST", "POST\r\nA: b", "PÖST"])
def test_a_method_is_a_token(method: str) -> None:
    request = asked()
    request.method = method
    with pytest.raises(httpx.LocalProtocolError, match="method"):
        encode(request)
