"""Thoughts shown in the text (``reasoning_as = tags``): how they are written there, and read again.

A client that was shown them sends them back as words of the answer. They are reasoning all the
same and are treated as ``reasoning_content`` is: never said again as text, so that reasoning which
comes back by another way (its pack, the memory) is not told twice.

Thoughts in front of all words are taken for what they look like. One behind words may be words
about a tag: it is taken only where the turn's pack proves it, which knows how long the words were.
A tag that is never closed, or holds nothing (a prefill's way to say "do not think"), is text.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from proxy.converse.types import Json
from proxy.openai.chat.reasoning_replay import unpack

TAG_OPEN: Final = "<think>"
TAG_CLOSED: Final = "</think>\n\n"
_CUT_CLOSED: Final = TAG_CLOSED.rstrip()
"""At the end of a text, as clients leave it that trim white space."""
_TEXTS: Final = (None, "text", "output_text")


def with_thoughts_apart(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """An assistant message with its shown thoughts in ``reasoning_content``; others unchanged."""
    content = message.get("content")
    if message["role"] != "assistant" or not content:
        return message
    parts = content if isinstance(content, list) else [content]
    texts = [*map(_text, parts)]
    if not any(TAG_OPEN in text for text in texts):
        return message
    thoughts, words = _apart(texts, everywhere=True)
    if sum(map(len, words)) != _length(message):
        thoughts, words = _apart(texts, everywhere=False)
    if not thoughts:
        return message
    left = [*map(_with_text, parts, words)]
    said = left if isinstance(content, list) else left[0]
    return {**message, "content": said, "reasoning_content": "\n\n".join(thoughts)}


def _apart(texts: Sequence[str], *, everywhere: bool) -> tuple[list[str], list[str]]:
    """(thoughts, the words of each text)."""
    thoughts: list[str] = []
    words: list[str] = []
    for text in texts:
        if everywhere or not any(words):
            text = _cut(text, thoughts, everywhere=everywhere)
        words.append(text)
    return thoughts, words


def _cut(text: str, thoughts: list[str], *, everywhere: bool) -> str:
    whole = text + TAG_CLOSED.removeprefix(_CUT_CLOSED) if text.endswith(_CUT_CLOSED) else text
    words: list[str] = []
    at = 0
    while (start := whole.find(TAG_OPEN, at)) == at or (everywhere and start > at):
        end = whole.find(TAG_CLOSED, start)
        thought = whole[start + len(TAG_OPEN) : end] if end > 0 else ""
        if not thought.strip():
            break
        thoughts.append(thought)
        words.append(whole[at:start])
        at = end + len(TAG_CLOSED)
    return "".join([*words, text[at:]])


def _length(message: Mapping[str, Json]) -> int | None:
    """Characters of the turn's words, as its pack tells where thoughts stood behind some."""
    details = message.get("reasoning_details")
    for entry in details if isinstance(details, list) else ():
        data = entry.get("data") if isinstance(entry, Mapping) else None
        opened = unpack(data) if isinstance(data, str) else None
        if opened is not None and opened[1].places:
            return opened[1].length
    return None


def _text(part: Json) -> str:
    """The text of a part that may hold shown thoughts; empty for any other."""
    if isinstance(part, Mapping):
        part = part.get("text") if part.get("type") in _TEXTS else ""
    return part if isinstance(part, str) else ""


def _with_text(part: Json, words: str) -> Json:
    if isinstance(part, str):
        return words
    return {**part, "text": words} if _text(part) else part
