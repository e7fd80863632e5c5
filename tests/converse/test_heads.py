"""The short way for messages whose head is known: it reads what the long way reads."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.converse.eventstream import Decoder, FramingError, Message, heads_of, string_headers
from proxy.converse.stream import ConverseStream

DELTA = {
    ":event-type": "contentBlockDelta",
    ":content-type": "application/json",
    ":message-type": "event",
}
BLOCK = string_headers(*DELTA.items())
LONGEST = 40
HEADS = heads_of(DELTA, LONGEST)


def frame(payload: bytes, block: bytes = BLOCK) -> bytes:
    prelude = b"".join(n.to_bytes(4) for n in (len(block) + len(payload) + 16, len(block)))
    message = prelude + crc32(prelude).to_bytes(4) + block + payload
    return message + crc32(message).to_bytes(4)


def read(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Message], str]:
    messages: list[Message] = []
    for piece in pieces:
        more, fault = decoder.feed(piece)
        messages += more
        if fault is not None:
            return messages, str(fault)
    return messages, str(decoder.pending)


payloads = st.binary(max_size=LONGEST + 5)
frames = st.one_of(payloads.map(frame), payloads.map(lambda data: frame(data, BLOCK[:-1] + b"T")))


@given(st.lists(frames, max_size=5), st.data())
def test_both_ways_read_alike(messages: list[bytes], data: st.DataObject) -> None:
    """Whole, cut, and with a byte that was changed anywhere."""
    raw = bytearray(b"".join(messages))
    if raw and data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    pieces = [bytes(raw[:cut]), bytes(raw[cut:])]
    assert read(Decoder(heads=HEADS), pieces) == read(Decoder(), pieces)


def test_each_length_is_known() -> None:
    for size in range(LONGEST + 1):
        raw = frame(b"x" * size)
        assert HEADS.find(raw[: HEADS.size]) == (len(raw), crc32(raw[: HEADS.size]))
    assert HEADS.find(frame(b"x" * (LONGEST + 1))[: HEADS.size]) is None


def test_a_fault_behind_a_known_head_is_told() -> None:
    raw = frame(b"payload")
    messages, fault = Decoder(heads=HEADS).feed(raw + raw[:-1] + b"?")
    assert messages == [(DELTA, b"payload")]
    assert isinstance(fault, FramingError)
    assert str(fault) == "message checksum mismatch"


@pytest.mark.parametrize("size", [1, 511, 512, 513])
def test_a_streams_own_limit_holds(size: int) -> None:
    """Also below what the known heads would let pass."""
    stream = ConverseStream(max_payload=size)
    stream.receive(frame(b"x" * (size + 1)))
    assert stream.failure is not None
    assert "over the limit" in stream.failure.message
