"""InvokeModel answers to one list of embeddings: each call's vectors, in the order of the input.

Every vendor wraps its vectors in another shape; which one it is shows in the answer itself. A
vector is rendered as soon as it is there, as JSON or as the little-endian float32 in base64 that
the official SDKs ask for by default, so that the end of a large request costs a join.

Errors: ``ProxyError`` 502 for an answer that holds other vectors than were asked for.
Sources: OpenAI API reference, *The embedding object*; the vendors' answers as recorded (Titan v1
and v2, Cohere v3 and v4, Nova 2), for Marengo as documented.
"""

import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from proxy.converse.exceptions import protocol_fault
from proxy.converse.types import Event, Json, Usage
from proxy.dialect import Collector, Keepsake, Stamp, Translation
from proxy.openai.embeddings.to_invoke import Plan

Vector = Sequence[float]


class EmbeddingsCollector:
    """``proxy.dialect.Collector``: the vectors of one call."""

    def __init__(self, translation: Translation, stamp: Stamp, index: int) -> None:
        plan: Plan = translation.plan
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.content = False
        self.keepsake: Keepsake | None = None
        self.rendered: list[bytes] = []
        self._plan: Final = plan
        self._start: Final = plan.starts[index]
        self._size: Final = plan.sizes[index]

    def add(self, events: Sequence[Event]) -> None:
        """Raises ``ProxyError`` 502 for an answer that is not what was asked for."""
        for kind, body in events:
            if kind == "native":
                self._take(body["answer"], body["inputTokens"])

    def _take(self, answer: Mapping[str, Json], tokens: int | None) -> None:
        try:
            vectors = _vectors(answer)
            if len(vectors) != self._size:
                raise ValueError("another number of vectors")
            self.rendered = [
                self._render(vector, index) for index, vector in enumerate(vectors, self._start)
            ]
        except (KeyError, TypeError, ValueError, OverflowError, struct.error) as fault:
            raise protocol_fault("embeddings of an unknown shape") from fault
        told = answer.get("inputTextTokenCount") if tokens is None else tokens
        if isinstance(told, int):
            self.usage = Usage(inputTokens=told, outputTokens=0)
        self.finish, self.content = "stop", True

    def _render(self, vector: Vector, index: int) -> bytes:
        asked = self._plan.dimensions
        if not vector or (asked is not None and len(vector) != asked):
            raise ValueError("a vector of another size")
        packed = struct.pack(f"<{len(vector)}f", *vector)
        value = b'"' + b64encode(packed) + b'"' if self._plan.base64 else orjson.dumps(vector)
        return b'{"object":"embedding","index":%d,"embedding":%b}' % (index, value)


def render(translation: Translation, stamp: Stamp, collectors: Sequence[Collector]) -> bytes:
    """The list of all calls' vectors. ``usage`` is 0 where Bedrock told no count."""
    ours = [one for one in collectors if isinstance(one, EmbeddingsCollector)]
    tokens = sum(one.usage["inputTokens"] for one in ours if one.usage is not None)
    usage: dict[str, Json] = {"prompt_tokens": tokens, "total_tokens": tokens}
    if translation.price is not None:
        usage["cost"] = round(translation.price.get("input", 0.0) * tokens / 1e6, 12)
    tail = orjson.dumps({"model": stamp.model, "usage": usage})
    data = b",".join(entry for one in ours for entry in one.rendered)
    return b'{"object":"list","data":[' + data + b"]," + tail[1:]


def _vectors(answer: Mapping[str, Json]) -> list[Vector]:
    """Titan: ``embedding``. Cohere: ``embeddings``, by type in v4. Nova: ``embeddings``, each an
    object. Marengo: ``data``, an object or a list of them."""
    if "embedding" in answer:
        return [answer["embedding"]]
    found = answer["embeddings"] if "embeddings" in answer else answer["data"]
    if isinstance(found, dict):
        found = found.get("float", [found])
    return [entry["embedding"] if isinstance(entry, dict) else entry for entry in found]
