"""Tools of a chat request as a Converse ``toolConfig``, and what the answer must know of them.

Bedrock has no "none", wants ``toolConfig`` whenever the history holds tool blocks, and each family
takes another part of ``toolChoice``. So: tools that a history needs and the request does not offer
are rebuilt from the calls themselves and stay callable on the wire only, a call to one is withheld
(``offered``); a choice that the family cannot be told is put into words (``system_hint``).

The pieces: ``tool_specs`` (single tools), ``tool_names`` (names and ids, both ways),
``tool_schemas`` and ``closed_schemas`` (parameters), ``tool_arguments`` (earlier calls). Pure; the
order and bytes of the result depend on the request alone. Source: service model,
``ToolConfiguration``; OpenAI API reference, *tools* and *tool_choice*; Anthropic's tool use pages
for parallel calls.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Final, NamedTuple

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.errors import invalid, unsupported
from proxy.frozen import frozen
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest, ToolChoice, ToolSpec
from proxy.openai.chat.tool_arguments import arguments_to_input
from proxy.openai.chat.tool_names import ToolNames, client_id, safe_id
from proxy.openai.chat.tool_specs import (
    Entry,
    HistoryCall,
    Made,
    custom_names,
    distinct,
    grounding_entry,
    keep_with,
    kept_of,
    rebuilt_specs,
    tool_entries,
)

__all__ = [
    "ANSWER_IN_TEXT",
    "HistoryCall",
    "ToolNames",
    "ToolTranslation",
    "arguments_to_input",
    "client_id",
    "safe_id",
    "translate_tools",
    "with_answer_tool",
    "without_choice",
]

ANSWER_IN_TEXT: Final = "Do not call any tool now; answer in text."
_MUST_CALL: Final = "You must call at least one of the tools now; do not answer in text alone."
_MUST_CALL_ONE: Final = "You must call the tool {} now; do not answer in text alone."


@frozen
class ToolTranslation:
    """``config`` is ``toolConfig`` (``None``: leave it out), ``fields`` belong into
    ``additionalModelRequestFields``. ``custom`` holds the client's names, ``offered`` Bedrock's."""

    names: ToolNames
    config: dict[str, Json] | None = None
    custom: frozenset[str] = frozenset()
    offered: frozenset[str] | None = None
    """Tools whose calls may be passed on; ``None``: any."""
    one_call: bool = False
    fields: dict[str, Json] = field(default_factory=dict)
    system_hint: str | None = None
    """Text for the end of ``system``."""
    forced: bool = False
    """A required or named tool is in force on the wire (``toolChoice`` any or tool)."""
    flatten: bool = False
    """The family takes no tools at all: tool blocks of the history must become text."""


class _Choice(NamedTuple):
    """A tool choice, as far as the family supports it."""

    member: dict[str, Json] | None = None
    hint: str | None = None
    only: str | None = None
    """Bedrock's name of the one tool that must be left in the list."""


def translate_tools(
    request: ChatRequest, history: Sequence[HistoryCall], traits: Traits, notes: Notes
) -> ToolTranslation:
    """The request's tools for this family. ``history`` holds all earlier calls, in order.

    Raises ``ProxyError`` 400 for a choice of a tool that is not offered, for parameters that are no
    object schema, and for tools or a web search that the family cannot have.
    """
    if not (request.tools or history or request.tool_choice or request.web_search):
        return ToolTranslation(ToolNames((), traits))
    kept, before = kept_of(request.tools, traits), notes.said
    specs = distinct(request.tools, notes) if kept is None else kept.specs
    choice = request.tool_choice or ToolChoice("auto")
    own = [spec.name for spec in specs if spec.kind != "builtin"]
    legal = frozenset[str]() if kept is None else kept.legal
    names = ToolNames((*own, *(call.name for call in history)), traits, legal)
    if names.to_client:
        notes.tell("tools.name:renamed")
    _check_choice(choice, specs, request.legacy_functions)
    if kept is None:
        entries: Sequence[Entry] = tool_entries(specs, names, traits, notes)
        if notes.said == before:
            keep_with(request.tools, traits, Made(specs, entries, frozenset(own)))
    else:
        entries = kept.entries
    grounding = grounding_entry(request, traits, entries)
    offers = choice.mode != "none" and bool(entries or grounding)
    blank = ToolTranslation(
        names,
        custom=custom_names(specs),
        one_call=offers and request.parallel_tool_calls is False,
    )
    if offers:
        if not traits.tools:
            legacy = request.legacy_functions
            raise unsupported(
                "This model does not support tools.", "functions" if legacy else "tools"
            )
        return _offer(blank, entries, grounding, choice, history, traits, notes)
    if _demands(choice):
        raise unsupported("None of the tools can be used with this model.", "tools")
    return _withheld(blank, entries, grounding, history, traits, notes)


def without_choice(tools: ToolTranslation) -> ToolTranslation:
    """The same tools with the choice as a hint in the prompt (where thinking excludes forcing)."""
    if tools.config is None or "toolChoice" not in tools.config:
        return replace(tools, forced=False)
    config = {key: value for key, value in tools.config.items() if key != "toolChoice"}
    return replace(
        tools,
        config=config,
        forced=False,
        fields=_redialled(tools, None),
        system_hint=tools.system_hint or _MUST_CALL,
    )


def with_answer_tool(
    tools: ToolTranslation, spec: dict[str, Json], choice: dict[str, Json], *, alone: bool
) -> ToolTranslation:
    """The same tools and one more, whose input will be the answer; ``alone``: only that one.

    Where no other may be called (``offered`` is empty) a hint to answer in text would mislead.
    """
    name = spec["toolSpec"]["name"]
    before = [] if tools.config is None or alone else tools.config["tools"]
    if "any" in choice and tools.offered is not None:
        before = [one for one in before if _callable(one, tools.offered)]
    return replace(
        tools,
        config={"tools": [*before, spec], "toolChoice": choice},
        offered=None if tools.offered is None else tools.offered | {name},
        fields=_redialled(tools, choice),
        system_hint=tools.system_hint if tools.offered else None,
        forced=True,
    )


def _callable(tool: dict[str, Json], offered: frozenset[str]) -> bool:
    """Without specs that only the history needs: a forced call might choose one of them."""
    return "toolSpec" not in tool or tool["toolSpec"]["name"] in offered


def _demands(choice: ToolChoice) -> bool:
    return choice.mode in ("required", "named") or choice.required


def _check_choice(choice: ToolChoice, specs: Sequence[ToolSpec], legacy: bool) -> None:
    param = "function_call" if legacy else "tool_choice"
    known = {spec.name: spec for spec in specs}
    for name in choice.names:
        spec = known.get(name)
        if spec is None:
            raise invalid(f"The chosen tool {name!r} is not among the tools.", param)
        if choice.mode == "named" and spec.kind == "builtin":
            raise unsupported("A built-in tool cannot be required by name.", param)


def _withheld(
    blank: ToolTranslation,
    entries: Sequence[Entry],
    grounding: list[dict[str, Json]],
    history: Sequence[HistoryCall],
    traits: Traits,
    notes: Notes,
) -> ToolTranslation:
    """Nothing may be called: no tools, unless the history is invalid without them."""
    if history and not traits.tools:
        notes.add("messages.tool_calls:emulated", "messages", "This model takes no tool blocks.")
        return replace(blank, flatten=True)
    listed = list(grounding)
    if history:
        listed += [tool for _, group in entries if "toolSpec" in group[0] for tool in group]
        known = frozenset(name for name, _ in entries)
        listed += rebuilt_specs(history, known, blank.names, traits, notes)
    if not listed:
        return blank
    return replace(
        blank,
        config={"tools": listed},
        offered=frozenset(),
        system_hint=ANSWER_IN_TEXT if history else None,
    )


def _offer(
    blank: ToolTranslation,
    entries: Sequence[Entry],
    grounding: list[dict[str, Json]],
    choice: ToolChoice,
    history: Sequence[HistoryCall],
    traits: Traits,
    notes: Notes,
) -> ToolTranslation:
    names = blank.names
    used = {call.name for call in history}
    invited = frozenset(
        name for name, _ in entries if choice.mode != "allowed" or name in choice.names
    )
    if choice.mode == "allowed":
        # Shorter lists cost the cached prefix, but a tool that is not seen is not called.
        entries = [(name, group) for name, group in entries if name in invited | used]
    told = _choose(choice, invited, names, traits, notes)
    if told.only is not None:
        entries = [(name, group) for name, group in entries if names.to_bedrock(name) == told.only]
        invited = frozenset(name for name, _ in entries)
    elif told.member is not None:  # a forced call must not find a tool that it may not use
        entries = [(name, group) for name, group in entries if name in invited]
    listed = [tool for _, group in entries for tool in group] + grounding
    if not listed:
        return _withheld(blank, (), [], history, traits, notes)
    uninvited = (used | {name for name, _ in entries}) - invited
    config: dict[str, Json] = {"tools": listed}
    if told.member is not None:
        config["toolChoice"] = told.member
    dial = blank.one_call and traits.parallel_dial
    return replace(
        blank,
        config=config,
        offered=frozenset(map(names.to_bedrock, invited)) if uninvited else None,
        fields={"tool_choice": _dial(told.member)} if dial else {},
        system_hint=told.hint,
        forced=told.member is not None,
    )


def _choose(
    choice: ToolChoice, invited: frozenset[str], names: ToolNames, traits: Traits, notes: Notes
) -> _Choice:
    if not _demands(choice):
        return _Choice()
    if not invited:
        raise unsupported("None of the allowed tools can be used with this model.", "tool_choice")
    one = names.to_bedrock(next(iter(invited))) if len(invited) == 1 else None
    if choice.mode == "named":
        one = names.to_bedrock(choice.names[0])
    told = traits.tool_choices if traits.forced_tools else frozenset[str]()
    if choice.mode != "named" and "any" in told:
        return _Choice({"any": {}})
    if one is not None and "tool" in told:
        return _Choice({"tool": {"name": one}})
    if one is not None and "any" in told:
        return _Choice({"any": {}}, only=one)
    notes.add("tool_choice:emulated", "tool_choice", "This model cannot be forced to call a tool.")
    return _Choice(hint=_MUST_CALL_ONE.format(one) if one else _MUST_CALL)


def _dial(member: dict[str, Json] | None) -> dict[str, Json]:
    """Anthropic's switch; its ``type`` beside a ``toolChoice`` is refused (field reports, 2026)."""
    switch: dict[str, Json] = {"disable_parallel_tool_use": True}
    return {"type": "auto", **switch} if member is None else switch


def _redialled(tools: ToolTranslation, member: dict[str, Json] | None) -> dict[str, Json]:
    if "tool_choice" not in tools.fields:
        return tools.fields
    return {**tools.fields, "tool_choice": _dial(member)}
