"""What a client API must provide to be served: a frozen value of pure functions.

A dialect translates its own requests into Converse requests and Converse events into its own bytes.
The endpoint and the relay know these names and nothing of any dialect's shapes; a new client API is
a new folder that builds one ``Dialect``, and one line in ``app.py``.

One request may ask for several answers (``choices``): each call gets its own encoder or collector,
and what they share (usage, the end) is rendered once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from proxy.catalog.model import Model
from proxy.converse.types import ConverseRequest, Event, Json, Operation, Usage
from proxy.errors import ProxyError
from proxy.frozen import frozen


class Request(Protocol):
    """A checked client request: the few facts that the endpoint needs to know."""

    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator decided about translation; the same for every request."""

    strict: bool = False
    """Drops and repairs become 400s."""
    forward_user: bool = False
    """``user`` and ``safety_identifier`` may travel to AWS (they end up in its logs)."""
    stream_usage: str = "asked"
    """``always`` puts usage on the finish chunk for clients that never ask."""
    auto_cache: bool = False
    """Cache points are placed where the client placed none."""
    max_choices: int = 8
    reasoning_as: str = "reasoning_content"
    """How reasoning is shown: in this field, in ``reasoning``, as ``thinking_blocks`` (beside
    ``reasoning_content``), or in the text between think ``tags``."""
    usage_cost: bool = False
    """``usage`` tells what it cost, where the model has a price."""
    guardrail: Mapping[str, str] | None = None
    """The operator's own guardrailConfig; nothing in a request removes or weakens it."""
    request_metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The operator's own pairs; a request may add others."""
    service_tier: str | None = None
    """The operator's own tier, in Converse's word; a request's is dropped."""


@frozen
class Translation:
    """A client request as Bedrock will see it, with what the answer must know of the question."""

    body: ConverseRequest
    """A model's own JSON where ``operation`` is ``invoke``."""
    operation: Operation
    """``converse`` where the model cannot stream (this); it is replayed as a stream."""
    plan: Any
    """The dialect's own; handed back to its encoder, collector and renderer untouched."""
    notes: tuple[str, ...] = ()
    """Short stable tokens: what was dropped, clamped, renamed or emulated."""
    choices: int = 1
    again: ConverseRequest | None = None
    """The body to retry with when an answer failed with ``retry == "once"`` before its first byte;
    ``None``: the same body."""
    price: Mapping[str, float] | None = None
    """USD per million tokens (input, output, cache_read, cache_write), if it is to be shown."""
    bodies: tuple[Mapping[str, Json], ...] = ()
    """One for each choice, where they differ (several prompts, batches of texts). Such calls need
    not wait for the first, which is made with ``body`` too."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Headers that InvokeModel needs besides the body."""


@frozen
class Stamp:
    """Set by the endpoint for an answer: its id's random part, unix time (s), the model's name."""

    id: str
    created: int
    model: str


class Keepsake(NamedTuple):
    """What must be remembered of an answer for the next request: opaque, except for its key."""

    key: str
    value: bytes


class Link(NamedTuple):
    """A remote URL in a request, and where it stands: ``messages[0].content[1].image_url.url``."""

    url: str
    param: str
    image: bool = True
    """Only an image is acceptable."""


class Linked(NamedTuple):
    """A link's content. ``media_type`` is what its server said, "" if it said nothing."""

    data: bytes
    media_type: str


class Weight(NamedTuple):
    """An estimate of a request's tokens: its input and its longest possible answer, summed over
    all its calls."""

    input: int
    output: int


def _no_links(request: Any) -> Sequence[Link]:
    return ()


def _nowhere(request: Any, kind: str) -> str | None:
    return None


def _as_it_is(request: Any, found: Mapping[str, Linked]) -> Any:
    return request


class Encoder(Protocol):
    """Events of one call to bytes of the client's stream.

    ``usage``, ``finish`` and ``content`` tell the metrics what has passed so far: token counts as
    Bedrock gave them, the client API's finish word, whether any content (not just a role) went out.
    ``keepsake`` is set at the answer's end, and before the bytes of that end are given out.
    """

    usage: Usage | None
    finish: str | None
    content: bool
    keepsake: Keepsake | None

    def encode(self, events: Sequence[Event]) -> bytes:
        """Bytes for these events, ``b""`` if none are due. Raises ``ProxyError`` for an answer that
        must not be passed off as a success; the bytes due before it are then in ``pending()``."""
        ...

    def pending(self) -> bytes:
        """What was encoded before ``encode`` raised; empty otherwise."""
        ...

    def finish_stream(self) -> bytes:
        """The stream is whole: whatever was still held back (text, the finish chunk)."""
        ...

    def heartbeat(self) -> bytes:
        """A chunk that changes nothing, for clients whose watchdogs count parsed chunks."""
        ...


class Collector(Protocol):
    """Events of one call, folded into one answer."""

    usage: Usage | None
    finish: str | None
    content: bool
    keepsake: Keepsake | None

    def add(self, events: Sequence[Event]) -> None:
        """Take these events in. Raises ``ProxyError`` as ``Encoder.encode`` does."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """The functions that make a client API. All pure."""

    name: str
    """The metrics' ``endpoint`` label."""
    parse: Callable[[bytes, Mapping[str, str]], Request]
    """Body and (lower-case) headers to a checked request. ``ProxyError`` names the fault."""
    lacking: Callable[[Any, Model], Sequence[str]]
    """The keys of keepsakes that the client should have sent back with this request but did not."""
    restored: Callable[[Any, Model, Mapping[str, bytes]], Any]
    """The request with those that were found, by key."""
    translate: Callable[[Any, Model, Options], Translation]
    encoder: Callable[[Translation, Stamp, int], Encoder]
    """For the choice with this index."""
    end: Callable[[Translation, Stamp, Sequence[Usage | None]], bytes]
    """What closes a good stream once all its choices have finished (usage, end mark)."""
    collector: Callable[[Translation, Stamp, int], Collector]
    render: Callable[[Translation, Stamp, Sequence[Collector]], bytes]
    """The one answer of a request that does not stream."""
    error_body: Callable[[ProxyError], bytes]
    error_event: Callable[[ProxyError], bytes]
    """The in-band form, framed; nothing follows it."""
    weigh: Callable[[Any, Model], Weight]
    """An estimate that is cheap: what limits reserve until the usage is known."""
    links: Callable[[Any], Sequence[Link]] = _no_links
    """Remote media that the request names."""
    linked: Callable[[Any, Mapping[str, Linked]], Any] = _as_it_is
    """The request with those media in it, by URL."""
    locate: Callable[[Any, str], str | None] = _nowhere
    """The parameter that brought an image, a document, a video or audio, which Bedrock refused."""
