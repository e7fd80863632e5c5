"""Our event stream decoder against botocore's, which is the oracle.

What botocore refuses we refuse, what it reads we read alike; the three known differences stand in
``STRICTER`` with their reasons. Recorded streams are read where the captures are present, cut at
every offset; everything else here is made.
"""

import random
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError

from proxy.converse import eventstream
from proxy.converse.eventstream import (
    MAX_HEADERS,
    MAX_PAYLOAD,
    Decoder,
    FramingError,
    Message,
    parse_headers,
)

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
SMALL = 2_000  # bytes up to which a capture is cut at every offset in the default suite


# ---- making frames ----------------------------------------------------------------------------


def header(name: str, value: object, kind: int = 7) -> bytes:
    """A header of any of the ten types."""
    raw = name.encode()
    head = bytes([len(raw)]) + raw + bytes([kind])
    if kind in {0, 1}:
        return head
    if kind in {6, 7}:
        data = value.encode() if isinstance(value, str) else value
        assert isinstance(data, bytes)
        return head + struct.pack(">H", len(data)) + data
    if kind == 9:
        assert isinstance(value, bytes)
        return head + value
    return head + struct.pack({2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}[kind], value)


def frame(headers: bytes = b"", payload: bytes = b"", **lies: int) -> bytes:
    """A whole message; ``total`` and ``header_size`` may lie (with checksums that agree)."""
    total = lies.get("total", len(headers) + len(payload) + 16)
    prelude = struct.pack(">II", total, lies.get("header_size", len(headers)))
    body = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return body + struct.pack(">I", crc32(body))


EVENT = header(":event-type", "contentBlockDelta") + header(":message-type", "event")


# ---- reading them, both ways ------------------------------------------------------------------


def oracle(data: bytes) -> tuple[list[tuple[dict[str, Any], bytes]], bool]:
    """botocore's messages (string headers only), and whether it refused what followed."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    read: list[tuple[dict[str, Any], bytes]] = []
    try:
        for message in buffer:
            strings = {k: v for k, v in message.headers.items() if isinstance(v, str)}
            read.append((strings, message.payload))
    except (ParserError, UnicodeDecodeError, KeyError, struct.error):
        return read, True
    return read, False


def ours(data: bytes) -> tuple[list[tuple[dict[str, str], bytes]], bool]:
    messages, fault = Decoder().feed(data)
    return plain(messages), fault is not None


def plain(messages: list[Message]) -> list[tuple[dict[str, str], bytes]]:
    return [(dict(headers), payload) for headers, payload in messages]


def read_in(pieces: Iterator[bytes]) -> tuple[list[Message], int]:
    """All messages of the pieces, fed one after another, and the bytes left over."""
    decoder = Decoder()
    messages: list[Message] = []
    for piece in pieces:
        more, fault = decoder.feed(piece)
        assert fault is None
        messages += more
    return messages, decoder.pending


# ---- test vectors -----------------------------------------------------------------------------

# Made by the official encoder; eventstream-and-signing.md section 11.
VECTORS = (
    (
        "0000009e00000057fe1b824f0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c7461"
        "0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74"
        "797065070005"
        "6576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a"
        "224869227d2c2270223a22616263227d9343f010",
        {
            ":event-type": "contentBlockDelta",
            ":content-type": "application/json",
            ":message-type": "event",
        },
        b'{"contentBlockIndex":0,"delta":{"text":"Hi"},"p":"abc"}',
    ),
    (
        "00000090000000618e91a9b70f3a657863657074696f6e2d747970650700137468726f74746c696e67457863"
        "657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573"
        "736167652d74797065070009657863657074696f6e7b226d657373616765223a22546f6f206d616e79207265"
        "717565737473227de67f8005",
        {
            ":exception-type": "throttlingException",
            ":content-type": "application/json",
            ":message-type": "exception",
        },
        b'{"message":"Too many requests"}',
    ),
    (
        "000000550000004593672acd0b3a6572726f722d636f646507000d496e7465726e616c4572726f720e3a6572"
        "726f722d6d657373616765070001780d3a6d6573736167652d74797065070005"
        "6572726f722599acd9",
        {":error-code": "InternalError", ":error-message": "x", ":message-type": "error"},
        b"",
    ),
)


@pytest.mark.parametrize(("hexed", "headers", "payload"), VECTORS)
def test_vector_at_every_split(hexed: str, headers: dict[str, str], payload: bytes) -> None:
    data = bytes.fromhex(hexed)
    assert oracle(data) == ([(headers, payload)], False)
    for cut in range(len(data) + 1):
        messages, left = read_in(iter((data[:cut], data[cut:])))
        assert plain(messages) == [(headers, payload)]
        assert left == 0
    for cut in range(1, len(data)):
        assert read_in(iter((data[:cut],))) == ([], cut)


# ---- recorded streams -------------------------------------------------------------------------


def captures() -> list[Path]:
    found = sorted(CAPTURES.glob("*/*.bin"))
    if not found:
        pytest.skip("the recorded captures are not beside this checkout")
    return found


def test_captures_read_as_botocore_reads_them() -> None:
    read = 0
    for path in captures():
        data = path.read_bytes()
        assert ours(data) == oracle(data), path
        messages, left = read_in(data[at : at + 1] for at in range(len(data)))
        assert plain(messages) == oracle(data)[0], path
        assert left == 0, path
        read += len(messages)
    assert read > 2_000


def cut_everywhere(path: Path) -> None:
    data = path.read_bytes()
    whole, _ = read_in(iter((data,)))
    for cut in range(1, len(data)):
        assert read_in(iter((data[:cut], data[cut:]))) == (whole, 0), (path, cut)


def test_small_captures_at_every_split() -> None:
    small = [path for path in captures() if path.stat().st_size <= SMALL]
    assert len(small) >= 15
    for path in small:
        cut_everywhere(path)


@pytest.mark.long
def test_all_captures_at_every_split() -> None:
    for path in captures():
        if path.stat().st_size <= 20_000:
            cut_everywhere(path)


# ---- made messages ----------------------------------------------------------------------------


def some_headers(dice: random.Random) -> bytes:
    block = b""
    for ordinal in range(dice.randrange(7)):
        name = f":h{ordinal}" + "ü" * dice.randrange(3)
        kind = dice.randrange(10)
        values: dict[int, object] = {
            2: dice.randrange(-128, 128),
            3: dice.randrange(-(2**15), 2**15),
            4: dice.randrange(-(2**31), 2**31),
            5: dice.randrange(-(2**63), 2**63),
            6: dice.randbytes(dice.randrange(300)),
            7: "".join(dice.choices("aé€😀\n", k=dice.randrange(80))),
            8: dice.randrange(-(2**63), 2**63),
            9: uuid.UUID(int=dice.getrandbits(128)).bytes,
        }
        block += header(name, values.get(kind), kind)
    return block


@pytest.mark.parametrize("seed", range(40))
def test_random_messages(seed: int) -> None:
    dice = random.Random(seed)
    data = b"".join(
        frame(some_headers(dice), dice.randbytes(dice.randrange(400))) for _ in range(25)
    )
    assert ours(data) == oracle(data)
    assert len(ours(data)[0]) == 25
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        step = dice.choice((1, 2, 11, 12, 13, 100, 2_000))
        pieces.append(data[at : at + step])
        at += step
    messages, left = read_in(iter(pieces))
    assert (plain(messages), left) == (oracle(data)[0], 0)


@pytest.mark.parametrize("kind", range(10))
def test_every_header_type(kind: int) -> None:
    values: dict[int, object] = {6: b"\x00\xff", 7: "text", 9: b"0123456789abcdef"}
    data = frame(header("first", values.get(kind, 1), kind) + header("last", "x"), b"p")
    assert ours(data) == oracle(data)
    strings = {"first": "text", "last": "x"} if kind == 7 else {"last": "x"}
    assert ours(data) == ([(strings, b"p")], False)


def test_no_headers_and_no_payload() -> None:
    assert ours(frame() * 3) == oracle(frame() * 3) == ([({}, b"")] * 3, False)


# ---- corruption -------------------------------------------------------------------------------


def test_every_flipped_bit_is_refused() -> None:
    """Prelude, headers, payload and both checksums: no bit is unguarded."""
    good = frame(EVENT, b'{"a":1}')
    for at in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            assert ours(bytes(bad)) == oracle(bytes(bad)) == ([], True), (at, bit)


def test_good_messages_before_a_bad_one_are_kept() -> None:
    good, bad = frame(EVENT, b"{}"), bytearray(frame(EVENT, b"[]"))
    bad[-6] ^= 1
    data = good * 3 + bytes(bad) + good
    assert ours(data) == oracle(data)
    messages, fault = Decoder().feed(data)
    assert len(messages) == 3
    assert str(fault) == "message checksum mismatch"


REFUSED = {
    "unknown header type": frame(header("a", b"x", 6).replace(b"a\x06", b"a\x0a")),
    "the highest header type": frame(b"\x01a\xff"),
    "duplicate header": frame(header("a", "1") + header("a", "2")),
    "duplicate of another type": frame(header("a", "1") + header("a", None, 0)),
    "name is no UTF-8": frame(b"\x01\xff\x00"),
    "value is no UTF-8": frame(header("a", b"\xff\xfe", 7)),
    "no type after the name": frame(b"\x01a"),
    "length of a string cut": frame(b"\x01a\x07\x00"),
    "int16 cut": frame(b"\x01a\x03\x00"),
    "int32 cut": frame(b"\x01a\x04\x00\x00"),
    "int64 cut": frame(b"\x01a\x05\x00\x00\x00"),
    "timestamp cut": frame(b"\x01a\x08\x00"),
    "int8 missing": frame(b"\x01a\x02"),
    "headers over the limit": frame(total=2**20, header_size=MAX_HEADERS + 1),
    "payload over the limit": frame(total=MAX_PAYLOAD + 17, header_size=0),
    "2 GiB": frame(total=2**31, header_size=0),
    "4 GiB - 1": frame(total=2**32 - 1, header_size=0),
    "an HTML page": b"<html><head><title>502 Bad Gateway</title>",
    "JSON": b'{"message":"Internal error"}',
    "zeros": bytes(64),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_both(data: bytes) -> None:
    assert ours(data) == oracle(data) == ([], True)


ACCEPTED = {
    "empty name": frame(header("", "x")),
    "empty string": frame(header("a", "")),
    "NUL in a string": frame(header("a", "\x00")),
    "255 bytes of name": frame(header("n" * 255, "x")),
    "65535 bytes of value": frame(header("a", "v" * 65_535)),
    "payload is not JSON": frame(EVENT, b"\xff\x00"),
    "headers at the limit": frame(
        header("a", b"x" * 65_535, 6) + header("b", b"x" * (MAX_HEADERS - 65_535 - 10), 6)
    ),
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_by_both(data: bytes) -> None:
    assert ours(data) == oracle(data)
    assert len(ours(data)[0]) == 1


def borrowed_headers() -> bytes:
    """A message of 16 bytes that claims headers, with checksums that agree, and what follows it
    made so that it parses as those headers."""
    for size in range(200, MAX_HEADERS):
        start = frame(total=16, header_size=size)
        length, *name = start[12:]
        rest = size - 1 - length - 3
        if length >= 3 and max(name) < 0x80 and 0 <= rest <= 65_535:
            return start + b"n" * (length - 3) + b"\x07" + struct.pack(">H", rest) + b"v" * rest
    raise AssertionError("no such message")


# Where we are stricter, on purpose.
STRICTER = {
    # botocore slices beyond the block's end and takes the short rest for the value.
    "string shorter than it says": frame(b"\x01a\x07\x00\x09abc"),
    "bytes shorter than they say": frame(b"\x01a\x06\x00\x09abc"),
    "uuid cut": frame(b"\x01a\x09\x00\x01"),
    # botocore takes what follows the message for its headers.
    "headers longer than the message": borrowed_headers(),
}


@pytest.mark.parametrize("data", STRICTER.values(), ids=STRICTER.keys())
def test_stricter_than_botocore(data: bytes) -> None:
    assert len(oracle(data)[0]) == 1  # it reads a message here; were it to refuse, delete the row
    assert ours(data) == ([], True)


@pytest.mark.parametrize("total", [0, 1, 11, 12, 15])
def test_message_shorter_than_its_frame(total: int) -> None:
    assert ours(frame(total=total, header_size=0)) == ([], True)


def test_headers_longer_than_the_message() -> None:
    _, fault = Decoder().feed(frame(b"", b"", total=100, header_size=85))
    assert "cannot hold" in str(fault)


def test_parse_headers_alone() -> None:
    assert parse_headers(header("n", 5, 4) + EVENT) == {
        ":event-type": "contentBlockDelta",
        ":message-type": "event",
    }
    with pytest.raises(FramingError, match="inside a header"):
        parse_headers(EVENT[:-1])


# ---- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lie", [{"total": 2**31}, {"total": 15}, {"total": 2**20, "header_size": 2**20 - 15}]
)
def test_length_is_judged_before_anything_is_buffered(lie: dict[str, int]) -> None:
    """Twelve bytes are enough to know; a decoder that waits for the rest hangs for ever."""
    prelude = frame(**{"header_size": 0, **lie})[:12]
    decoder = Decoder()
    assert decoder.feed(prelude[:11]) == ([], None)
    messages, fault = decoder.feed(prelude[11:])
    assert (messages, isinstance(fault, FramingError)) == ([], True)


def test_corrupt_length_is_refused_while_bytes_are_missing() -> None:
    prelude = bytearray(frame(EVENT, b"{}")[:12])
    prelude[2] ^= 0x10  # now it claims to be about 1 MB
    _, fault = Decoder().feed(bytes(prelude))
    assert str(fault) == "prelude checksum mismatch"


def test_own_payload_limit() -> None:
    assert Decoder(max_payload=10).feed(frame(EVENT, b"x" * 10))[1] is None
    _, fault = Decoder(max_payload=10).feed(frame(EVENT, b"x" * 11)[:12])
    assert "over the limit" in str(fault)
    # Room that the headers left unused is no room for payload.
    _, fault = Decoder(max_payload=10).feed(frame(b"", b"x" * 1000))
    assert "over the limit" in str(fault)


def test_pending_tells_what_is_missing() -> None:
    data = frame(EVENT, b"{}")
    decoder = Decoder()
    assert decoder.pending == 0
    decoder.feed(data + data[:5])
    assert decoder.pending == 5
    decoder.feed(data[5:])
    assert decoder.pending == 0
    decoder.feed(b"")
    assert decoder.pending == 0


def test_header_memo_is_shared_and_bounded() -> None:
    decoder = Decoder()
    first, _ = decoder.feed(frame(EVENT, b"1"))
    again, _ = decoder.feed(frame(EVENT, b"2"))
    assert first[0][0] is again[0][0]
    with pytest.raises(TypeError):
        first[0][0]["x"] = "y"  # type: ignore[index]
    for ordinal in range(1_000):
        messages, fault = decoder.feed(frame(header("n", str(ordinal))))
        assert (fault, messages[0][0]) == (None, {"n": str(ordinal)})
        assert len(decoder._headers) <= 64


# ---- cost: counted, not timed -----------------------------------------------------------------


class Work:
    """Counts the bytes that go through the checksum, the decoder's only pass over everything."""

    def __init__(self) -> None:
        self.bytes = 0

    def crc32(self, data: bytes, value: int = 0) -> int:
        self.bytes += len(data)
        return crc32(data, value)


def test_many_messages_in_one_read_are_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    one = frame(EVENT, b'{"contentBlockIndex":0,"delta":{"text":"token"}}')
    for count in (1, 10, 1_000):
        work = Work()
        monkeypatch.setattr(eventstream, "crc32", work.crc32)
        messages, fault = Decoder().feed(one * count)
        assert (len(messages), fault) == (count, None)
        assert work.bytes == count * (len(one) - 4)  # each byte once, but for the checksum itself


def test_large_message_in_small_reads_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for its prelude, once when it is whole; not at every read in between."""
    looks: list[int] = []
    look = Decoder._messages

    def counted(self: Decoder, data: bytes, messages: list[Message]) -> int:
        looks.append(len(data))
        return look(self, data, messages)

    monkeypatch.setattr(Decoder, "_messages", counted)
    data = frame(EVENT, b"x" * 4_000_000)
    messages, left = read_in(data[at : at + 1_024] for at in range(0, len(data), 1_024))
    assert ([len(payload) for _, payload in messages], left) == ([4_000_000], 0)
    assert looks == [1_024, len(data)]


def test_slow_drip_of_many_messages_copies_little(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    look = Decoder._messages

    def counted(self: Decoder, data: bytes, messages: list[Message]) -> int:
        nonlocal looked
        looked += len(data)
        return look(self, data, messages)

    monkeypatch.setattr(Decoder, "_messages", counted)
    data = frame(EVENT, b"x" * 100) * 200
    read_in(data[at : at + 50] for at in range(0, len(data), 50))
    assert looked < 4 * len(data)


@pytest.mark.long
def test_large_message_in_small_reads_takes_no_time() -> None:
    """16 MB by 512 bytes: hundredths of a second; copied at every read, half a minute."""
    data = frame(EVENT, b"x" * 16_000_000)
    start = time.thread_time()
    messages, left = read_in(data[at : at + 512] for at in range(0, len(data), 512))
    assert (len(messages), left) == (1, 0)
    assert time.thread_time() - start < 2.0
