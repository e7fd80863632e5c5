"""Signed reasoning: minted with an HMAC, verified when it comes back, and remembered by turn.

Claude signs its thinking; a gateway must return it byte for byte. A signature here binds the text
to the model that wrote it; a redacted block is sealed the same way. `scope` says how wide a
signature is good: by default for any model of the same vendor (AWS documents no narrower bound),
with "model" only for the very model (what a careful client must survive).

`Ledger.remember` keeps, by tool call id, what reasoning a turn began with, so that a turn that
comes back with some blocks changed or left out can be told from one that lost them all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict

from proxy.simulator.call import Block

_TAG = 8
_DIGEST = 32
_REMEMBERED = 10_000


class Ledger:
    """Mints and checks. One per simulator; the key follows from its seed."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"simulated reasoning {seed}".encode()).digest()
        self._turns: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def sign(self, text: str, model: str) -> str:
        """A signature of about the recorded length (a few hundred characters of base64)."""
        seal = self._seal(text.encode(), model)
        filler = b"".join(hashlib.sha256(seal + bytes([n])).digest() for n in range(5))
        return base64.b64encode(seal + filler).decode()

    def verify(self, text: str, signature: str, model: str, scope: str) -> bool:
        return self._fits(_decoded(signature)[: _TAG + _DIGEST], text.encode(), model, scope)

    def redact(self, text: str, model: str) -> str:
        """A redactedContent value: base64 of text that is itself base64 (captures fact 11)."""
        body = hashlib.sha256(text.encode()).digest() * 4
        return base64.b64encode(base64.b64encode(self._seal(body, model) + body)).decode()

    def verify_redacted(self, value: str, model: str, scope: str) -> bool:
        sealed = _decoded(_decoded(value).decode("ascii", "replace"))
        return self._fits(sealed[: _TAG + _DIGEST], sealed[_TAG + _DIGEST :], model, scope)

    def remember(self, call_ids: list[str], content: list[Block]) -> None:
        marks = _marks(content)
        for call_id in call_ids:
            self._turns[call_id] = marks
            self._turns.move_to_end(call_id)
        while len(self._turns) > _REMEMBERED:
            self._turns.popitem(last=False)

    def modified(self, call_ids: list[str], content: list[Block]) -> bool:
        """True when a remembered turn comes back with some, but not the same, reasoning."""
        known = next((self._turns[i] for i in call_ids if i in self._turns), None)
        marks = _marks(content)
        return known is not None and bool(marks) and marks != known

    def _seal(self, body: bytes, model: str) -> bytes:
        tag = _tag(model)
        return tag + hmac.digest(self._key, tag + body, "sha256")

    def _fits(self, seal: bytes, body: bytes, model: str, scope: str) -> bool:
        tag, digest = seal[:_TAG], seal[_TAG:]
        genuine = hmac.compare_digest(digest, hmac.digest(self._key, tag + body, "sha256"))
        width = _TAG if scope == "model" else _TAG // 2
        return genuine and tag[:width] == _tag(model)[:width]


def _tag(model: str) -> bytes:
    """Eight bytes: half for the vendor, half for the model."""
    vendor = model.partition(".")[0]
    return (
        hashlib.sha256(vendor.encode()).digest()[:4] + hashlib.sha256(model.encode()).digest()[:4]
    )


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _marks(content: list[Block]) -> tuple[str, ...]:
    """The signatures and redacted values of a turn, in order."""
    marks = []
    for block in content:
        reasoning = block.get("reasoningContent") or {}
        if "redactedContent" in reasoning:
            marks.append(reasoning["redactedContent"])
        elif "reasoningText" in reasoning:
            marks.append(reasoning["reasoningText"].get("signature", ""))
    return tuple(marks)
