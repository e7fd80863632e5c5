"""``response_format`` in the strongest form a family has.

Native first (``outputConfig.textFormat``: constrained decoding, streams as text, leaves the
caller's tools alone). Else one more tool whose input *is* the answer, and a choice
that makes the model call a tool: the response side hands its arguments out as content. Else words.
``json_object`` has no native form anywhere, so it is always words.

Source: service model, ``OutputConfig`` (the schema travels as a JSON string); Amazon Bedrock user
guide, *Structured outputs*; OpenAI API reference, *response_format*.
"""

from collections.abc import Mapping
from typing import Final, Literal

import orjson

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.errors import ProxyError, invalid
from proxy.frozen import frozen
from proxy.openai.chat.closed_schemas import closed_schema
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.reasoning import thinks_in_own_words
from proxy.openai.chat.request import ChatRequest, ResponseFormat
from proxy.openai.chat.tool_schemas import tool_schema
from proxy.openai.chat.tools import ToolTranslation, with_answer_tool

_SCHEMA: Final = "response_format.json_schema.schema"
_ONE_OBJECT: Final = "Answer with one JSON object and nothing else: no prose, no code fence."
_FITTING: Final = (
    "Answer with JSON that fits the following JSON Schema and nothing else: "
    "no prose, no code fence.\n"
)
_ANSWER: Final = "Give the final answer by calling this tool."


@frozen
class FormatTranslation:
    """``tools`` are the given ones, with the answer tool where there is one. ``output_config``
    belongs into ``outputConfig``; ``json_tool`` is Bedrock's name of the answer tool."""

    tools: ToolTranslation
    output_config: dict[str, Json] | None = None
    system_hint: str | None = None
    """Text for the end of ``system``."""
    json_tool: str | None = None
    json_mode: Literal["none", "native", "tool", "prompt"] = "none"


def apply_format(
    request: ChatRequest, traits: Traits, tools: ToolTranslation, notes: Notes
) -> FormatTranslation:
    """The wish for JSON, for this family and beside these tools.

    A caller's own ``outputConfig.textFormat`` (extra body) wins over ``response_format``. Raises
    ``ProxyError`` 400 where a schema is missing, or in strict mode where it is only words: they are
    left where the caller's own thinking forbids to force a tool.
    """
    own = request.native.get("outputConfig")
    if isinstance(own, Mapping) and "textFormat" in own:
        return FormatTranslation(tools, json_mode="native")
    wish = request.response_format
    if wish.kind == "text":
        return FormatTranslation(tools)
    if wish.kind == "json_object":
        notes.tell("response_format:emulated")
        return FormatTranslation(tools, system_hint=_ONE_OBJECT, json_mode="prompt")
    if not isinstance(wish.schema, Mapping):
        raise invalid("A JSON schema is missing.", _SCHEMA, "missing_required_parameter")
    return (
        _native(wish, traits, tools, notes)
        or (None if thinks_in_own_words(request) else _by_tool(wish, traits, tools, notes))
        or _in_words(wish, tools, notes)
    )


def _native(
    wish: ResponseFormat, traits: Traits, tools: ToolTranslation, notes: Notes
) -> FormatTranslation | None:
    if not traits.native_schema:
        return None
    closed = closed_schema(wish.schema)
    if closed is None:
        return None
    schema, spoken = closed
    if spoken:
        notes.add(
            "response_format.schema:moved",
            _SCHEMA,
            "Bounds are described to the model, not enforced.",
        )
    definition: dict[str, Json] = {"schema": orjson.dumps(schema).decode(), "name": wish.name}
    if wish.description.strip():
        definition["description"] = wish.description
    text_format = {"type": "json_schema", "structure": {"jsonSchema": definition}}
    return FormatTranslation(tools, {"textFormat": text_format}, json_mode="native")


def _by_tool(
    wish: ResponseFormat, traits: Traits, tools: ToolTranslation, notes: Notes
) -> FormatTranslation | None:
    """The answer tool, unless a call to another tool is in force or nothing can be demanded."""
    asked = tools.forced or (tools.system_hint is not None and tools.offered != frozenset())
    if asked or not traits.tools or not traits.forced_tools:
        return None
    own_tools = tools.config is not None and tools.offered != frozenset()
    choices = traits.tool_choices & ({"any"} if own_tools else {"any", "tool"})
    if not choices:
        return None
    try:
        schema = tool_schema(wish.schema, traits, _SCHEMA, notes)
    except ProxyError as fault:
        if fault.code == "unsupported_value":  # strict mode
            raise
        return None  # no object on top, or one this family cannot read: words are left
    name = tools.names.fresh(wish.name)
    spec: dict[str, Json] = {
        "toolSpec": {
            "name": name,
            "description": f"{wish.description.strip()} {_ANSWER}".strip(),
            "inputSchema": {"json": schema},
        }
    }
    choice: dict[str, Json] = {"tool": {"name": name}} if "tool" in choices else {"any": {}}
    notes.tell("response_format:emulated")
    return FormatTranslation(
        with_answer_tool(tools, spec, choice, alone=not own_tools and "any" in choice),
        json_tool=name,
        json_mode="tool",
    )


def _in_words(wish: ResponseFormat, tools: ToolTranslation, notes: Notes) -> FormatTranslation:
    notes.add(
        "response_format:emulated",
        "response_format",
        "The schema is given to the model as text and not enforced.",
    )
    hint = _FITTING + orjson.dumps(wish.schema).decode()
    return FormatTranslation(tools, system_hint=hint, json_mode="prompt")
