"""The text of an answer on its way out, as far as the plan wants something done to it.

Four stages, each only if asked for: reasoning written between tags is taken out; text in front of
an answer that is to be a tool's input waits for what comes; emulated stop sequences end it; and
where a call might have to be withheld, nothing that is no answer by itself (reasoning, white
space) leaves before something that is, so that an answer of withheld calls only can be asked for
again before its first byte.
"""

from collections.abc import Iterable
from typing import Final

from proxy.openai.chat.plan import Plan
from proxy.openai.chat.stops import StopFilter
from proxy.openai.chat.tags import Piece, TagSplitter


class Prose:
    """Text and reasoning in, the pieces that may be passed on out.

    ``idle`` says that text would come out as it went in, now and later, and that none is held;
    ``idle_thoughts`` the same of reasoning. ``said`` says that text which is more than white space
    came out (kept only while a call may be withheld or tags are looked for).
    """

    def __init__(self, plan: Plan) -> None:
        self._tags: Final = TagSplitter(plan.inline_tags) if plan.inline_tags else None
        self._stops: Final = StopFilter(plan.stop) if plan.stop else None
        self._preamble: list[str] | None = None if plan.json_tool is None else []
        self._held: list[Piece] | None = None if plan.offered is None else []
        self._watched: Final = plan.offered is not None
        self.said = False
        self.idle = False
        self.idle_thoughts = False
        self._settle()

    @property
    def stopped(self) -> str | None:
        """The emulated stop sequence that ended the answer."""
        return self._stops.matched if self._stops else None

    @property
    def unclosed(self) -> str:
        """What followed an opening tag that was never closed."""
        return self._tags.unclosed if self._tags else ""

    @property
    def held(self) -> int:
        """Characters of content that are still held back."""
        if self.idle:
            return 0
        stops = len(self._stops.held) if self._stops else 0
        return stops + sum(len(p.text) for p in self._held or () if not p.thought)

    def feed(self, text: str) -> list[Piece]:
        """A text delta."""
        return self._out(self._tags.feed(text) if self._tags else (Piece(False, text),))

    def think(self, text: str) -> list[Piece]:
        """A reasoning delta."""
        return [] if self.stopped else self._hold([Piece(True, text)])

    def answer(self, fragment: str) -> list[Piece]:
        """A fragment of the input that is the answer's content; what waited gives way to it."""
        self._preamble = None
        return self._hold(self._cut([Piece(False, fragment)]))

    def end_block(self) -> list[Piece]:
        """A content block is over: no tag goes beyond it."""
        return self._out(self._tags.end()) if self._tags else []

    def flush(self) -> list[Piece]:
        """A call follows, or nothing: all that was held back is due."""
        if self.idle:
            return []
        pieces = self._out(self._tags.end()) if self._tags else []
        if self._preamble is not None:
            waited, self._preamble = self._preamble, None
            pieces += self._hold(self._cut([Piece(False, text) for text in waited]))
        if self._stops and (rest := self._stops.end()):
            pieces += self._hold([Piece(False, rest)])
        return pieces + self.release()

    def release(self) -> list[Piece]:
        """Hold back no longer what is no answer by itself."""
        held, self._held = self._held or [], None
        self._settle()
        return held

    def _out(self, pieces: Iterable[Piece]) -> list[Piece]:
        thoughts = [piece for piece in pieces if piece.thought]
        text = [piece for piece in pieces if not piece.thought]
        if self._preamble is not None:
            self._preamble += (piece.text for piece in text)
            text = []
        # A tag is taken out only where a block begins, so its reasoning comes before its text.
        return self._hold([] if self.stopped else thoughts) + self._hold(self._cut(text))

    def _cut(self, pieces: list[Piece]) -> list[Piece]:
        if self._stops is None:
            return pieces
        return [Piece(False, text) for piece in pieces if (text := self._stops.feed(piece.text))]

    def _hold(self, pieces: list[Piece]) -> list[Piece]:
        if not self.said and any(not p.thought and not p.text.isspace() for p in pieces):
            self.said = True
            return self.release() + pieces
        if self._held is None:
            return pieces
        self._held += pieces
        return []

    def _settle(self) -> None:
        self.idle = not (self._tags or self._stops or self._preamble is not None) and (
            self.said or not self._watched
        )
        self.idle_thoughts = self._held is None and self._stops is None
