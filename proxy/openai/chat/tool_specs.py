"""Single tools as entries of Converse's ``toolConfig.tools``.

A function becomes a ``toolSpec`` (description, cleaned parameters, ``strict`` where the family
compiles it), a free-text tool a ``toolSpec`` with one string argument, a built-in tool the family's
own server tool if it has one. Tools known only from earlier calls are rebuilt from the arguments
seen there. Each is followed by its cache point, if its mark asks for one.
Source: service model, ``Tool`` and ``ToolSpecification``; OpenAI API reference, *tools*.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.errors import unsupported
from proxy.openai.chat.caching import cache_mark
from proxy.openai.chat.closed_schemas import closed_schema
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest, Tools, ToolSpec
from proxy.openai.chat.tool_arguments import WRAPPED
from proxy.openai.chat.tool_names import ToolNames
from proxy.openai.chat.tool_schemas import shape_of, tool_schema

MAX_STRICT: Final = 20
"""More strict tools than this are a 400 at the service."""

_USED_EARLIER: Final = "A tool used earlier in this conversation."

_SERVER_TOOLS: Final = (
    ("web_search", "nova_grounding"),
    ("browser_search", "nova_grounding"),
    ("code_interpreter", "nova_code_interpreter"),
    ("code_execution", "nova_code_interpreter"),
)
"""(beginning of a built-in tool's type, the Bedrock system tool that does its work)."""

Entry = tuple[str, list[dict[str, Json]]]
"""The client's name of a tool, and its place in the list: the tool, perhaps its cache point."""


class HistoryCall(NamedTuple):
    """A tool call of the conversation so far: the client's name for the tool, and its input."""

    name: str
    input: dict[str, Json]


def distinct(tools: Sequence[ToolSpec], notes: Notes) -> list[ToolSpec]:
    """Tools by name, the last of a name in the first one's place."""
    found: dict[tuple[bool, str], ToolSpec] = {}
    for spec in tools:
        key = (spec.kind == "builtin", spec.name)
        known = found.get(key)
        if known is not None and known.source != spec.source:
            notes.add("tools:merged", spec.path, "Two tools have the same name.")
        found[key] = spec
    return list(found.values())


def custom_names(specs: Sequence[ToolSpec]) -> frozenset[str]:
    return frozenset(spec.name for spec in specs if spec.kind == "custom")


class Made(NamedTuple):
    """What became of a request's tools for a family. It must not be written to."""

    specs: Sequence[ToolSpec]
    entries: Sequence[Entry]
    legal: frozenset[str]
    """Names that need no change."""


def kept_of(tools: tuple[ToolSpec, ...], traits: Traits) -> Made | None:
    """What was kept with ``tools``, if it was for this family."""
    if not isinstance(tools, Tools) or tools.made is None:
        return None
    family, made = tools.made
    return cast(Made, made) if family is traits or family == traits else None


def keep_with(tools: tuple[ToolSpec, ...], traits: Traits, made: Made) -> None:
    """Keep what nothing but the tools and the family decided; whoever calls has seen that no name
    was changed and nothing noted."""
    if isinstance(tools, Tools) and all(len(group) == 1 for _, group in made.entries):
        tools.made = (traits, made)


def tool_entries(
    specs: Sequence[ToolSpec], names: ToolNames, traits: Traits, notes: Notes
) -> list[Entry]:
    entries: list[Entry] = []
    strict = 0
    for spec in specs:
        if spec.kind == "builtin":
            tool = _system_tool(spec, traits, notes)
        elif spec.kind == "custom":
            tool = {"toolSpec": _custom_spec(spec, names, notes)}
        else:
            inner = _function_spec(spec, names, traits, notes, strict < MAX_STRICT)
            strict += "strict" in inner
            tool = {"toolSpec": inner}
        if tool is None:
            continue
        mark = _mark(spec)
        entries.append((spec.name, [tool] if mark is None else [tool, mark]))
    return entries


def _function_spec(
    spec: ToolSpec, names: ToolNames, traits: Traits, notes: Notes, room: bool
) -> dict[str, Json]:
    nested = f"{spec.path}.function" if "function" in spec.source else spec.path
    path = f"{nested}.parameters"
    schema = tool_schema(spec.parameters, traits, path, notes)
    strict = None
    if spec.strict:
        strict = closed_schema(schema) if traits.strict_tools and room else None
        if strict is None:
            notes.add(
                "tools.strict:dropped",
                f"{nested}.strict",
                "This model does not support strict for this tool.",
            )
        elif strict[1]:
            notes.add(
                "tools.parameters:moved",
                path,
                "Strict schemas accept no bounds; they were moved into descriptions.",
            )
    inner = _head(names.to_bedrock(spec.name), spec.description, traits)
    inner["inputSchema"] = {"json": schema if strict is None else strict[0]}
    if strict is not None:
        inner["strict"] = True
    return inner


def _head(name: str, description: str, traits: Traits) -> dict[str, Json]:
    if description and not description.isspace():
        return {"name": name, "description": description}
    return {"name": name, "description": name} if traits.tool_description else {"name": name}


def _custom_spec(spec: ToolSpec, names: ToolNames, notes: Notes) -> dict[str, Json]:
    """A free-text tool: one string argument; a grammar can only be shown to the model."""
    inner = spec.source.get("custom")
    form = (inner if isinstance(inner, Mapping) else spec.source).get("format")
    lines = [spec.description] if spec.description.strip() else []
    if isinstance(form, Mapping) and form.get("type") == "grammar":
        notes.add(
            "tools.format:emulated", f"{spec.path}.custom.format", "A grammar cannot be enforced."
        )
        grammar = form.get("grammar")
        grammar = grammar if isinstance(grammar, Mapping) else form
        lines.append(
            f"The input must follow this {grammar.get('syntax', '')} grammar:\n"
            f"{grammar.get('definition', '')}"
        )
    return {
        "name": names.to_bedrock(spec.name),
        "description": "\n\n".join(lines) or f"{spec.name}: takes free text.",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {WRAPPED: {"type": "string"}},
                "required": [WRAPPED],
            }
        },
    }


def _system_tool(spec: ToolSpec, traits: Traits, notes: Notes) -> dict[str, Json] | None:
    own = spec.source.get("name")
    wanted = [spec.name, own] if isinstance(own, str) else [spec.name]
    wanted += [ours for theirs, ours in _SERVER_TOOLS if spec.name.startswith(theirs)]
    for name in wanted:
        if name in traits.system_tools:
            return {"systemTool": {"name": name}}
    notes.add("tools:dropped", f"{spec.path}.type", "This model has no such built-in tool.")
    return None


def grounding_entry(
    request: ChatRequest, traits: Traits, entries: Sequence[Entry]
) -> list[dict[str, Json]]:
    if not request.web_search:
        return []
    if "nova_grounding" not in traits.system_tools:
        raise unsupported("This model has no web search.", "web_search_options")
    tool = {"systemTool": {"name": "nova_grounding"}}
    return [] if any(tool in group for _, group in entries) else [tool]


def _mark(spec: ToolSpec) -> dict[str, Json] | None:
    mark = cache_mark(spec.source, spec.path)
    inner = spec.source.get(spec.kind)
    if mark is None and isinstance(inner, Mapping):
        mark = cache_mark(inner, f"{spec.path}.{spec.kind}")
    return mark


def rebuilt_specs(
    history: Sequence[HistoryCall], known: frozenset[str], names: ToolNames, traits: Traits,
    notes: Notes,
) -> list[dict[str, Json]]:  # fmt: skip
    """Specs of tools that were called but not offered, with the argument shapes seen."""
    inputs: dict[str, list[Json]] = {}
    for call in history:
        if call.name not in known:
            inputs.setdefault(call.name, []).append(call.input)
    if inputs:
        notes.tell("tools:added")
    return [
        {
            "toolSpec": {
                "name": names.to_bedrock(name),
                "description": _USED_EARLIER,
                "inputSchema": {"json": tool_schema(shape_of(seen), traits, "messages", notes)},
            }
        }
        for name, seen in inputs.items()
    ]
