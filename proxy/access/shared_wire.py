"""The arguments and results of the shared limits' scripts, as values.

Pure. ``shared_script.py`` documents the order of keys and arguments, which this file follows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.access.quota import (
    Demand,
    Level,
    LimitExceeded,
    level_of,
    over_budget,
    over_rate,
    too_large,
    too_many_streams,
)
from proxy.access.tenant import Allowance


class Seen(NamedTuple):
    """What the server last said of a scope, for when it forgets."""

    requests: float = 0.0
    tokens: float = 0.0
    day: int = 0
    spent: float = 0.0


class Scope(NamedTuple):
    """One tenant, or all: its name in keys, its name in messages, its limits and its keys."""

    name: str
    whose: str
    allowance: Allowance
    keys: tuple[str, str, str, str]

    @classmethod
    def at(cls, prefix: str, name: str, whose: str, allowance: Allowance) -> "Scope":
        at = f"{prefix}:{name}"
        keys = (f"{at}:leases", f"{at}:requests", f"{at}:tokens", f"{at}:spent")
        return cls(name, whose, allowance, keys)

    def told(self, seen: Seen) -> Iterator[float]:
        """A scope's part of ``admit``'s arguments; -1 where there is no limit."""
        allowance = self.allowance
        for limit in (
            allowance.streams,
            allowance.requests_per_minute,
            allowance.tokens_per_minute,
            allowance.daily_budget_usd,
        ):
            yield -1 if limit is None else limit
        yield from seen


@dataclass(frozen=True, slots=True)
class Ending:
    """A lease that ended. ``cost`` and ``tokens`` (by scope) are what was used beyond what was
    reserved there; below 0 is given back."""

    lease: str
    scopes: tuple[Scope, ...]
    day: int
    cost: float
    tokens: tuple[int, ...]

    @classmethod
    def of(
        cls,
        lease: str,
        scopes: tuple[Scope, ...],
        demand: Demand,
        used: tuple[int | None, float | None],
        day: int,
        *,
        reserved: bool,
    ) -> "Ending":
        """``reserved``: the server holds the demand's reservation; else it holds nothing."""
        tokens, cost = used
        changes: list[int] = []
        for scope in scopes:
            limit = scope.allowance.tokens_per_minute
            booked = 0 if limit is None else demand.tokens(limit)
            changes.append((booked if tokens is None else tokens) - (booked if reserved else 0))
        spent = demand.cost if cost is None else cost
        return cls(lease, scopes, day, spent - (demand.cost if reserved else 0.0), tuple(changes))

    @classmethod
    def unused(cls, lease: str, scopes: tuple[Scope, ...], demand: Demand, day: int) -> "Ending":
        """Nobody knows whether the server took it; if it did, it is to give it all back."""
        return cls.of(lease, scopes, demand, (0, 0.0), day, reserved=True)

    def told(self) -> list[str | float]:
        """The arguments of ``close``."""
        made: list[str | float] = [self.lease, str(self.day), f"{self.cost:.6f}"]
        for scope, change in zip(self.scopes, self.tokens, strict=True):
            made += [scope.allowance.tokens_per_minute or -1, change]
        return made


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``admit`` said."""

    word: str
    at: int
    wait: float
    now: float
    day: int
    numbers: tuple[tuple[float, float, float], ...]
    """By scope: the arrival times of requests and tokens, USD of the day."""

    @classmethod
    def parse(cls, texts: list[str], scopes: int) -> "Answer":
        """``scopes`` is how many were asked about. Raises ``ConnectionError`` for what our script
        cannot have said: another server did, or somebody wrote into our numbers."""
        try:
            word, at, wait, now, day, *rest = texts
            values = [float(text) for text in rest]
            triples = tuple(zip(values[::3], values[1::3], values[2::3], strict=True))
            told = cls(word, int(at), float(wait), float(now), int(float(day)), triples)
            finite = all(map(math.isfinite, (told.wait, told.now, *values)))
            if not finite or told.at >= scopes or len(triples) not in {0, scopes}:
                raise ValueError
            if not triples and word not in {"lost", "grace"}:
                raise ValueError
            return told
        except (TypeError, ValueError, OverflowError):
            raise ConnectionError("the answer is not from the server of these limits") from None

    def levels(self, scopes: tuple[Scope, ...]) -> Iterator[Level]:
        for scope, (requests, tokens, _) in zip(scopes, self.numbers, strict=True):
            if (limit := scope.allowance.requests_per_minute) is not None:
                yield level_of("requests", requests, self.now, limit)
            if (limit := scope.allowance.tokens_per_minute) is not None:
                yield level_of("tokens", tokens, self.now, limit)


def refusal(answer: Answer, scope: Scope, demand: Demand, levels: list[Level]) -> LimitExceeded:
    """The 429 for an answer that is not ``ok``, in the same words as the local limits."""
    whose, limits, wait = scope.whose, scope.allowance, answer.wait
    per_minute = limits.tokens_per_minute or 0
    match answer.word:
        case "streams":
            return too_many_streams(whose, limits.streams or 0, levels)
        case "requests":
            return over_rate(whose, "requests", limits.requests_per_minute or 0, 1, wait, levels)
        case "tokens":
            asked = demand.tokens(per_minute)
            return over_rate(whose, "tokens", per_minute, asked, wait, levels)
        case "too_large":
            return too_large(whose, per_minute, demand.input_tokens, levels)
        case _:
            return over_budget(whose, limits.daily_budget_usd or 0.0, wait, levels)
