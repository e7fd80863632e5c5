"""A request as HTTP/1.1 bytes: what the fast engine writes, and what it refuses to write.

The head is one byte string in the order of the headers, ``Host`` first; the target is the URL's
``raw_path`` untouched, since SigV4 signed it as it stands. A small body leaves in the same write as
its head, a large one in slices, so that what waits in memory stays bounded.

Whatever would let a header or a target smuggle a second line is refused with httpx's
``LocalProtocolError``, as is a body that is not as long as declared.
Source: RFC 9110 5.5 and 5.6.2 (fields, tokens), RFC 9112 3 and 6 (request line, framing).
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

import httpx

Piece = bytes | memoryview

SLICE: Final = 262_144
"""Bytes of a body that are handed to the socket at once."""

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_TARGET: Final = bytes(range(0x21, 0x7F))


class _Head(NamedTuple):
    data: bytes
    length: int | None
    """What Content-Length declares."""
    chunked: bool


Writes = tuple[bytes, AsyncGenerator[Piece, None] | None]
"""The first write, and the writes after it (``None``: the first is all there is)."""


def encode(request: httpx.Request) -> Writes:
    """Raises ``httpx.LocalProtocolError``; so may the iterator, when a streamed body turns out
    longer or shorter than declared."""
    head = _head(_line(request.method, request.url), request.headers.raw)
    try:
        body = request.content
    except httpx.RequestNotRead:
        return head.data, _streamed(request, head)
    if head.chunked:
        return head.data, _streamed(request, head)
    return _whole(head, body)


def encode_whole(
    method: str, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> Writes:
    """The same for a request whose body is there and has its ``Content-Length`` among the
    ``headers``. Raises ``httpx.LocalProtocolError``."""
    return _whole(_head(_line(method, url), headers), body)


def _whole(head: "_Head", body: bytes) -> Writes:
    _check_length(len(body), head.length or 0)
    if len(body) <= SLICE:
        return head.data + body, None
    return head.data + body[:SLICE], _sliced(memoryview(body))


def _head(line: bytes, headers: Sequence[tuple[bytes, bytes]]) -> _Head:
    host: list[bytes] = []
    lines: list[bytes] = []
    length: int | None = None
    chunked = False
    for name, value in headers:
        if not name:
            raise httpx.LocalProtocolError("A header has no name.")
        key = name.lower()
        (host if key == b"host" else lines).append(b"%b: %b\r\n" % (name, value))
        if key == b"content-length":
            length = _length(value)
        elif key == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise httpx.LocalProtocolError(f"Cannot send transfer encoding {value!r}.")
            chunked = True
    if len(host) != 1:
        raise httpx.LocalProtocolError("A request needs exactly one Host header.")
    if b"".join([name for name, _ in headers]).translate(None, _TOKEN):
        raise httpx.LocalProtocolError("Illegal header name.")
    if b"".join([value for _, value in headers]).translate(None, _VALUE):
        raise httpx.LocalProtocolError("Illegal header value.")
    return _Head(b"".join((line, *host, *lines, b"\r\n")), length, chunked)


def _line(method: str, url: httpx.URL) -> bytes:
    word, target = method.encode("ascii", "replace"), url.raw_path
    if not word or word.translate(None, _TOKEN):
        raise httpx.LocalProtocolError(f"Illegal method {method!r}.")
    if not target or target.translate(None, _TARGET):
        raise httpx.LocalProtocolError("Illegal request target.")
    return b"%b %b HTTP/1.1\r\n" % (word, target)


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise httpx.LocalProtocolError(f"Illegal Content-Length {value!r}.")
    return int(value)


def _check_length(size: int, declared: int) -> None:
    if size != declared:
        which = "much" if size > declared else "little"
        raise httpx.LocalProtocolError(f"Too {which} data for declared Content-Length")


async def _sliced(body: memoryview) -> AsyncGenerator[Piece, None]:
    for start in range(SLICE, len(body), SLICE):
        yield body[start : start + SLICE]


async def _streamed(request: httpx.Request, head: _Head) -> AsyncGenerator[Piece, None]:
    assert isinstance(request.stream, httpx.AsyncByteStream)
    size, declared = 0, head.length or 0
    async for part in request.stream:
        size += len(part)
        if head.chunked:
            if part:  # an empty chunk would end the body
                yield b"%x\r\n%b\r\n" % (len(part), part)
        else:
            if size > declared:
                _check_length(size, declared)
            yield part
    if head.chunked:
        yield b"0\r\n\r\n"
    else:
        _check_length(size, declared)
