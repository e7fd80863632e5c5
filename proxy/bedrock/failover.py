"""Fail-over: the ordered targets of one call, and which of them to avoid for now.

A *course* holds a call's stops: its own region first, then the operator's fail-over targets that
can serve the model, each with the model's id there. Throttling, unavailability and a failed
connection move the call to the next stop. Any other refusal by a fail-over target (no access, no
such model, no credentials) says nothing about the request, so the first stop's error is the one
that is returned.

A *circuit breaker* per target and model opens after consecutive failures and then lets one call at
a time through to probe for recovery. It only changes the order of the stops: a call that has no
other stop is still made. Seconds are of a monotonic clock. ``retries.py`` counts the tries and
their budget.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.transport import SignedTransport
from proxy.errors import ProxyError
from proxy.frozen import frozen

FAILURES: Final = 3
"""Consecutive failures after which a circuit opens."""
_SHORTEST: Final = 5.0
_LONGEST: Final = 60.0
_LONGEST_TOLD: Final = 300.0
"""A Retry-After counts up to this."""
_PROBE: Final = 5.0
"""While one call probes, the others stay away for this long."""
_UNFIT_FOR: Final = 300.0
_KEPT: Final = 1024
_UNREACHABLE: Final = frozenset({"upstream_unreachable", "upstream_reset"})
_UNFIT_STATUS: Final = frozenset({401, 403, 404})
_UNFIT_CODES: Final = frozenset({"model_not_found", "upstream_credentials"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where calls of one region go, as one identity: the runtime's base URL, and transports that
    sign for it. ``fresh`` never reuses a connection; ``name`` tells targets apart."""

    region: str
    base: str
    transport: SignedTransport
    fresh: SignedTransport
    name: str = ""

    def signed_by(self, authorizer: Authorizer) -> "Target":
        """The same endpoint with another identity."""
        return Target(
            self.region,
            self.base,
            self.transport.signed_by(authorizer),
            self.fresh.signed_by(authorizer),
            self.name,
        )


@frozen
class Stop:
    """A target, and the model's id there."""

    target: Target
    model_id: str


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    until: float = 0.0


class Circuits:
    """The circuits of the process. ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: OrderedDict[tuple[str, str], _Circuit] = OrderedDict()

    def lets_pass(self, stop: Stop) -> bool:
        """Whether a call should go there now. If the circuit was open, the call that may is its
        probe: until it has ended the others must avoid the target."""
        now = self._clock()
        circuits = [self._open.get(key) for key in _keys(stop)]
        tripped = [one for one in circuits if one is not None and one.failures >= FAILURES]
        if any(now < one.until for one in tripped):
            return False
        for one in tripped:
            one.until = now + _PROBE
        return True

    def failed(self, stop: Stop, error: ProxyError) -> None:
        """A target that cannot be reached fails for all models, one that throttles for one."""
        whole, model = _keys(stop)
        circuit = self._circuit(whole if error.code in _UNREACHABLE else model)
        circuit.failures += 1
        if circuit.failures >= FAILURES:
            pause = min(_SHORTEST * 2.0 ** (circuit.failures - FAILURES), _LONGEST)
            told = min(error.retry_after or 0.0, _LONGEST_TOLD)
            circuit.until = self._clock() + max(pause, told)

    def unfit(self, stop: Stop) -> None:
        """The model is not available there: try again much later."""
        circuit = self._circuit(_keys(stop)[1])
        circuit.failures = max(circuit.failures, FAILURES)
        circuit.until = self._clock() + _UNFIT_FOR

    def succeeded(self, stop: Stop) -> None:
        for key in _keys(stop):
            self._open.pop(key, None)

    def _circuit(self, key: tuple[str, str]) -> _Circuit:
        circuit = self._open.setdefault(key, _Circuit())
        self._open.move_to_end(key)
        if len(self._open) > _KEPT:
            self._open.popitem(last=False)
        return circuit


class Course:
    """One call's path through its stops; there is at least one."""

    def __init__(self, stops: Sequence[Stop], circuits: Circuits) -> None:
        self._circuits = circuits
        self._own = stops[0]
        self._left = list(stops)
        self._alone = len(stops) == 1
        self._first: ProxyError | None = None
        self._verdict: ProxyError | None = None
        self.stop = self._choose() or stops[0]
        self._start = self.stop
        if self.stop in self._left:
            self._left.remove(self.stop)

    def advance(self, error: ProxyError) -> bool:
        """Take in how the try at ``stop`` failed; whether ``stop`` is another one now."""
        self._verdict = error
        if self._alone:
            return False
        if error.retry in ("throttle", "transient"):
            self._circuits.failed(self.stop, error)
            self._first = self._first or error
        elif self._is_unfit(error):
            self._circuits.unfit(self.stop)
            self._verdict = self._first or error
        else:
            return False
        # Its own place is the last resort, however that fared with other calls.
        following = self._choose() or (self._own if self._own in self._left else None)
        if following is None:
            self.stop = self._start if self._first is not None else self.stop
            return False
        self._left.remove(following)
        self.stop = following
        return True

    def verdict(self, error: ProxyError) -> ProxyError:
        """The error for the client: not that of a fail-over target which cannot serve the call."""
        return self._verdict or error

    def succeeded(self) -> None:
        if not self._alone:
            self._circuits.succeeded(self.stop)

    def _is_unfit(self, error: ProxyError) -> bool:
        if self.stop is self._own:
            return False
        return error.status in _UNFIT_STATUS or error.code in _UNFIT_CODES

    def _choose(self) -> Stop | None:
        """The first stop that is left and not to be avoided."""
        if self._alone:
            return None
        return next((stop for stop in self._left if self._circuits.lets_pass(stop)), None)


def _keys(stop: Stop) -> tuple[tuple[str, str], tuple[str, str]]:
    return (stop.target.name, ""), (stop.target.name, stop.model_id)
