"""What a chat answer must know of its question, in one value that travels with the request.

``to_converse`` fills it in, ``from_converse`` reads it. Everything a gateway is tempted to keep in
a module-level cache (renamed tools, the way JSON was asked for) stands here instead.
"""

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Literal

from proxy.frozen import frozen


@frozen
class Plan:
    """The question's side of an answer.

    ``tool_names`` maps a name as Bedrock knows it to the client's, for renamed tools only;
    ``custom_tools`` are the client's names of free-text tools, whose input travels as
    ``{"input": text}``.
    """

    stream: bool = False
    include_usage: bool = False
    usage_on_finish: bool = False
    tool_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    custom_tools: frozenset[str] = frozenset()
    legacy_functions: bool = False
    """The deprecated ``functions`` were used: answer with ``function_call``."""
    offered: frozenset[str] | None = None
    """Bedrock's names of the tools that may be called; a call to another one is withheld.
    ``None``: no call is withheld."""
    one_call: bool = False
    """At most one tool call may be passed on (parallel calls were switched off)."""
    json_tool: str | None = None
    """Bedrock's name of the tool whose input *is* the answer's content."""
    json_mode: Literal["none", "native", "tool", "prompt"] = "none"
    stop: tuple[str, ...] = ()
    """Stop sequences that end the text where they stand in it."""
    show_trace: bool = False
    """The caller asked for the guardrail trace."""
    inline_tags: tuple[str, ...] = ()
    """Tags whose content is reasoning, to be taken out of the text."""
    family: str = "other"
    """Whose reasoning this will be."""
    show_extras: bool = False
    """The caller asked for additional response fields."""
    reasoning_as: Literal["reasoning_content", "reasoning", "thinking_blocks", "tags"] = (
        "reasoning_content"
    )
    tier: str | None = None
    """The tier of the answer where one was asked for and none was sent: Bedrock names it only where
    it was."""
    hide_reasoning: bool = False
    """The caller asked not to be shown the text of the reasoning."""
