"""Answers that must not pass as a success: each a ``ProxyError`` 502 with its own code.

Where asking again may give a better answer, the error says so (``retry``).
Source: Bedrock API reference, *Converse* (``stopReason``).
"""

from typing import Final

from proxy.errors import ProxyError

MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Stop reasons of an answer that Bedrock could not parse."""


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


def no_place(member: str) -> ProxyError:
    return ProxyError(
        502,
        f"The model answered with a part that has no place in a chat completion ({member}).",
        code="unsupported_content",
    )
