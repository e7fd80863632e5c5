"""The record of one model family: what it accepts, and how its answers look.

`families.py` fills one row per family. Defaults are those of an ordinary text model: system
prompts, tools with any choice, prefill, stop sequences, no media, no reasoning, no caching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Thinking = Literal["", "budget", "either", "adaptive", "always", "nova", "effort", "switch", "self"]
Reasoning = Literal["", "signed", "plain", "after", "masked", "sealed"]

ALL_CHOICES = frozenset({"auto", "any", "tool"})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Family:
    """One row. First what is accepted, then how answers look."""

    name: str
    # Conversation.
    system: bool = True
    mid_system: bool = False
    leading_assistant: bool = False
    alternation: bool = True
    prefill: bool = True
    # Tools. `result_media`: kinds of block inside a toolResult; `calls`: ids it accepts back;
    # `system_tools`: those that the service runs.
    tools: bool = True
    system_tools: frozenset[str] = NOTHING
    stream_tools: bool = True
    choices: frozenset[str] = ALL_CHOICES
    strict: bool = False
    references: bool = True
    lookaround: bool = True
    result_alone: bool = False
    result_status: bool = True
    result_media: frozenset[str] = NOTHING
    nine_letter_ids: bool = False
    unique_ids: bool = False
    # Media in user messages.
    media: frozenset[str] = NOTHING
    s3: bool = False
    sniffs_images: bool = False
    # Sampling and limits.
    sampling: Literal["both", "one", "none"] = "both"
    stop: bool = True
    keeps_stop: bool = False
    min_output: int = 1
    fields: frozenset[str] = NOTHING
    overflow: Literal["claude", "nova2", "nova", "plain"] = "plain"
    # Structured output and prompt caching. `cache`: where points are taken.
    schema: bool = False
    cache: frozenset[str] = NOTHING
    cache_hour: bool = False
    cache_minimum: int = 1024
    # Reasoning. `efforts`: what the dial takes; `forced`: any/tool choice while it always thinks.
    thinking: Thinking = ""
    forced: bool = True
    efforts: tuple[str, ...] = ()
    replay: Literal["signed", "plain", "none"] = "none"
    # How it writes.
    reasoning: Reasoning = ""
    typed_calls: bool = False
    positional_ids: bool = False
    whole_input: bool = False
    opens_empty: bool = False
    ends_empty: bool = False
    lead: str = ""
    cache_usage: Literal["zeros", "read", "marked", "none"] = "none"

    @property
    def is_claude(self) -> bool:
        return self.name.startswith("claude")
