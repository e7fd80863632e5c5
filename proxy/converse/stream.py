"""A ConverseStream: bytes in, events out, and the knowledge of what a whole stream is.

The contract: a stream ends either whole (``messageStop`` seen, nothing half-read) or with exactly
one ``failure``. Nothing in between exists: botocore ends a cut stream in silence, and that silence
would reach a client as a shorter answer. Like h11's connection this holds state, never a socket;
``failure`` is a value and not an exception, because the events before it are still to be delivered.

Source: Bedrock API reference, *ConverseStream*; order of events and padding as recorded.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import orjson

from proxy.converse.eventstream import (
    MAX_PAYLOAD,
    NO_HEADS,
    Decoder,
    FramingError,
    heads_of,
    string_headers,
)
from proxy.converse.exceptions import from_exception, protocol_fault
from proxy.converse.types import Event
from proxy.errors import ProxyError

CONTENT_TYPE: Final = "application/vnd.amazon.eventstream"
_CONTENT_EVENTS: Final = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"}
)
_USUAL: Final = MappingProxyType(
    {
        string_headers(*headers.items()): MappingProxyType(headers)
        for kind in (*sorted(_CONTENT_EVENTS), "metadata")
        for headers in [
            {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
        ]
    }
)
"""The header blocks of events, as recorded without exception: these bytes need no parsing."""
_DELTA: Final = next(h for h in _USUAL.values() if h[":event-type"] == "contentBlockDelta")
_SHORT: Final = 512
"""Bytes of payload that hardly any delta exceeds: a few words, and up to 62 bytes of padding."""
_HEADS: Final = heads_of(_DELTA, _SHORT)


class ConverseStream:
    """One answer as it arrives. ``max_payload`` bounds one event's JSON, in bytes.

    ``failure`` is set once and stays; ``stopped`` says that ``messageStop`` came; ``ended`` that
    ``metadata`` came after it: then nothing else belongs to the answer, and what follows is not
    looked at, whether it came in the same read or would come in the next one.
    """

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        heads = _HEADS if max_payload >= _SHORT else NO_HEADS
        self._decoder = Decoder(max_payload, _USUAL, heads)
        self.failure: ProxyError | None = None
        self.stopped = False
        self.ended = False

    def receive(self, data: bytes) -> list[Event]:
        """The events completed by ``data``. Look at ``failure`` after every call."""
        if self._is_over():
            return []
        messages, fault = self._decoder.feed(data)
        events: list[Event] = []
        for headers, payload in messages:
            if headers is _DELTA and not self.stopped:  # the short way for nearly all events
                try:
                    body = orjson.loads(payload)
                except orjson.JSONDecodeError:
                    body = None
                if isinstance(body, dict):
                    events.append(("contentBlockDelta", body))
                    continue
            event = self._event(headers, payload)
            if event is not None:
                events.append(event)
            if self._is_over():
                return events
        if fault is not None:
            self.failure = _corrupt(fault)
        return events

    def close(self) -> ProxyError | None:
        """The upstream's bytes have ended: the failure it ends with, or ``None`` if it is whole."""
        whole = self.ended or (self.stopped and not self._decoder.pending)
        if self.failure is None and not whole:
            self.failure = ProxyError(
                502,
                "Bedrock's answer ended before it was complete.",
                code="upstream_truncated",
                retry="transient",
            )
        return self.failure

    def _is_over(self) -> bool:
        return self.ended or self.failure is not None

    def _event(self, headers: Mapping[str, str], payload: bytes) -> Event | None:
        """The message's meaning, or ``None`` with ``failure`` set."""
        kind = headers.get(":event-type")
        is_event = headers.get(":message-type", "event") == "event"  # absent: as botocore takes it
        if not is_event or kind is None or kind.endswith("Exception"):
            self.failure = _exception(headers, payload)
            return None
        try:
            body = orjson.loads(payload) if payload else {}
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            self.failure = protocol_fault(f"a {kind} event whose payload is not a JSON object")
            return None
        if kind in _CONTENT_EVENTS:
            if self.stopped:
                self.failure = protocol_fault(f"a {kind} event after the end of the message")
                return None
            self.stopped = kind == "messageStop"
        elif kind == "metadata":
            self.ended = self.stopped
        return kind, body


def _corrupt(fault: FramingError) -> ProxyError:
    return ProxyError(
        502,
        f"Bedrock's event stream is corrupt: {fault}.",
        code="upstream_corrupt",
        retry="transient",
    )


def _exception(headers: Mapping[str, str], payload: bytes) -> ProxyError:
    """An exception or error message (or an exception framed as an event) as a ``ProxyError``."""
    kind = headers.get(":message-type", "event")
    if kind == "error":
        return from_exception(
            headers.get(":error-code", "InternalFailure"), headers.get(":error-message", "")
        )
    name = headers.get(":exception-type") or headers.get(":event-type")
    if name is None or kind not in {"exception", "event"}:
        return protocol_fault(f"a message of unknown type ({kind[:40]!r})")
    try:
        body = orjson.loads(payload) if payload else {}
    except orjson.JSONDecodeError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    texts = (body.get(key) for key in ("message", "Message", "originalMessage"))
    original = body.get("originalStatusCode")
    return from_exception(
        name,
        next((text for text in texts if isinstance(text, str) and text), ""),
        original_status=original if isinstance(original, int) else None,
    )
