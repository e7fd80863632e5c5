"""The numbers of one client request: local while it runs, written once at its end.

Nothing here touches Prometheus. The one thing counted per write of a stream is the gap since the
write before, into a list of bucket counts (one bisection, a fifth of a microsecond).
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.metrics.table import OTHER, PACE_EDGES, TOKEN_TYPES


@dataclass(slots=True)
class Record:
    """Times are of one monotonic clock, in seconds; 0 means "never"."""

    endpoint: str
    model: str = OTHER
    stream: bool = False
    request_id: str = ""
    trace_id: str = ""
    key: str = ""
    """The name of the client's API key, as the operator wrote it."""
    began: float = 0.0
    read: float = 0.0
    """The body is there: what follows is ours, until ``first_sent``."""
    first_sent: float = 0.0
    """The request left for Bedrock (the first try)."""
    sent: float = 0.0
    """The request left for Bedrock (the last try)."""
    first_event: float = 0.0
    abandoned: bool = False
    """Nobody waited for the first event of a request that had left: it may be billed."""
    first_write: float = 0.0
    first_lag: float = 0.0
    """From Bedrock's bytes to the first chunk that came of them."""
    first_content: float = 0.0
    last_content: float = 0.0
    answered: float = 0.0
    """Bedrock's answer is whole (answers that do not stream)."""
    ended: float = 0.0
    status: int = 200
    code: str = "ok"
    in_band: bool = False
    """The failure was told inside a stream that had already begun."""
    disconnect: str | None = None
    """The client left: ``before_first_token`` or ``streaming``."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    price: Mapping[str, float] | None = None
    """USD per million tokens, by the words of ``tokens_total``'s ``type``."""
    notes: tuple[str, ...] = ()
    finish: str | None = None
    retries: int = 0
    region: str | None = None
    upstream_id: str | None = None
    passed: Mapping[str, str] | None = None
    """Headers that go on to Bedrock, unsigned: those of a trace."""
    gaps: list[int] = field(default_factory=lambda: [0] * (len(PACE_EDGES) + 1))
    """How many gaps between writes of content fell into each bucket of ``PACE_EDGES``."""

    def wrote(self, at: float, since: float, content: bool) -> None:
        """Chunks were written at ``at``, made of bytes that came at ``since``."""
        if not self.first_write:
            self.first_write = at
            self.first_lag = at - since
        if not content:
            return
        if self.first_content:
            self.gaps[bisect_left(PACE_EDGES, at - self.last_content)] += 1
        else:
            self.first_content = at
        self.last_content = at

    def told(self, usage: Mapping[str, Any] | None, finish: str | None) -> None:
        """What is known of an answer's tokens (Converse's ``usage``) and its end, however it
        ended."""
        usage = usage or {}
        self.finish = finish or self.finish
        self.input_tokens += _count(usage, "inputTokens")
        self.output_tokens += _count(usage, "outputTokens")
        self.cache_read_tokens += _count(usage, "cacheReadInputTokens")
        self.cache_write_tokens += _count(usage, "cacheWriteInputTokens")

    @property
    def cost(self) -> float:
        """In USD; 0 where the model has no price."""
        if not self.price:
            return 0.0
        counts = zip(TOKEN_TYPES, self.tokens, strict=True)
        return sum(self.price.get(word, 0.0) * count for word, count in counts) / 1e6

    @property
    def tokens(self) -> tuple[int, int, int, int]:
        """In the order of ``TOKEN_TYPES``."""
        return (
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
        )


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0
