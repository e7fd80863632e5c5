"""Cache marks of four kinds, unified into at most four cache points that the family takes.

Clients mark a prefix with ``cache_control`` (Anthropic's word, on parts, messages and tools) or
``prompt_cache_breakpoint`` (OpenAI's, on parts), or mark nothing and leave it to the proxy. A mark
becomes a ``cachePoint`` right behind the block it stands on (``cache_mark``); once the body is
assembled, ``legalise`` makes the whole of them acceptable, because a point too many, out of order
or out of place is a 400 for the request.

Losing a point costs money, never meaning, so it is told (``Notes.tell``) and never refused.
Sources: Amazon Bedrock user guide, *Prompt caching* (places, four points, TTL order, minimum
tokens); recorded requests for the place before a trailing document or video.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, cast

from proxy.catalog.model import Traits
from proxy.converse.types import ConverseRequest, Json
from proxy.errors import invalid
from proxy.openai.chat.notes import Notes

MAX_POINTS: Final = 4

Block = dict[str, Json]

_HOUR: Final = frozenset({"1h", "30m", "12h", "24h"})
_MINUTES: Final = frozenset({"5m", "in_memory"})
_MARKS: Final = MappingProxyType(
    {
        "cache_control": ("type", ("ephemeral", None)),
        "prompt_cache_breakpoint": ("mode", ("explicit", None)),
        "cachePoint": ("type", ("default", None)),
    }
)
"""A mark's key in an object: the member that tells its kind, and what that may be."""
_MEDIA: Final = ("document", "video")
_CHARACTERS_PER_TOKEN: Final = 4
_MEDIA_TOKENS: Final = 1_000
"""What an image or a page is guessed to cost; its bytes say nothing."""


class _Place(NamedTuple):
    """A list of blocks in which points may stand."""

    where: str
    blocks: list[Block]


def cache_mark(obj: Mapping[str, Json], path: str) -> Block | None:
    """The cache point an object of the request asks for, or ``None``.

    ``path`` is the object's. Any lifetime above five minutes becomes an hour, the only longer one
    Bedrock has. Raises ``ProxyError`` 400 naming a malformed mark.
    """
    if _MARKS.keys().isdisjoint(obj):
        return None
    for key in _MARKS:
        mark = obj.get(key)
        if mark is None:
            continue
        where = f"{path}.{key}" if path else key
        if not isinstance(mark, Mapping):
            raise invalid(f"{key} must be an object.", where, "invalid_type")
        _check_kind(key, mark, where)
        return _point(_ttl(mark, where))
    return None


def legalise(
    body: ConverseRequest,
    traits: Traits,
    *,
    ttl: str | None,
    automatic: bool,
    anchors: tuple[tuple[int, int], ...],
    notes: Notes,
) -> None:
    """Make the cache points of an assembled body legal, in place; the last step of translating.

    ``ttl`` (5m or 1h) is the request-wide wish, for points without a lifetime of their own.
    ``automatic``: place points where the client placed none: behind the tools, the system and the
    messages up to each of ``anchors``, (turn, number of its blocks): where the second-last and the
    last client message end, which may be in one turn. An agent's passing context message at the end
    is gone on the next call, so a point only behind it would never be read.
    """
    if not automatic and not _is_marked(body):
        return
    _lift(body)
    places = _places(body)
    kept = [place for place in places if place.where in traits.cache_places]
    marked = any("cachePoint" in block for place in kept for block in place.blocks)
    for place in places:
        if place.where not in traits.cache_places and _strip(place.blocks):
            notes.tell("cache_control:dropped")
    if automatic and not marked and kept:
        _place(body, traits, anchors)
    for place in kept:
        change = _tidy(place.blocks, place.where)
        if change and marked:
            notes.tell(f"cache_control:{change}")
    _bound(kept, notes)
    _live(kept, traits, ttl, notes)


def _check_kind(key: str, mark: Mapping[str, Json], where: str) -> None:
    member, known = _MARKS[key]
    if mark.get(member) not in known:
        raise invalid(f"{key}.{member} must be {known[0]!r}.", f"{where}.{member}")


def _ttl(mark: Mapping[str, Json], where: str) -> str | None:
    ttl = mark.get("ttl")
    if ttl is None:
        return None
    if isinstance(ttl, str) and ttl in _HOUR:
        return "1h"
    if isinstance(ttl, str) and ttl in _MINUTES:
        return "5m"
    raise invalid("A cache lifetime is '5m' or '1h'.", f"{where}.ttl")


def _point(ttl: str | None) -> Block:
    return {"cachePoint": {"type": "default"} if ttl is None else {"type": "default", "ttl": ttl}}


def _lift(body: ConverseRequest) -> None:
    """Points inside a tool result stand behind it: a result holds none."""
    for message in body.get("messages", ()):
        content: list[Block] = []
        for block in message["content"]:
            content.append(block)
            inner = block.get("toolResult", {}).get("content", ())
            points = [one for one in inner if "cachePoint" in one]
            if points:
                block["toolResult"]["content"] = [one for one in inner if one not in points]
                content.append(points[-1])
        message["content"][:] = content


def _is_marked(body: ConverseRequest) -> bool:
    """Whether there is a point anywhere, be it inside a tool result."""
    lists = [body.get("toolConfig", {}).get("tools", ()), body.get("system", ())]
    lists += [message["content"] for message in body.get("messages", ())]
    for blocks in lists:
        for block in blocks:
            if "cachePoint" in block:
                return True
            if "toolResult" in block:
                inner = block["toolResult"].get("content", ())
                if any("cachePoint" in one for one in inner):
                    return True
    return False


def _places(body: ConverseRequest) -> list[_Place]:
    """In the order in which the cache reads them."""
    places = [_Place("tools", body.get("toolConfig", {}).get("tools", []))]
    places.append(_Place("system", cast("list[Block]", body.get("system", []))))
    places += [_Place("messages", message["content"]) for message in body.get("messages", ())]
    return places


def _strip(blocks: list[Block]) -> bool:
    before = len(blocks)
    blocks[:] = [block for block in blocks if "cachePoint" not in block]
    return len(blocks) < before


def _tidy(blocks: list[Block], where: str) -> Literal["", "moved", "dropped"]:
    """Points moved to where they may stand: never first, nor behind another point, reasoning,
    a document or a video (recorded clients put it before those). Tells the worst of it."""
    tidy: list[Block] = []
    change: Literal["", "moved", "dropped"] = ""
    open_to = 0  # where a point may stand: before the reasoning and media at the end so far
    for block in blocks:
        if "cachePoint" not in block:
            tidy.append(block)
            if where != "messages" or not _hides(block):
                open_to = len(tidy)
            continue
        if open_to == 0:
            change = "dropped"
        elif open_to < len(tidy):
            change = change or "moved"
        if open_to and "cachePoint" in tidy[open_to - 1]:
            tidy[open_to - 1] = _longer(tidy[open_to - 1], block)
        elif open_to:
            tidy.insert(open_to, block)
            open_to += 1
    blocks[:] = tidy
    return change


def _hides(block: Block) -> bool:
    return "reasoningContent" in block or any(kind in block for kind in _MEDIA)


def _longer(one: Block, other: Block) -> Block:
    return one if one["cachePoint"].get("ttl") == "1h" else other


def _bound(places: list[_Place], notes: Notes) -> None:
    """At most four points: the last ones reach furthest."""
    total = sum("cachePoint" in block for place in places for block in place.blocks)
    excess = total - MAX_POINTS
    for place in places:
        if excess <= 0:
            return
        kept: list[Block] = []
        for block in place.blocks:
            if "cachePoint" in block and excess > 0:
                excess -= 1
            else:
                kept.append(block)
        if len(kept) < len(place.blocks):
            place.blocks[:] = kept
            notes.tell("cache_control:dropped")


def _live(places: list[_Place], traits: Traits, ttl: str | None, notes: Notes) -> None:
    """Lifetimes: the request's wish where a point has none, an hour only where the family has it,
    and never after a shorter one: what leads up to an hour's point lives an hour too."""
    longest: str | None = None
    for place in reversed(places):
        for at in reversed(range(len(place.blocks))):
            point = place.blocks[at].get("cachePoint")
            if point is None:
                continue
            wish = point.get("ttl") or ttl
            if wish == "1h" and not traits.cache_hour:
                notes.tell("cache_control.ttl:clamped")
                wish = None
            longest = "1h" if "1h" in (wish, longest) else None
            place.blocks[at] = _point(longest)


def _place(body: ConverseRequest, traits: Traits, anchors: tuple[tuple[int, int], ...]) -> None:
    """Points of our own, where the prefix is (as a guess) long enough to be cached at all."""
    tools = body.get("toolConfig", {}).get("tools", [])
    system = body.get("system", [])
    size = _tokens(tools)
    if tools and "tools" in traits.cache_places and size >= traits.cache_min_tokens:
        tools.append(_point(None))
    size += _tokens(system)
    if system and "system" in traits.cache_places and size >= traits.cache_min_tokens:
        system.append(_point(None))
    if "messages" not in traits.cache_places:
        return
    for index, message in enumerate(body.get("messages", ())):
        content: list[Block] = []
        for count, block in enumerate(message["content"], 1):
            content.append(block)
            size += _tokens(block)
            if (index, count) in anchors and size >= traits.cache_min_tokens:
                content.append(_point(None))
        message["content"][:] = content


def _tokens(value: Json) -> int:
    """A rough count over all text of a value; media count once, not by their bytes."""
    if isinstance(value, str):
        return len(value) // _CHARACTERS_PER_TOKEN + 1
    if isinstance(value, Mapping):
        if "bytes" in value or "s3Location" in value:
            return _MEDIA_TOKENS
        return sum(_tokens(key) + _tokens(inner) for key, inner in value.items())
    if isinstance(value, list):
        return sum(_tokens(inner) for inner in value)
    return 1
