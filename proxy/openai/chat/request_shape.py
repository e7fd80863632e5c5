"""A checked chat request as a value: what the translation reads, and nothing of JSON's accidents.

``None`` and empty values mean "not sent". Messages stay the JSON objects the client sent, their
skeleton checked; all else is a plain value. ``request.py`` makes these.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.frozen import frozen


@frozen
class ToolSpec:
    """One entry of ``tools`` (or of the deprecated ``functions``).

    ``kind`` builtin is any other type (web_search, mcp, …); ``name`` is then that type. ``source``
    is the entry as sent (its cache marks, a grammar). ``path`` is e.g. ``tools[3]``.
    """

    kind: Literal["function", "custom", "builtin"]
    name: str
    path: str
    description: str = ""
    parameters: Json = None
    strict: bool = False
    source: Mapping[str, Json] = field(default_factory=dict)


class Tools(tuple[ToolSpec, ...]):
    """The tools of a request, and what ``tool_specs`` made of them for the family asked last: an
    agent sends the same ones with every turn (``tool_memory``)."""

    made: tuple[Traits, Any] | None = None


@frozen
class ToolChoice:
    """``named``: just ``names[0]``; ``allowed``: any of ``names``, at least one if ``required``."""

    mode: Literal["auto", "required", "none", "named", "allowed"]
    names: tuple[str, ...] = ()
    required: bool = False


@frozen
class ResponseFormat:
    kind: Literal["text", "json_object", "json_schema"]
    name: str = "response"
    description: str = ""
    schema: Json = None
    strict: bool = False


@frozen
class ReasoningAsk:
    """What was asked of reasoning, in whichever of the de-facto forms.

    ``effort``: none, minimal, low, medium, high, xhigh, max, or ``None`` for "not said".
    ``budget`` in tokens (``reasoning.max_tokens``, ``thinking.budget_tokens``). ``thinking`` is the
    caller's own Anthropic-style object, which wins over both. ``exclude``: reason, but show
    nothing. ``path`` is the field it came from. ``rivals``: the fields of the effort and of the
    budget, where both were said (a mere switch says no effort); most families take only one.
    """

    effort: str | None = None
    budget: int | None = None
    thinking: Mapping[str, Json] | None = None
    exclude: bool = False
    path: str = "reasoning_effort"
    rivals: tuple[str, str] = ("", "")


@frozen
class ChatRequest:
    """A checked request. ``None`` and empty values mean "not sent"."""

    model: str
    messages: tuple[Mapping[str, Json], ...]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    max_tokens_field: str = "max_tokens"
    """The name under which it was sent."""
    outdone_max_tokens: int | None = None
    """Another value under the older name, sent beside the newer one, which counts."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    tools: tuple[ToolSpec, ...] = ()
    legacy_functions: bool = False
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat = field(default_factory=lambda: ResponseFormat("text"))
    reasoning: ReasoningAsk = field(default_factory=ReasoningAsk)
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    service_tier: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)
    user: str | None = None
    user_fields: tuple[str, ...] = ()
    """The names under which ids of a person were sent; the first one is ``user``."""
    cache_ttl: str | None = None
    """A request-wide cache wish (``prompt_cache_options``, ``_retention``, top-level
    ``cache_control``): ``5m`` or ``1h`` once normalised; ``None``: none."""
    auto_cache: bool | None = None
    """The request's own word on automatic cache points; ``None``: the operator's setting."""
    web_search: bool = False
    unsupported: tuple[str, ...] = ()
    """Known fields, sent with an effect, that are not applied (seed, logit_bias, …)."""
    native: Mapping[str, Json] = field(default_factory=dict)
    """Bedrock's own members from ``extra_body`` and headers, by Converse's names, the caller wins:
    additionalModelRequestFields, additionalModelResponseFieldPaths, guardrailConfig,
    performanceConfig, requestMetadata, promptVariables, serviceTier, outputConfig,
    projectIdentifier."""
    guard_tag: str = ""
    """``amazon-bedrock-guardrailConfig.tagSuffix``: text inside tags of this name is what a
    guardrail is to assess."""
    strict: bool | None = None
    """The request's own word on strict mode (header); ``None``: the operator's setting."""
