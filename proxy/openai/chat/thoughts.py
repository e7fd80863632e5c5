"""The reasoning blocks of one answer, kept for replay.

A model that signs its reasoning wants the blocks of a tool turn back unchanged, in order and where
they stood; what carries no signature can never be sent again and is not kept. Blobs and signatures
are opaque and pass untouched (a redacted block decodes to text that is base64 itself: recorded).
"""

from collections.abc import Iterator

from proxy.converse.types import Json
from proxy.dialect import Keepsake
from proxy.openai.chat.blobs import join_blobs
from proxy.openai.chat.recollection import Called, keepsake
from proxy.openai.chat.replay_order import Place


class Thoughts:
    """``open`` is the index of the block that is being written, ``blocks`` the finished ones as
    Converse content blocks, ``places`` what came before each of them."""

    def __init__(self) -> None:
        self.open: int | None = None
        self.blocks: list[dict[str, Json]] = []
        self.places: list[Place] = []
        self._place = Place(0, 0)
        self._calls: list[tuple[str, str, list[str]]] = []
        self._parts: dict[str, list[str]] = {"text": [], "signature": [], "redactedContent": []}

    def begin(self, index: int, text: int, calls: int) -> None:
        """A block, behind so many characters of text and so many calls."""
        self.close()
        self.open, self._place = index, Place(text, calls)

    def add(self, member: str, value: str) -> None:
        """One member of a ``reasoningContent`` delta. ``KeyError``: no such member is known."""
        self._parts[member].append(value)

    def close(self) -> None:
        """The open block, if there is one, is complete."""
        if self.open is None:
            return
        text, signature, redacted = self._parts.values()
        if signature:
            signed = {"text": "".join(text), "signature": "".join(signature)}
            self.blocks.append({"reasoningContent": {"reasoningText": signed}})
        if redacted:
            self.blocks.append({"reasoningContent": {"redactedContent": join_blobs(redacted)}})
        self.places += [self._place] * (len(self.blocks) - len(self.places))
        for part in self._parts.values():
            part.clear()
        self.open = None

    def plainly(self) -> Iterator[dict[str, Json]]:
        """The blocks in Anthropic's words, as LiteLLM's ``thinking_blocks`` holds them."""
        for block in self.blocks:
            inner = block["reasoningContent"]
            if "redactedContent" in inner:
                yield {"type": "redacted_thinking", "data": inner["redactedContent"]}
            else:
                said = inner["reasoningText"]
                yield {
                    "type": "thinking", "thinking": said["text"], "signature": said["signature"],
                }  # fmt: skip

    def called(self, id: str, name: str) -> None:
        """The client was passed this call, spelled so."""
        self._calls.append((id, name, []))

    def argued(self, ordinal: int, fragment: str) -> None:
        self._calls[ordinal][2].append(fragment)

    def keepsake(self, packed: str) -> Keepsake | None:
        """The blocks, packed, as what leads to the calls made; ``None`` if none was."""
        calls = [Called(id, name, "".join(parts)) for id, name, parts in self._calls]
        return keepsake(calls, packed) if calls else None
