"""Stop reasons (Converse) to finish reasons (OpenAI): one table, and what may override it.

``guardrail_intervened`` is ``content_filter`` even where the guardrail only masked: recordings show
the same stop reason for a blocked answer and for a whole one with placeholders in it, and what
tells them apart (the trace's ``actionReason``) comes after the finish chunk, on newer service
versions only, and only if a trace was asked for. A finish reason must not depend on a diagnostic
switch, and text was withheld in both cases.

Sources: Bedrock API reference, *Converse* (``stopReason``); OpenAI API reference
(``finish_reason``).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.converse.types import Json

_BY_USE: Final = ""  # decided by whether a tool was used

FINISH_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "end_turn": _BY_USE,  # some families call tools and say end_turn
        "stop_sequence": _BY_USE,
        "tool_use": _BY_USE,  # only server tools: stop
        "max_tokens": "length",  # also when a call's arguments were cut
        "model_context_window_exceeded": "length",
        "guardrail_intervened": "content_filter",
        "content_filtered": "content_filter",
        "refusal": "content_filter",  # Anthropic's own word; not in Converse's list (yet)
    }
)


def finish_reason(stop_reason: str, called: str | None) -> str:
    """``called`` is the client API's word for a tool having been called, ``None`` if none was.

    An unknown stop reason is judged by what the answer holds.
    """
    return FINISH_REASONS.get(stop_reason, _BY_USE) or called or "stop"


def stop_sequence(fields: Json) -> str | None:
    """Which stop sequence matched, where ``additionalModelResponseFieldPaths`` asked for it:
    Claude's ``/stop_sequence``, in streams ``/delta/stop_sequence``."""
    if not isinstance(fields, dict):
        return None
    for place in (fields, fields.get("delta")):
        if isinstance(place, dict) and isinstance(found := place.get("stop_sequence"), str):
            return found
    return None
