"""When a retry is worth making, how long to wait before it, and from which budget it is paid.

Three rules meet here. A *count*: at most two retries of one call. A *budget* shared by all calls of
the process, AWS's standard-mode token bucket, so that a throttling storm is not amplified; it
refills by successes and, slowly, by time, so that an idle proxy recovers. And the upstream's
Retry-After, which is the minimum wait; one that is too long is passed on to the client.

Source: AWS SDKs and Tools Reference, *Retry behavior*; costs measured against the promise of at
most 1.25 calls per throttled request.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from proxy.errors import ProxyError, Retry

MAX_RETRIES: Final = 2
LONGEST_WAIT: Final = 5.0
_CAPACITY: Final = 500.0
_COST: Final[Mapping[Retry, float]] = MappingProxyType(
    {"transient": 14.0, "throttle": 7.0, "once": 14.0}
)
_SCALE: Final[Mapping[Retry, float]] = MappingProxyType(
    {"transient": 0.05, "throttle": 1.0, "once": 0.05}
)
_LONGEST_STEP: Final = 20.0
_REFILL_PER_SECOND: Final = 1.0
_REFILL_PER_SUCCESS: Final = 1.0


class Budget:
    """The shared bucket. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = _CAPACITY
        self._at = clock()

    def spend(self, kind: Retry) -> bool:
        """Pay for one more try; ``False`` if the bucket cannot."""
        now = self._clock()
        self._tokens = min(_CAPACITY, self._tokens + (now - self._at) * _REFILL_PER_SECOND)
        self._at = now
        if self._tokens < _COST[kind]:
            return False
        self._tokens -= _COST[kind]
        return True

    def succeeded(self) -> None:
        """A first try was good: a token comes back."""
        self._tokens = min(_CAPACITY, self._tokens + _REFILL_PER_SUCCESS)


class Attempts:
    """The tries of one call. ``draw`` returns a random number in [0, 1)."""

    def __init__(self, budget: Budget, draw: Callable[[], float]) -> None:
        self._budget = budget
        self._draw = draw
        self.made = 0
        self._once = False

    def pause(self, error: ProxyError) -> float | None:
        """Seconds to wait before the next try at the same place, or ``None``: the error is
        final."""
        kind = error.retry
        if kind not in _COST or self.made >= MAX_RETRIES or (kind == "once" and self._once):
            return None
        floor = error.retry_after or 0.0
        if floor > LONGEST_WAIT or not self._budget.spend(kind):
            return None
        self._once = self._once or kind == "once"
        step = min(_SCALE[kind] * float(2**self.made), _LONGEST_STEP)  # full jitter
        self.made += 1
        return max(floor, self._draw() * step)

    def elsewhere(self, error: ProxyError) -> bool:
        """Whether another place may be tried at once; what the first said of waiting is not about
        it. Counted and paid for like any other try."""
        kind = error.retry if error.retry in _COST else "throttle"
        if self.made >= MAX_RETRIES or not self._budget.spend(kind):
            return False
        self.made += 1
        return True
