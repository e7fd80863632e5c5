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

from proxy.errors import ProxyError

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

MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})


def finish_reason(stop_reason: str, called: str | None) -> str:
    """``called`` is the client API's word for a tool having been called, ``None`` if none was.

    An unknown stop reason is judged by what the answer holds.
    """
    return FINISH_REASONS.get(stop_reason, _BY_USE) or called or "stop"


def malformed(stop_reason: str) -> ProxyError:
    what = "a tool call" if stop_reason == "malformed_tool_use" else "an answer"
    return ProxyError(
        502,
        f"The model produced {what} that Bedrock could not parse.",
        code=stop_reason,
        retry="once",
    )


def only_withheld_calls() -> ProxyError:
    return ProxyError(
        502,
        "The model answered with nothing but calls of tools that this request does not offer.",
        code="only_withheld_calls",
        retry="once",
    )
