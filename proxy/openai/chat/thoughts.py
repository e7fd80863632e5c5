"""The reasoning blocks of one answer, kept for replay.

A model that signs its reasoning wants the blocks of a tool turn back unchanged and in order; what
carries no signature can never be sent again and is not kept. Blobs and signatures are opaque and
pass untouched (a redacted block decodes to text that is base64 itself: recorded).
"""

from proxy.converse.types import Json
from proxy.openai.chat.blobs import join_blobs


class Thoughts:
    """``open`` is the index of the block that is being written, ``blocks`` the finished ones as
    Converse content blocks."""

    def __init__(self) -> None:
        self.open: int | None = None
        self.blocks: list[dict[str, Json]] = []
        self._text: list[str] = []
        self._signature = ""
        self._redacted: list[str] = []

    def add(self, index: int, text: str, signature: str, redacted: str) -> None:
        """One ``reasoningContent`` delta; what it does not hold is empty."""
        if index != self.open:
            self.close()
            self.open = index
        if text:
            self._text.append(text)
        self._signature += signature
        if redacted:
            self._redacted.append(redacted)

    def close(self) -> None:
        """The open block, if there is one, is complete."""
        if self._signature:
            block: dict[str, Json] = {"text": "".join(self._text), "signature": self._signature}
            self.blocks.append({"reasoningContent": {"reasoningText": block}})
        if self._redacted:
            self.blocks.append(
                {"reasoningContent": {"redactedContent": join_blobs(self._redacted)}}
            )
        self.open = None
        self._text, self._signature, self._redacted = [], "", []
