"""AWS event stream messages: prelude, headers, payload, two CRCs.

A reader in h11's manner: ``feed`` bytes as they come, get whole messages; no socket, no await. The
length is judged (and its CRC checked) before anything is buffered for it, so a corrupt or hostile
length can neither hang nor fill us. Header blocks repeat byte for byte within a stream (one per
event type in every recording), so a parsed block is remembered by its raw bytes, bounded.

Errors: ``FramingError`` and nothing else. What a message *means* is ``stream.py``'s business.
Source: Smithy, *Amazon Event Stream Specification*; bounds as in botocore's own decoder.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple
from zlib import crc32

MAX_HEADERS: Final = 128 * 1024
MAX_PAYLOAD: Final = 24 * 1024 * 1024
_OVERHEAD: Final = 16  # prelude (12) and the message's CRC (4)
_REMEMBERED: Final = 64

_PRELUDE: Final = Struct(">II")
_CRC: Final = Struct(">I")
_read_prelude: Final = Struct(">III").unpack_from
_read_crc: Final = _CRC.unpack_from
_U16: Final = Struct(">H")


class FramingError(Exception):
    """The bytes are not a well-formed event stream; nothing after them can be trusted."""


Message = tuple[Mapping[str, str], bytes]
"""One framed unit: its string headers (``:message-type`` and so on) and its raw payload."""


class Heads(NamedTuple):
    """The heads (prelude and header block) of one kind of message, each of ``size`` bytes:
    ``find`` tells of a head's bytes how long the whole message is, and its CRC so far."""

    size: int
    headers: Mapping[str, str]
    find: Callable[[bytes], tuple[int, int] | None]


def heads_of(headers: Mapping[str, str], longest: int) -> Heads:
    """The heads that messages with these headers and a payload of up to ``longest`` bytes have."""
    block = string_headers(*headers.items())
    known = {}
    for total in range(len(block) + _OVERHEAD, len(block) + _OVERHEAD + longest + 1):
        prelude = _PRELUDE.pack(total, len(block))
        head = prelude + _CRC.pack(crc32(prelude)) + block
        known[head] = total, crc32(head)
    return Heads(len(block) + 12, headers, known.get)


NO_HEADS: Final = Heads(0, MappingProxyType({}), lambda head: None)


class Decoder:
    """Bytes in, whole messages out; keeps only the tail of an incomplete one.

    ``max_payload`` is in bytes; ``usual`` holds header blocks that need not be parsed, ``heads``
    what most messages begin with (of payloads within ``max_payload``): they are judged by one
    look-up. After a ``FramingError`` the decoder must not be fed again.
    """

    def __init__(
        self,
        max_payload: int = MAX_PAYLOAD,
        usual: Mapping[bytes, Mapping[str, str]] = MappingProxyType({}),
        heads: Heads = NO_HEADS,
    ) -> None:
        self._tail = bytearray()
        self._wanted = 0  # bytes the tail must hold before it is worth looking at
        self._max_payload = max_payload
        self._usual = usual
        self._heads = heads
        self._headers: dict[bytes, Mapping[str, str]] = {}

    def feed(self, data: bytes) -> tuple[list[Message], FramingError | None]:
        """All messages completed by ``data``, and the fault that ended them, if one did.

        Good messages that precede a fault in the same read are returned with it: the caller has
        to deliver them before it reports the fault.
        """
        messages: list[Message] = []
        if self._tail:
            self._tail += data
            if len(self._tail) < self._wanted:
                return messages, None
            data = bytes(self._tail)
        try:
            taken = self._messages(data, messages)
        except FramingError as fault:
            return messages, fault.with_traceback(None)
        self._tail = bytearray(memoryview(data)[taken:])
        return messages, None

    @property
    def pending(self) -> int:
        """Bytes of an incomplete message; not zero at the end of input means truncated."""
        return len(self._tail)

    def _messages(self, data: bytes, messages: list[Message]) -> int:
        """Append every whole message of ``data``; return how many bytes they took."""
        at, size, most = 0, len(data), self._max_payload
        span, usual, find = self._heads
        while size - at >= 12:
            known = find(data[at : at + span])
            if known is not None and (end := at + known[0]) <= size:
                payload = data[at + span : end - 4]
                if crc32(payload, known[1]) != _read_crc(data, end - 4)[0]:
                    raise FramingError("message checksum mismatch")
                messages.append((usual, payload))
                at = end
                continue
            total, header_size, prelude_crc = _read_prelude(data, at)
            actual = crc32(data[at : at + 8])
            if actual != prelude_crc:
                raise FramingError("prelude checksum mismatch")
            if header_size > MAX_HEADERS or not 0 <= total - header_size - _OVERHEAD <= most:
                raise self._misfit(total, header_size)
            head_end, end = at + 12 + header_size, at + total
            if end > size:
                self._wanted = total
                return at
            if crc32(data[at + 8 : end - 4], actual) != _read_crc(data, end - 4)[0]:
                raise FramingError("message checksum mismatch")
            block = data[at + 12 : head_end]
            headers = self._usual.get(block) or self._parse_headers(block)
            messages.append((headers, data[head_end : end - 4]))
            at = end
        self._wanted = 12
        return at

    def _misfit(self, total: int, header_size: int) -> FramingError:
        if header_size > MAX_HEADERS:
            return FramingError(f"header block of {header_size} bytes is over the limit")
        if total < _OVERHEAD + header_size:
            return FramingError(f"message of {total} bytes cannot hold {header_size} of headers")
        return FramingError(f"message of {total} bytes is over the limit")

    def _parse_headers(self, block: bytes) -> Mapping[str, str]:
        known = self._headers.get(block)
        if known is None:
            known = MappingProxyType(parse_headers(block))
            if len(self._headers) >= _REMEMBERED:  # the bytes come from the network: stay bounded
                self._headers.clear()
            self._headers[block] = known
        return known


def parse_headers(block: bytes) -> dict[str, str]:
    """A header block's string headers by name; headers of other types are checked and left out.

    Bedrock sends strings only. Raises ``FramingError`` for a block that does not parse, and for a
    name that stands twice.
    """
    headers: dict[str, str] = {}
    seen: set[str] = set()
    at = 0
    try:
        while at < len(block):
            size = block[at]
            name = _exactly(block, at + 1, size).decode()
            at += 1 + size
            kind = block[at]
            value, at = _VALUES[kind](block, at + 1)
            if name in seen:
                raise FramingError(f"header {name!r} stands twice")
            seen.add(name)
            if kind == 7:
                headers[name] = value.decode()
    except (IndexError, UnicodeDecodeError, KeyError) as fault:
        raise FramingError("malformed header block") from fault
    return headers


def string_headers(*headers: tuple[str, str]) -> bytes:
    """A header block of these string headers, as AWS writes it."""
    return b"".join(
        b"%c%b\x07%b%b" % (len(name), name.encode(), _U16.pack(len(value)), value.encode())
        for name, value in headers
    )


def _exactly(block: bytes, at: int, size: int) -> bytes:
    value = block[at : at + size]
    if len(value) != size:
        raise FramingError("header block ends inside a header")
    return value


def _fixed(size: int) -> Callable[[bytes, int], tuple[bytes, int]]:
    return lambda block, at: (_exactly(block, at, size), at + size)


def _sized(block: bytes, at: int) -> tuple[bytes, int]:
    (size,) = _U16.unpack(_exactly(block, at, 2))
    return _exactly(block, at + 2, size), at + 2 + size


_VALUES: Final = MappingProxyType(
    {
        0: _fixed(0),  # true
        1: _fixed(0),  # false
        2: _fixed(1),
        3: _fixed(2),
        4: _fixed(4),
        5: _fixed(8),
        6: _sized,  # bytes
        7: _sized,  # string
        8: _fixed(8),  # timestamp
        9: _fixed(16),  # uuid
    }
)
