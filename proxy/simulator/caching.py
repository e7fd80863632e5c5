"""Prompt caching: the rules of cachePoint blocks, and a cache that behaves like one.

A request's prefix is what stands before a cachePoint in the order tools, system, messages; it is
known by a hash of model and content. The longest known prefix is read, what follows up to the last
point is written, points below the model's minimum count for nothing. A point renews its entry. On
Claude a point also finds prefixes that ended up to 20 blocks before it (Anthropic's lookback), so
that a point which moves along with the conversation still reads what the turn before wrote.

Sources: the prompt caching pages of AWS and Anthropic; usage keys by captures facts 13, 16, 17.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from proxy.simulator.call import Call, estimate_tokens
from proxy.simulator.refusals import Refusal, invalid, model_says, unsupported

_MOST_POINTS = 4
_SECONDS = MappingProxyType({"5m": 300.0, "1h": 3600.0})
_ENTRIES = 10_000
_LOOKBACK = 20


@dataclass(frozen=True, slots=True)
class Cached:
    """What caching did to one request, in tokens. `written` is (ttl, tokens), longest TTL first;
    `marked` says that the request had cache points, be they too early to count."""

    in_play: bool = False
    read: int = 0
    written: tuple[tuple[str, int], ...] = ()
    marked: bool = False

    @property
    def write(self) -> int:
        return sum(tokens for _, tokens in self.written)


def check_cache_points(call: Call) -> None:
    """Raise `Refusal` for cache points where the family or the order forbids them."""
    points = 0
    last_ttl = "1h"
    for section, where, blocks in _sections(call):
        for index, block in enumerate(blocks):
            point = block.get("cachePoint")
            if point is None:
                continue
            points += 1
            _check_point(call, section, f"{where}.{index}", blocks[:index])
            ttl = point.get("ttl", "5m")
            if ttl == "1h" and not call.family.cache_hour:
                raise unsupported("cachePoint.ttl")
            if ttl == "1h" and last_ttl == "5m":
                raise model_says(
                    f"{where}.{index}.cache_control.ttl: a ttl='1h' cache_control block must not "
                    "come after a ttl='5m' cache_control block. Note that blocks are processed in "
                    "the following order: `tools`, `system`, `messages`."
                )
            last_ttl = ttl
    if points > _MOST_POINTS:
        raise model_says(
            f"A maximum of 4 blocks with cache_control may be provided. Found {points}."
        )


def _check_point(call: Call, section: str, where: str, before: list[dict[str, Any]]) -> None:
    if section not in call.family.cache:
        if call.family.cache:
            raise model_says(
                f"Malformed input request: #/{section}: extraneous key [cachePoint] is not "
                "permitted, please reformat your input and try again."
            )
        raise Refusal(
            "AccessDeniedException",
            "You invoked an unsupported model or your request did not allow prompt caching. See "
            "the documentation for more information.",
        )
    if not before or "cachePoint" in before[-1]:
        raise invalid(
            f"The cachePoint block at {where} has nothing before it to cache. Add content before "
            "the cachePoint block and try again."
        )
    if "reasoningContent" in before[-1]:
        raise model_says(f"{where}: cache_control cannot be set on thinking blocks")


def _sections(call: Call) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """The lists that may hold points, in cache order: section, path, blocks."""
    yield "tools", "toolConfig.tools", (call.body.get("toolConfig") or {}).get("tools", [])
    yield "system", "system", call.system
    for at, message in enumerate(call.messages):
        yield "messages", f"messages.{at}.content", message["content"]


@dataclass(slots=True)
class PromptCache:
    """Prefixes known to the simulator: hash to the time it expires at."""

    _entries: OrderedDict[bytes, float] = field(default_factory=OrderedDict)

    def use(self, call: Call, now: float) -> Cached:
        """Look the request up and store what is new. `now` is in seconds."""
        steps, marks = _prefixes(call)
        points = [(at, ttl) for at, ttl in marks if steps[at].tokens >= call.family.cache_minimum]
        if not points:
            return Cached(marked=bool(marks))
        read = max(self._found(call, steps, at, now) for at, _ in points)
        written: dict[str, int] = {}
        done = read
        for at, ttl in points:
            self._store(steps[at].key, now + _SECONDS[ttl])
            if steps[at].tokens > done:
                written[ttl] = written.get(ttl, 0) + steps[at].tokens - done
                done = steps[at].tokens
        ordered = tuple((ttl, written[ttl]) for ttl in ("1h", "5m") if ttl in written)
        return Cached(True, read, ordered, marked=True)

    def clear(self) -> None:
        self._entries.clear()

    def _found(self, call: Call, steps: list[_Step], at: int, now: float) -> int:
        """Tokens of the longest known prefix that a point at `at` reaches back to."""
        reach = _LOOKBACK if call.family.is_claude else 1
        for step in reversed(steps[max(0, at + 1 - reach) : at + 1]):
            if self._entries.get(step.key, 0.0) > now:
                return step.tokens
        return 0

    def _store(self, key: bytes, expires: float) -> None:
        self._entries[key] = expires
        self._entries.move_to_end(key)
        while len(self._entries) > _ENTRIES:
            self._entries.popitem(last=False)


class _Step(NamedTuple):
    """The prefix that ends with one block: its tokens and its hash."""

    tokens: int
    key: bytes


def _prefixes(call: Call) -> tuple[list[_Step], list[tuple[int, str]]]:
    """A step for each block in cache order, and the points as (index of the step before, TTL)."""
    sections = list(_sections(call))
    steps: list[_Step] = []
    points: list[tuple[int, str]] = []
    if not any("cachePoint" in block for _, _, blocks in sections for block in blocks):
        return steps, points
    running = hashlib.sha256(call.model.id.encode())
    tokens = 0
    for section, _, blocks in sections:
        running.update(section.encode())
        for block in blocks:
            if "cachePoint" in block:
                points.append((len(steps) - 1, block["cachePoint"].get("ttl", "5m")))
                continue
            running.update(orjson.dumps(block, option=orjson.OPT_SORT_KEYS))
            tokens += estimate_tokens(block)
            steps.append(_Step(tokens, running.digest()))
    return steps, points
