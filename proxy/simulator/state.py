"""What a running simulator knows and remembers: settings, faults, what it received, its caches.

One `State` per simulator, shared by the HTTP side and the test that holds the `Simulator`. Settings
are plain attributes that a test sets while the server runs; each request reads them afresh.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.simulator.auth import Account
from proxy.simulator.caching import PromptCache
from proxy.simulator.estate import Estate
from proxy.simulator.faults import FaultBook
from proxy.simulator.signatures import Ledger

_REMEMBERED = 1000
_REMEMBERED_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Settings:
    """Dials that last until changed. Times are seconds.

    `pace` between deltas, `latency` before a stream's first event, `clock_offset` added to the
    service's clock, `denied` operations answer 403, `no_access` model ids were never granted,
    `signature_scope` is "vendor" or "model" (see `signatures.py`).
    """

    pace: float = 0.0
    latency: float = 0.0
    clock_offset: float = 0.0
    token_expired: bool = False
    denied: tuple[str, ...] = ()
    no_access: tuple[str, ...] = ()
    signature_scope: str = "vendor"

    def change(self, values: Mapping[str, Any]) -> None:
        """Set some dials; lists are taken as tuples. Raises ValueError for an unknown one."""
        known = {f.name for f in fields(self)}
        unknown = set(values) - known
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)


@dataclass(slots=True)
class Received:
    """One request as it arrived. `at` and `gone_at` are time.monotonic() seconds.

    `gone_at` is set when the client hung up before the answer was complete; `events` counts the
    event-stream messages sent until then.
    """

    operation: str
    model: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any
    request_id: str
    size: int = 0
    at: float = field(default_factory=time.monotonic)
    status: int = 0
    error: str = ""
    events: int = 0
    gone_at: float | None = None

    @property
    def disconnected(self) -> bool:
        return self.gone_at is not None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "disconnected": self.disconnected}


@dataclass
class State:
    account: Account
    estate: Estate
    seed: int
    settings: Settings = field(default_factory=Settings)
    default_pace: float = 0.0
    faults: FaultBook = field(default_factory=FaultBook)
    requests: deque[Received] = field(default_factory=deque)
    cache: PromptCache = field(default_factory=PromptCache)
    ledger: Ledger = field(init=False)
    _kept: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.seed)

    def remember(self, received: Received) -> None:
        """Keep a request; the oldest make room beyond 1000 requests or 64 MB of bodies."""
        self._kept += received.size
        self.requests.append(received)
        while len(self.requests) > _REMEMBERED or self._kept > _REMEMBERED_BYTES:
            self._kept -= self.requests.popleft().size

    def forget_requests(self) -> None:
        self.requests.clear()
        self._kept = 0

    def now(self) -> datetime:
        """The service's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.settings.clock_offset)
