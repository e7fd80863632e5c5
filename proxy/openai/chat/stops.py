"""Stop sequences on the answer, for models that do not take ``stopSequences`` or leave them in.

What could still become a stop sequence is held back until the next text decides, so a sequence is
found wherever chunk borders fall. The sequence itself is not passed on (OpenAI's contract for
``stop``), and nothing after it is.
"""

from collections.abc import Sequence


class StopFilter:
    """Text in, the text that may be passed on out. ``matched`` is the sequence that ended it."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(sequences)
        self._starts = frozenset(sequence[0] for sequence in sequences)
        self._longest = max(len(sequence) for sequence in sequences) - 1  # held back at most
        self.held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        if self.matched is not None:
            return ""
        text = self.held + text
        hits = [(at, s) for s in self._sequences if (at := text.find(s)) >= 0]
        if hits:
            # The earliest end, as a model that stops while it writes would: of "ab" and "b" in
            # "ab", neither goes out later than the other, and the longer one removes more.
            at, self.matched = min(hits, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            self.held = ""
            return text[:at]
        kept = self._suffix(text)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> str:
        """No more text can continue what is held back: it was no stop sequence."""
        held, self.held = self.held, ""
        return held

    def _suffix(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a stop sequence."""
        first = max(0, len(text) - self._longest)
        if self._starts.isdisjoint(text[first:]):
            return 0
        for at in range(first, len(text)):
            if text[at] in self._starts and any(s.startswith(text[at:]) for s in self._sequences):
                return len(text) - at
        return 0
