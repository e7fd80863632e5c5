"""Reasoning that a model writes into its text between tags, taken out across chunk borders.

Recorded: Nova 1 opens its text with ``<thinking>…</thinking>`` when tools are offered, and the
answer follows after a line break. An opening tag counts only where a text block begins (or right
after a closed span), so that prose *about* a tag stays prose. Recorded too: Kimi K2 leaked a
``<think>`` that it never closed in front of its answer; ``unclosed`` keeps such a text, and who
sees the whole answer decides.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Piece(NamedTuple):
    """A stretch of text, and whether it is reasoning. Tags and the white space around them are no
    part of it."""

    thought: bool
    text: str


class TagSplitter:
    """The text of one answer, block by block: ``feed`` it, ``end`` each block."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._opening = {f"<{tag}>": f"</{tag}>" for tag in tags}
        self._held = ""
        self._closing: str | None = None
        self._at_start = True
        self._after_span = False
        self._span: list[str] = []
        self.unclosed = ""

    def feed(self, text: str) -> list[Piece]:
        """What is decided by now; an end that may be part of a tag is kept for the next text."""
        if not self._at_start and self._closing is None:
            return [Piece(False, text)]
        text, self._held = self._held + text, ""
        pieces: list[Piece] = []
        while text:
            if self._closing is not None:
                text = self._inside(text, pieces)
            elif self._at_start:
                text = self._start(text)
            else:
                pieces.append(Piece(False, text))
                break
        return [piece for piece in pieces if piece.text]

    def end(self) -> list[Piece]:
        """The block is over: what was held back was no tag. The next block begins afresh."""
        held, self._held = self._held, ""
        thought = self._closing is not None
        if thought:
            self._span.append(held)
            self.unclosed = "".join(self._span)
        elif self._after_span and held.isspace():
            held = ""
        self._closing, self._at_start, self._after_span = None, True, False
        self._span = []
        return [Piece(thought, held)] if held else []

    def _start(self, text: str) -> str:
        """White space, then a tag or the text proper. Returns what is still to be looked at."""
        bare = text.lstrip()
        for tag, closing in self._opening.items():
            if bare.startswith(tag):
                self._closing = closing
                return bare[len(tag) :]
        if not bare or any(tag.startswith(bare) for tag in self._opening):
            self._held = text
            return ""
        self._at_start = False
        return bare if self._after_span else text

    def _inside(self, text: str, pieces: list[Piece]) -> str:
        """Reasoning up to the closing tag. Returns what follows it."""
        closing = self._closing or ""
        at = text.find(closing)
        if at >= 0:
            pieces.append(Piece(True, text[:at]))
            self._closing, self._at_start, self._after_span = None, True, True
            self._span = []
            return text[at + len(closing) :]
        kept = next((n for n in range(len(closing) - 1, 0, -1) if text.endswith(closing[:n])), 0)
        self._held = text[len(text) - kept :]
        out = text[: len(text) - kept]
        self._span.append(out)
        pieces.append(Piece(True, out))
        return ""
