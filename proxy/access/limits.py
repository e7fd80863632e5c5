"""Limits in memory: per tenant and global, for this process only.

These are plain numbers on one event loop, so checking and taking need no lock: all limits of both
scopes are checked before any is taken, and a refused request costs nothing. Tenants are the keys of
a file, so there are few accounts. Each further process adds the same limits again; ``describe``
says so.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

from proxy.access.quota import (
    DAY,
    Demand,
    Lease,
    Level,
    add_to,
    level_of,
    over_budget,
    over_rate,
    too_large,
    too_many_streams,
    wait_for,
)
from proxy.access.tenant import Allowance

ALL: Final = ""
"""The account of all tenants together."""


class Account:
    """What one scope has used so far."""

    __slots__ = ("day", "requests", "spent", "streams", "tokens")

    def __init__(self) -> None:
        self.streams = 0
        self.requests = 0.0
        self.tokens = 0.0
        self.day = 0
        self.spent = 0.0

    def spent_on(self, day: int) -> float:
        """USD of ``day``, reservations included; another day begins at nothing."""
        if day != self.day:
            self.day, self.spent = day, 0.0
        return self.spent


class LocalLimiter:
    """``overall`` limits all tenants together. ``clock`` is monotonic, ``wall`` is unix time."""

    def __init__(
        self,
        overall: Allowance = Allowance(),  # noqa: B008  # frozen: calls share it safely
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._overall = overall
        self._clock = clock
        self._wall = wall
        self._accounts: dict[str, Account] = {}

    async def admit(self, demand: Demand) -> Lease:
        """Take a place. Raises ``LimitExceeded``."""
        now, wall = self._clock(), self._wall()
        scopes = tuple(self._scopes(demand))
        for account, allowance, whose in scopes:
            check(account, allowance, whose, demand, now, wall)
        return self.enter(demand)

    def enter(self, demand: Demand) -> Lease:
        """Take a place whatever the limits say (another limiter has admitted it)."""
        now, day = self._clock(), int(self._wall() // DAY)
        scopes = tuple(self._scopes(demand))
        if not scopes:
            return Lease(None)
        for account, allowance, _ in scopes:
            _take(account, allowance, demand, now, day)
        levels = [level for scope in scopes for level in levels_of(scope[0], scope[1], now)]

        def close(used: tuple[int | None, float | None]) -> None:
            for account, allowance, _ in scopes:
                _give_back(account, allowance, demand, used, self._clock(), day)

        return Lease(close, levels)

    def describe(self) -> str:
        return "limits are counted per process, in memory"

    async def close(self) -> None:
        return

    def _scopes(self, demand: Demand) -> Iterator[tuple[Account, Allowance, str]]:
        """The accounts that ``demand`` is counted in: those with any limit."""
        if not demand.allowance.unlimited:
            account = self._account(f"key {demand.tenant}")
            yield account, demand.allowance, f"key {demand.tenant}"
        if not self._overall.unlimited:
            yield self._account(ALL), self._overall, "this proxy"

    def _account(self, name: str) -> Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account()
        return account


def check(
    account: Account, allowance: Allowance, whose: str, demand: Demand, now: float, wall: float
) -> None:
    """Raises ``LimitExceeded`` for the first limit of ``allowance`` that ``demand`` breaks."""
    levels = levels_of(account, allowance, now)
    budget = allowance.daily_budget_usd
    if budget is not None and account.spent_on(int(wall // DAY)) >= budget:
        raise over_budget(whose, budget, DAY - wall % DAY, levels)
    if allowance.streams is not None and account.streams >= allowance.streams:
        raise too_many_streams(whose, allowance.streams, levels)
    limit = allowance.requests_per_minute
    if limit is not None and (wait := wait_for(account.requests, now, 1, limit)) > 0:
        raise over_rate(whose, "requests", limit, 1, wait, levels)
    limit = allowance.tokens_per_minute
    if limit is not None:
        if demand.input_tokens > limit:
            raise too_large(whose, limit, demand.input_tokens, levels)
        asked = demand.tokens(limit)
        if (wait := wait_for(account.tokens, now, asked, limit)) > 0:
            raise over_rate(whose, "tokens", limit, asked, wait, levels)


def levels_of(account: Account, allowance: Allowance, now: float) -> list[Level]:
    """How full the two buckets of an account are."""
    made: list[Level] = []
    if allowance.requests_per_minute is not None:
        made.append(level_of("requests", account.requests, now, allowance.requests_per_minute))
    if allowance.tokens_per_minute is not None:
        made.append(level_of("tokens", account.tokens, now, allowance.tokens_per_minute))
    return made


def _take(account: Account, allowance: Allowance, demand: Demand, now: float, day: int) -> None:
    account.streams += 1
    if (limit := allowance.requests_per_minute) is not None:
        account.requests = add_to(account.requests, now, 1, limit)
    if (limit := allowance.tokens_per_minute) is not None:
        account.tokens = add_to(account.tokens, now, demand.tokens(limit), limit)
    account.spent_on(day)
    account.spent += demand.cost


def _give_back(
    account: Account,
    allowance: Allowance,
    demand: Demand,
    used: tuple[int | None, float | None],
    now: float,
    day: int,
) -> None:
    """Free the place; correct what was reserved to what was used."""
    account.streams -= 1
    tokens, cost = used
    limit = allowance.tokens_per_minute
    if limit is not None and tokens is not None:
        account.tokens = add_to(account.tokens, now, tokens - demand.tokens(limit), limit)
    if cost is not None and account.day == day:
        account.spent += cost - demand.cost
