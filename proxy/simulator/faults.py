"""Scripted misfortune: what a test can make the simulator do to the next calls.

A `Fault` says what happens (`kind`), to which calls (`operation`, `model`) and how often (`times`;
None means until cleared). `FaultBook` hands the first fault that fits to each call. How a fault
looks on the wire is the business of `stream.py` (inside a stream) and `app.py` (before one).

Kinds before any answer: `error`, `throttle`, `delay`, `reset` (TCP reset; within a stream when
`after` is set), `drop` (connection closed without a word), `redirect`, `raw`.
Kinds within a stream: `exception`, `error_frame`, `stall`, `truncate`, `cut`, `corrupt`, `drip`,
`garbage`, `events`, `huge`. Kinds for both forms: `stop_reason`, `hang_up` (a whole
answer, then the kept-alive connection is closed unannounced, as idle ones are).
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

BEFORE = frozenset({"error", "throttle", "reset", "drop", "redirect", "raw"})
WITHIN = frozenset(
    {
        *("exception", "error_frame", "stall", "truncate", "cut", "corrupt", "drip", "garbage"),
        *("events", "huge"),
    }
)
KINDS = BEFORE | WITHIN | {"delay", "stop_reason", "hang_up"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One scripted misfortune.

    `delay` seconds pass before the response's head, whatever the kind. `after` counts events let
    through first, `size` bytes let through (truncate, cut) or made (huge), `seconds` how long a
    stall lasts (an hour unless said) or each dripped byte takes (no time unless said). `error` is
    an AWS exception name (kind `error`) or a stream member such as `throttlingException` (kind
    `exception`). `events` are (event type, payload) pairs; a type that ends in "Exception" is sent
    as an exception message, the type "error" as an error message.
    `data` is base64: the whole body of `raw`, or the bytes of `garbage`.
    """

    kind: str
    times: int | None = 1
    operation: str = ""
    model: str = ""
    delay: float = 0.0
    after: int = 0
    size: int | None = None
    seconds: float | None = None
    error: str = ""
    message: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    data: str = ""
    content_type: str = ""
    location: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(sorted(KINDS))}")

    @property
    def payload(self) -> bytes:
        return base64.b64decode(self.data)

    def concerns(self, operation: str, model: str) -> bool:
        return (not self.operation or self.operation == operation) and self.model in model


def fault_from(values: Mapping[str, Any]) -> Fault:
    """A Fault from JSON. Raises ValueError that names what is wrong."""
    known = {f.name for f in fields(Fault)}
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"unknown fault members: {', '.join(sorted(unknown))}")
    if "kind" not in values:
        raise ValueError("a fault needs a kind")
    events = tuple((name, payload) for name, payload in values.get("events", ()))
    return Fault(**{**values, "events": events})


class FaultBook:
    """The scripted faults, in order. Filled from any thread, read by the server's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._entries.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def pending(self) -> list[str]:
        """What is still to come, one line each."""
        with self._lock:
            return [f"{fault.kind} x {left or 'ever'}" for fault, left in self._entries]

    def take(self, operation: str, model: str) -> Fault | None:
        """The fault of this call, counted down; None when it may pass."""
        with self._lock:
            for at, (fault, left) in enumerate(self._entries):
                if not fault.concerns(operation, model):
                    continue
                if left is not None and left <= 1:
                    del self._entries[at]
                elif left is not None:
                    self._entries[at] = (fault, left - 1)
                return fault
        return None
