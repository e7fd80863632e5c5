"""Chunks of a chat stream as bytes: a head and a tail rendered once, one JSON value between.

All chunks of a choice share everything but their delta, and nearly all deltas are one string under
one key. So ``Frame`` renders the constant bytes once per stream, ``slot`` once per key, and a text
delta costs one ``orjson.dumps`` and one concatenation. Nothing here knows Converse.

Every chunk is one ``data:`` line, whatever its reader takes for a line end (``lines.py``). Source:
OpenAI API reference, *The chat completion chunk object*; WHATWG HTML, *Server-sent events*.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from proxy.converse.types import Json
from proxy.dialect import Stamp
from proxy.openai.lines import dumps

COMPLETION: Final = "chatcmpl-"
HOLE: Final = "\0"
_TAIL: Final = b',"logprobs":null,"finish_reason":null}]'


class Slot(NamedTuple):
    """A chunk with a hole: ``head + <JSON value> + tail``."""

    head: bytes
    tail: bytes

    def fill(self, texts: Sequence[str], out: list[bytes]) -> None:
        """A chunk for each text, at the end of ``out``."""
        head, tail = self
        for text in texts:
            # The hot path: what needs escaping beyond JSON's own rules is not ASCII.
            out.append(head + (orjson.dumps(text) if text.isascii() else dumps(text)) + tail)


class Frame:
    """The chunks of one choice.

    ``usage_null``: usage was asked for, so every chunk but the last carries ``usage: null``.
    """

    def __init__(self, stamp: Stamp, index: int, usage_null: bool) -> None:
        self._base: Final = {
            "id": COMPLETION + stamp.id,
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": stamp.model,
        }
        self._index: Final = index
        self._usage_null: Final = usage_null
        self._open: Final = b"data: %b,%b" % (
            dumps(self._base)[:-1],
            b'"choices":[{"index":%d,"delta":' % index,
        )
        self._close: Final = _TAIL + (b',"usage":null}\n\n' if usage_null else b"}\n\n")

    def text(self) -> Slot:
        """The chunk of a piece of text, which every stream has."""
        return Slot(self._open + b'{"content":', b"}" + self._close)

    def slot(self, delta: Mapping[str, Json]) -> Slot:
        """The chunk with this delta, in which one string is ``HOLE``."""
        head, tail = dumps(delta).split(dumps(HOLE))
        return Slot(self._open + head, tail + self._close)

    def delta(self, delta: Mapping[str, Json]) -> bytes:
        return self._open + dumps(delta) + self._close

    def finish(
        self, reason: str, choice: Mapping[str, Json], top: Mapping[str, Json], usage: Json = None
    ) -> bytes:
        """The choice's last chunk. ``choice`` and ``top`` are what it carries beyond OpenAI's."""
        chunk: dict[str, Json] = {
            **self._base,
            "choices": [
                {
                    "index": self._index,
                    "delta": {},
                    "logprobs": None,
                    "finish_reason": reason,
                    **choice,
                }
            ],
            **top,
        }
        if usage is not None or self._usage_null:
            chunk["usage"] = usage
        return b"data: " + dumps(chunk) + b"\n\n"


def usage_chunk(stamp: Stamp, usage: Mapping[str, Json], top: Mapping[str, Json]) -> bytes:
    """The last chunk of all: no choice, only usage."""
    chunk = {
        "id": COMPLETION + stamp.id,
        "object": "chat.completion.chunk",
        "created": stamp.created,
        "model": stamp.model,
        "choices": [],
        **top,
        "usage": usage,
    }
    return b"data: " + dumps(chunk) + b"\n\n"
