"""The event stream, written: `application/vnd.amazon.eventstream` messages with both CRCs.

An encoder of its own, sharing nothing with the proxy's decoder. Layout of one message: total
length, header length, CRC-32 of those eight bytes, headers, payload, CRC-32 of all before it.
Recorded habits are kept (captures facts 1-3): headers in the order `:event-type`, `:content-type`,
`:message-type`; compact JSON with sorted keys; a padding member `p` of 2 to 61 characters in every
event.

Source: AWS "event stream encoding" page; test vectors in the tests were made by botocore's decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from random import Random
from typing import Any
from zlib import crc32

import orjson

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_STRING = 7

Headers = tuple[tuple[str, str], ...]


def message(headers: bytes, payload: bytes) -> bytes:
    """One framed message from an encoded header block and its payload."""
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    checked = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return checked + struct.pack(">I", crc32(checked))


@lru_cache(maxsize=256)
def header_block(headers: Headers) -> bytes:
    """Encode string headers (type 7) in the given order."""
    block = bytearray()
    for name, value in headers:
        encoded_name, encoded = name.encode(), value.encode()
        block += struct.pack(">B", len(encoded_name)) + encoded_name
        block += struct.pack(">BH", _STRING, len(encoded)) + encoded
    return bytes(block)


def event(event_type: str, payload: dict[str, Any], padding: Random) -> bytes:
    """An ordinary event; `p` is added unless the payload brings its own."""
    padded = {"p": _ALPHABET[: padding.randint(2, 61)], **payload}
    headers = (
        (":event-type", event_type),
        (":content-type", "application/json"),
        (":message-type", "event"),
    )
    return message(header_block(headers), orjson.dumps(padded, option=orjson.OPT_SORT_KEYS))


def exception(exception_type: str, payload: dict[str, Any]) -> bytes:
    """An exception message; `exception_type` is the member name, such as `throttlingException`."""
    headers = (
        (":exception-type", exception_type),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    )
    return message(header_block(headers), orjson.dumps(payload))


def error(code: str, text: str) -> bytes:
    """A framing-level error message: code and text in headers, no payload."""
    headers = ((":error-code", code), (":error-message", text), (":message-type", "error"))
    return message(header_block(headers), b"")


def raw(headers: Iterable[tuple[str, str]], payload: bytes) -> bytes:
    """Any message at all, for scripted answers."""
    return message(header_block(tuple(headers)), payload)


def corrupt(frame: bytes) -> bytes:
    """The same message with the last byte of its checksum flipped."""
    return frame[:-1] + bytes([frame[-1] ^ 0xFF])
