"""Where in its turn a block of reasoning stood, and how it gets there again.

Models that think between what they say give reasoning, text and calls in any order; a chat message
has one text, then its calls. So a turn's pack says of each block how much came before it, and the
turn is taken apart there when it comes back. Anthropic's *Extended thinking* wants the blocks back
"unmodified"; what it makes of ones that have moved is not documented.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy.converse.types import Json

Block = dict[str, Json]


class Place(NamedTuple):
    """What came before a block of reasoning: characters of text, and calls."""

    text: int
    calls: int


class Replay(NamedTuple):
    """The reasoning of a turn. ``length`` is that of the turn's text: one that has changed since
    tells nothing of places."""

    blocks: Sequence[Block] = ()
    places: Sequence[Place] = ()
    length: int = 0

    def among(self, said: Sequence[Block]) -> list[Block]:
        """The turn with its reasoning: in its places, else in front. Never last: Anthropic takes
        no turn that ends in thinking."""
        length = sum(len(block.get("text", "")) for block in said)
        if not said or length != self.length or not any(map(any, self.places)):
            return [*self.blocks, *said]
        return [*_merged([*zip(self.places, self.blocks, strict=True)], said)]


def _merged(waiting: list[tuple[Place, Block]], said: Sequence[Block]) -> Iterator[Block]:
    text = calls = 0
    for number, block in enumerate(said, 1):
        rest: str = block.get("text", "")
        while waiting:
            (before, called), reasoning = waiting[0]
            cut = before - text
            behind = called > calls or (cut >= len(rest) if rest else cut > 0)
            if behind and number < len(said):
                break
            if rest[: max(cut, 0)].strip() and rest[cut:].strip():  # Converse takes no blank text
                yield {"text": rest[:cut]}
                text, rest = text + cut, rest[cut:]
                block = {"text": rest}
            yield reasoning
            del waiting[0]
        yield block
        text += len(rest)
        calls += "toolUse" in block
