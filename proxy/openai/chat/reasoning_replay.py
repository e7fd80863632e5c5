"""Reasoning that clients send back, as the Converse blocks it once was; and the pack it travels in.

Models that sign their reasoning want it back unchanged, where it was, before the tool calls it led
to. A client may return it in our own ``reasoning_details`` entry (one opaque string for all blocks
of a turn, the one form that every client observed returns intact), as OpenRouter's
``reasoning.text``, as LiteLLM's ``thinking_blocks`` or as Anthropic's content parts. What is not
signed, or comes from another family, is left out: no service takes it, and the turn reads as well
without. Nothing here raises: what cannot be read is treated as absent.

Source: service model, ``ReasoningContentBlock``; the forms are those projects' documented shapes.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress, groupby
from typing import Final

import orjson

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.openai.chat.replay_order import Block, Place, Replay

_MAGIC: Final = b"bop1"
"""Names the format and its version: four bytes, a digest of eight, then compact JSON."""
_DIGEST: Final = 8
_MEMBERS: Final = (
    "reasoning_content", "reasoning", "reasoning_text", "reasoning_details", "thinking_blocks"
)  # fmt: skip
_PARTS: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
_NOTHING: Final = Replay()
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]+")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def pack(
    blocks: Sequence[Block], family: str, places: Sequence[Place] = (), length: int = 0
) -> str:
    """A turn's ``reasoningContent`` blocks as one string of letters, digits, ``-`` and ``_``;
    ``places`` and ``length`` as ``Replay`` has them."""
    value: dict[str, Json] = {"f": family, "b": blocks}
    if any(map(any, places)):
        value |= {"p": [[*place] for place in places], "n": length}
    payload = orjson.dumps(value)
    return base64.urlsafe_b64encode(_MAGIC + _digest(payload) + payload).decode().rstrip("=")


def unpack(data: str) -> tuple[str, Replay] | None:
    """(family, reasoning) of a packed string; ``None`` for anything else, altered or foreign."""
    if not _URL_SAFE.fullmatch(data):
        return None
    try:
        raw = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
    except (binascii.Error, ValueError):
        return None
    head = len(_MAGIC) + _DIGEST
    payload = raw[head:]
    if not raw.startswith(_MAGIC) or raw[len(_MAGIC) : head] != _digest(payload):
        return None
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return _opened(value)


def has_reasoning(message: Mapping[str, Json]) -> bool:
    """Whether an assistant message brings reasoning along, in whichever form, be it of no use."""
    for member in _MEMBERS:
        if message.get(member):
            return True
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(part, Mapping) and part.get("type") in _PARTS for part in content
    )


def replay(message: Mapping[str, Json], traits: Traits) -> Replay:
    """The reasoning of an assistant message that this family may be sent, in order.

    The first form that yields any is taken; the others say the same again.
    """
    if not traits.replays:
        return _NOTHING
    details = message.get("reasoning_details")
    if isinstance(details, list):
        packed = [one for entry in details if (one := _from_pack(entry, traits)).blocks]
        if packed:
            return packed[0] if len(packed) == 1 else _in_front(one.blocks for one in packed)
    if not traits.signed_reasoning:
        return _NOTHING
    for key, read in (("reasoning_details", _from_detail), ("thinking_blocks", _from_thinking)):
        entries = message.get(key)
        if isinstance(entries, list):
            found = _in_front(read(entry) for entry in entries if isinstance(entry, Mapping))
            if found.blocks:
                return found
    content = message.get("content")
    return _among_parts(content) if isinstance(content, list) else _NOTHING


def unsigned_loop(messages: Sequence[Mapping[str, Json]], traits: Traits) -> bool:
    """Some turn of the running tool loop has no signed reasoning that could be sent.

    A model that thinks by budget refuses such a loop ("Expected thinking, found tool_use"). The
    loop is what was called since the last answer in words. Several messages in a row may be one
    turn; one that was cut before it said anything (be it while it thought) becomes no message, and
    ends no loop.
    """
    for spoken, row in groupby(reversed(messages), key=_is_assistant):
        if not spoken:
            continue
        turn = [*row]
        calling = sum(1 for one in turn if one.get("tool_calls") or one.get("function_call"))
        signed = sum(1 for one in turn if replay(one, traits).blocks)
        if signed < calling:
            return True
        if not calling and any(map(_says_something, turn)):
            return False
    return False


def _is_assistant(message: Mapping[str, Json]) -> bool:
    return message.get("role") == "assistant"


def _says_something(message: Mapping[str, Json]) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    said = [
        (part.get("text") or part.get("refusal")) if isinstance(part, Mapping) else part
        for part in (*parts, message.get("refusal"))
    ]
    said.append((message.get("audio") or {}).get("transcript"))
    return any(isinstance(text, str) and text.strip() for text in said)


def _in_front(found: Iterable[Iterable[Block]]) -> Replay:
    return Replay([block for blocks in found for block in blocks])


def _among_parts(parts: Sequence[Json]) -> Replay:
    """Anthropic's content: thinking stands among the text where it was."""
    blocks: list[Block] = []
    places: list[Place] = []
    length = calls = 0
    for part in parts:
        if isinstance(part, Mapping):
            text = part.get("text")
            length += len(text) if isinstance(text, str) else 0
            calls += part.get("type") == "tool_use"
            blocks += _from_thinking(part)
            places += [Place(length, calls)] * (len(blocks) - len(places))
    return Replay(blocks, places, length)


def _opened(value: Json) -> tuple[str, Replay] | None:
    if not isinstance(value, dict):
        return None
    family, blocks = value.get("f"), value.get("b")
    if not isinstance(family, str) or not isinstance(blocks, list):
        return None
    if not all(isinstance(block, dict) and _is_reasoning(block) for block in blocks):
        return None
    places, length = value.get("p"), value.get("n")
    if not isinstance(places, list) or len(places) != len(blocks) or type(length) is not int:
        return family, Replay(blocks)
    if not all(isinstance(place, list) and [*map(type, place)] == [int, int] for place in places):
        return None
    return family, Replay(blocks, [Place(*place) for place in places], length)


def _is_reasoning(block: Block) -> bool:
    inner = block.get("reasoningContent")
    if len(block) != 1 or not isinstance(inner, dict) or len(inner) != 1:
        return False
    if "redactedContent" in inner:
        return _is_blob(inner["redactedContent"])
    said = inner.get("reasoningText")
    if not isinstance(said, dict) or not said.keys() <= {"text", "signature"}:
        return False
    return "text" in said and all(isinstance(value, str) for value in said.values())


def _is_blob(value: Json) -> bool:
    return isinstance(value, str) and value != "" and _BASE64.fullmatch(value) is not None


def _from_pack(entry: Json, traits: Traits) -> Replay:
    if not isinstance(entry, Mapping) or entry.get("type") != "reasoning.encrypted":
        return _NOTHING
    data = entry.get("data")
    opened = unpack(data) if isinstance(data, str) else None
    if opened is None or opened[0] != traits.family:
        return _NOTHING
    _, told = opened
    kept = [_may_go(block, traits) for block in told.blocks]
    places = compress(told.places, kept) if told.places else ()
    return Replay([*compress(told.blocks, kept)], [*places], told.length)


def _may_go(block: Block, traits: Traits) -> bool:
    said = block["reasoningContent"].get("reasoningText")
    return said is None or (traits.signed_reasoning and bool(said.get("signature")))


def _from_detail(entry: Mapping[str, Json]) -> Iterator[Block]:
    """OpenRouter's entry; its ``format`` names the maker where it is known."""
    maker = entry.get("format")
    if isinstance(maker, str) and not maker.startswith("anthropic"):
        return
    if entry.get("type") == "reasoning.text":
        yield from _signed(entry.get("text"), entry.get("signature"))


def _from_thinking(entry: Mapping[str, Json]) -> Iterator[Block]:
    kind = entry.get("type")
    if kind == "thinking":
        yield from _signed(entry.get("thinking"), entry.get("signature"))
    elif kind == "redacted_thinking" and _is_blob(entry.get("data")):
        yield {"reasoningContent": {"redactedContent": entry["data"]}}


def _signed(text: Json, signature: Json) -> Iterator[Block]:
    """An empty text may be signed: models that show no reasoning sign it all the same."""
    if isinstance(signature, str) and signature:
        said = text if isinstance(text, str) else ""
        yield {"reasoningContent": {"reasoningText": {"text": said, "signature": signature}}}


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST).digest()
