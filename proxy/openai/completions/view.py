"""Chat's own answers seen as legacy completions: the same words in an older frame.

Bytes in, bytes out: whatever chat renders (a chunk, the usage chunk, a whole completion) is parsed
and put into ``text_completion`` objects. That costs a few microseconds a chunk, which an API that
only older editors speak may cost, and it keeps every rule of chat's in one place.

Reasoning, which this API has no word for, stands beside the text as chat shows it.
Source: OpenAI API reference, *The completion object*.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from proxy import sse
from proxy.converse.types import Json
from proxy.openai.lines import dumps

OBJECT: Final = "text_completion"
_CHAT_ID: Final = "chatcmpl-"
_DATA: Final = b"data: "
_REASONING: Final = ("reasoning_content", "reasoning")
_MEMBERS: Final = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})


class StreamView:
    """The chunks of one choice. ``echo`` is the text that goes before the answer's."""

    def __init__(self, index: int, echo: str) -> None:
        self._index: Final = index
        self._echo = echo

    def see(self, data: bytes, *, empty: bool = False) -> bytes:
        """Chat's chunks as ours. ``empty``: those that say nothing are passed on too."""
        out: list[bytes] = []
        for frame in data.split(b"\n\n"):
            if frame.startswith(_DATA) and frame != sse.DONE.strip():
                out.append(self._chunk(orjson.loads(frame[len(_DATA) :]), empty))
            elif frame:
                out.append(frame + b"\n\n")
        return b"".join(out)

    def _chunk(self, chunk: dict[str, Json], empty: bool) -> bytes:
        choices = [self._choice(choice) for choice in chunk["choices"]]
        said = any(c["text"] or c["finish_reason"] or len(c) > 4 for c in choices)
        if choices and not said and not empty:
            return b""
        return sse.data(dumps(_framed(chunk, choices)))

    def _choice(self, choice: Mapping[str, Json]) -> dict[str, Json]:
        shown = _choice(choice, choice["delta"], self._index, self._echo)
        self._echo = ""
        return shown


def whole(data: bytes, echoes: Sequence[str]) -> bytes:
    """A chat completion as ours; ``echoes`` are what goes before each choice's text."""
    completion = orjson.loads(data)
    choices = [
        _choice(choice, choice["message"], index, echo)
        for index, (choice, echo) in enumerate(zip(completion["choices"], echoes, strict=True))
    ]
    return dumps(_framed(completion, choices))


def _choice(
    choice: Mapping[str, Json], said: Mapping[str, Json], index: int, echo: str
) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "text": echo + (said.get("content") or ""),
        "index": index,
        "logprobs": None,
        "finish_reason": choice["finish_reason"],
    }
    shown |= {name: said[name] for name in _REASONING if said.get(name)}
    return shown | {name: value for name, value in choice.items() if name not in _MEMBERS}


def _framed(answer: Mapping[str, Json], choices: Sequence[Json]) -> dict[str, Json]:
    framed = {**answer, "object": OBJECT, "choices": choices}
    framed["id"] = "cmpl-" + answer["id"].removeprefix(_CHAT_ID)
    return framed
