"""A checked chat request and a model, as the Converse call that means the same.

Order matters and stands in ``translate``: tools first (the history's calls decide their specs),
then the answer's format (which may add a tool), then reasoning (which bends to both), then the
turns, the caller's own Bedrock members over all of it, the operator's over those, and at last the
cache points, which must see the whole body. What was dropped, clamped, renamed or emulated is in
the notes. Facts of a family come from its traits only. Source: *Converse*, *ConverseStream* (Amazon
Bedrock API reference).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from proxy.catalog.model import Model, Traits
from proxy.converse.types import ConverseRequest, Json, Message, Operation
from proxy.dialect import Options, Translation
from proxy.errors import invalid
from proxy.frozen import frozen
from proxy.openai.chat.caching import legalise
from proxy.openai.chat.inference import Inference, translate_inference
from proxy.openai.chat.media_parts import Intake
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.plan import Plan
from proxy.openai.chat.reasoning import ReasoningTranslation, apply_reasoning
from proxy.openai.chat.request_shape import ChatRequest
from proxy.openai.chat.shown_thoughts import with_thoughts_apart
from proxy.openai.chat.sidecar import note_unsupported, request_metadata, service_tier
from proxy.openai.chat.structured import FormatTranslation, apply_format
from proxy.openai.chat.tools import (
    ToolTranslation,
    translate_tools,
    without_choice,
)
from proxy.openai.chat.turns import Frame, Turns, build_turns, read_history

ASK_AGAIN: Final = "No tool can be called now. Reply to the user in plain text only."
"""Said when a call had to be withheld and nothing else came."""
_BETA: Final = "anthropic_beta"
_OPERATOR_ONLY: Final = "amazon-bedrock-"
"""Native keys of this prefix configure Bedrock itself (guardrails, tracing), not the model."""


@frozen
class _Pieces:
    """What the concerns have decided, before it becomes one body."""

    tools: ToolTranslation
    form: FormatTranslation
    reasoning: ReasoningTranslation
    inference: Inference
    turns: Turns


def translate(request: ChatRequest, model: Model, options: Options) -> Translation:
    """The Converse call, the plan for reading its answer, and the notes.

    Raises ``ProxyError`` 400 for what cannot be mapped, and in strict mode for every loss.
    """
    if request.n > options.max_choices:
        raise invalid(f"At most {options.max_choices} choices can be requested.", "n")
    traits = model.traits
    if traits.embeds != "none":
        raise invalid(
            f"{model.name!r} is an embedding model: POST /v1/embeddings.",
            "model",
            "unsupported_model",
        )
    if options.reasoning_as == "tags":
        request = replace(request, messages=tuple(map(with_thoughts_apart, request.messages)))
    notes = Notes(options.strict if request.strict is None else request.strict)
    note_unsupported(request, options, notes)
    pieces = _translate_pieces(request, traits, options, notes)
    body = _assemble(request, options, pieces, notes)
    legalise(
        body,
        traits,
        ttl=request.cache_ttl,
        automatic=options.auto_cache if request.auto_cache is None else request.auto_cache,
        anchors=tuple(pieces.turns.anchors[-2:]),
        notes=notes,
    )
    plan = _plan(request, options, traits, pieces, body)
    return Translation(
        body=body,
        operation=_operation(body, traits),
        plan=plan,
        notes=notes.tokens(),
        choices=request.n,
        again=None if plan.offered is None or pieces.tools.forced else _ask_again(body, traits),
    )


def _translate_pieces(
    request: ChatRequest, traits: Traits, options: Options, notes: Notes
) -> _Pieces:
    history = read_history(request.messages, traits, notes)
    form = apply_format(
        request, traits, translate_tools(request, history.all(), traits, notes), notes
    )
    tools = form.tools
    inference = translate_inference(request, traits, notes)
    reasoning = apply_reasoning(
        request, traits, inference.max_tokens, tools.forced, form.json_tool is not None, notes
    )
    if reasoning.drop_forced_choice:
        tools = without_choice(tools)
    # Anthropic: JSON outputs exclude prefill; whoever sends both (LangGraph) wants a new answer.
    with_schema = request.response_format.kind == "json_schema" or form.json_mode == "native"
    guarded = options.guardrail is None
    intake = Intake(traits, notes, guard=guarded, guard_tag=request.guard_tag)
    frame = Frame(
        names=tools.names,
        flat=tools.flatten,
        prefill=not (reasoning.on or with_schema),
        hints=[hint for hint in (tools.system_hint, form.system_hint) if hint],
    )
    turns = build_turns(request.messages, history, frame, intake)
    return _Pieces(tools, form, reasoning, inference, turns)


def _assemble(
    request: ChatRequest, options: Options, pieces: _Pieces, notes: Notes
) -> ConverseRequest:
    body: ConverseRequest = {}
    if pieces.turns.system:
        body["system"] = list(pieces.turns.system)
    body["messages"] = pieces.turns.messages
    config = pieces.inference.config(pieces.reasoning)
    if config:
        body["inferenceConfig"] = config
    if pieces.tools.config is not None:
        body["toolConfig"] = pieces.tools.config
    fields = pieces.inference.fields(pieces.reasoning)
    native = _native_fields(request, options, notes)
    for more in filter(None, (pieces.tools.fields, pieces.reasoning.fields, native)):
        fields = _merged(fields, more)
    if fields:
        body["additionalModelRequestFields"] = fields
    output = {**(pieces.form.output_config or {}), **(pieces.reasoning.output_config or {})}
    if output:
        body["outputConfig"] = output
    tier = service_tier(request, options, notes)
    if tier is not None:
        body["serviceTier"] = tier
    metadata = request_metadata(request, options, notes)
    if metadata:
        body["requestMetadata"] = metadata
    _add_native(body, request)
    guardrail = _guardrail(request, options, notes)
    if guardrail is not None:
        body["guardrailConfig"] = guardrail
    return body


def _add_native(body: ConverseRequest, request: ChatRequest) -> None:
    """The caller's own members win over ours."""
    native = request.native
    if not native:
        return
    if "outputConfig" in native:
        body["outputConfig"] = {**body.get("outputConfig", {}), **native["outputConfig"]}
    if "performanceConfig" in native:
        body["performanceConfig"] = native["performanceConfig"]
    if "projectIdentifier" in native:
        body["projectIdentifier"] = native["projectIdentifier"]
    if "promptVariables" in native:
        body["promptVariables"] = native["promptVariables"]
    if "additionalModelResponseFieldPaths" in native:
        body["additionalModelResponseFieldPaths"] = native["additionalModelResponseFieldPaths"]


def _native_fields(request: ChatRequest, options: Options, notes: Notes) -> Mapping[str, Json]:
    fields: Mapping[str, Json] = request.native.get("additionalModelRequestFields", {})
    if options.guardrail is None and options.service_tier is None:
        return fields
    kept = {key: value for key, value in fields.items() if not key.startswith(_OPERATOR_ONLY)}
    if len(kept) != len(fields):
        param = "additionalModelRequestFields"
        notes.add(f"{param}:dropped", param, "Bedrock-specific fields are set by the operator.")
    return kept


def _guardrail(request: ChatRequest, options: Options, notes: Notes) -> dict[str, Json] | None:
    """The operator's stands as it is: also the caller's trace (it shows what was masked) and
    streaming mode would weaken it."""
    asked: dict[str, Json] | None = request.native.get("guardrailConfig")
    if options.guardrail is None:
        return asked
    if asked is not None:
        _note_guardrail(notes, "guardrailConfig")
    return dict(options.guardrail)


def _note_guardrail(notes: Notes, param: str) -> None:
    notes.add("guardrailConfig:dropped", param, "The operator's guardrail applies.")


def _merged(under: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    """Objects member by member, everything else replaced. Depth is bounded at the border.

    Beta flags add up: each permits a member that stands elsewhere.
    """
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merged(below, value)
        elif key == _BETA and isinstance(below, list) and isinstance(value, list):
            merged[key] = [*value, *(flag for flag in below if flag not in value)]
        else:
            merged[key] = value
    return merged


def _operation(body: ConverseRequest, traits: Traits) -> Operation:
    streams = traits.stream and (traits.stream_tools or "toolConfig" not in body)
    return "converse-stream" if streams else "converse"


def _plan(
    request: ChatRequest,
    options: Options,
    traits: Traits,
    pieces: _Pieces,
    body: ConverseRequest,
) -> Plan:
    trace = body.get("guardrailConfig", {}).get("trace", "disabled")
    always = options.stream_usage == "always"
    # Tags that the model writes itself may stay, where tags are asked for.
    tagged = options.reasoning_as == "tags" and not request.reasoning.exclude
    return Plan(
        stream=request.stream,
        include_usage=request.include_usage,
        usage_on_finish=request.stream and always and not request.include_usage,
        tool_names=pieces.tools.names.to_client,
        custom_tools=pieces.tools.custom,
        legacy_functions=request.legacy_functions,
        offered=pieces.tools.offered,
        one_call=pieces.tools.one_call,
        json_tool=pieces.form.json_tool,
        json_mode=pieces.form.json_mode,
        stop=pieces.inference.cut_at,
        show_trace=options.guardrail is None and trace != "disabled",
        inline_tags=() if tagged else traits.inline_tags,
        reasoning_as=cast("Any", options.reasoning_as),
        family=traits.family,
        show_extras="additionalModelResponseFieldPaths" in request.native,
        tier="default" if request.service_tier and "serviceTier" not in body else None,
        hide_reasoning=request.reasoning.exclude,
    )


def _ask_again(body: ConverseRequest, traits: Traits) -> ConverseRequest:
    """The same call with a word at the end of the system prompt."""
    note = {"text": ASK_AGAIN}
    again: ConverseRequest = {**body}
    if traits.system:
        again["system"] = [*body.get("system", ()), note]
    else:
        first: Message = {**body["messages"][0]}
        first["content"] = [note, *first["content"]]
        again["messages"] = [first, *body["messages"][1:]]
    return again
