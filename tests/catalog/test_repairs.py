"""Refusals and what they teach: every wording of the table, and what must never be touched."""

from dataclasses import fields
from typing import Any

import pytest

from proxy.catalog import repairs
from proxy.catalog.families import traits_for
from proxy.catalog.model import Traits
from proxy.catalog.repairs import (
    MAY_CHANGE,
    find_repair,
    for_the_request,
    keeps_what_matters,
    with_changes,
)

MODEL_SAYS = "The model returned the following errors: "
SERVICE = "This model doesn't support the {0} field. Remove {0} and try again."
ALL_DIALS = Traits(
    reasoning="adaptive",
    strict_tools=True,
    native_schema=True,
    parallel_dial=True,
    interleaved_beta=True,
    effort_field=True,
    penalties=True,
    budget_too=True,
    leading_assistant=True,
    mid_system=True,
    cache_hour=True,
    cache_places=frozenset({"tools", "system", "messages"}),
    sampling=frozenset({"temperature", "top_p", "top_k"}),
    signed_reasoning=True,
)
PLACES = ALL_DIALS.cache_places
SAMPLING = ALL_DIALS.sampling

# Wordings: the service's and the models' own, recorded or reported; (name, message, changes).
TAUGHT: list[tuple[str, str, dict[str, Any]]] = [
    ("stream_tools", "This model doesn't support tool use in streaming mode.",
     {"stream_tools": False}),
    ("stream", "This model doesn't support the ConverseStream operation.", {"stream": False}),
    ("system", "This model doesn't support system messages. Try again without a system message or "
               "use a model that supports system messages.", {"system": False}),
    ("mid_system", "This model doesn't support the system role in messages. Use the system field "
                   "and try again.", {"mid_system": False}),
    ("leading_assistant", "A conversation must start with a user message. Try again with a "
                          "conversation that starts with a user message.",
     {"leading_assistant": False}),
    ("prefill", MODEL_SAYS + "This model does not support assistant message prefill. The "
                "conversation must end with a user message.", {"prefill": False}),
    ("prefill", MODEL_SAYS + "Expected last role User or Tool (or Assistant with prefix True) for "
                "serving but got assistant", {"prefill": False}),
    ("results_alone", "messages.2.content: Conversation blocks and tool result blocks cannot be "
                      "provided in the same turn.", {"results_alone": True}),
    ("results_alone", "messages.1.content: Conversation blocks and tool use blocks cannot be "
                      "provided in the same turn.", {"results_alone": True}),
    ("replays", SERVICE.format("reasoningContent"), {"replays": False}),
    ("replays", "User messages cannot contain reasoning content. Remove it and try again.",
     {"replays": False}),
    ("stop", SERVICE.format("stopSequences"), {"stop": False}),
    ("blank_stop", MODEL_SAYS + "stop_sequences: each stop sequence must contain non-whitespace",
     {"blank_stop": False}),
    ("one_sampler", MODEL_SAYS + "`temperature` and `top_p` cannot both be specified for this "
                    "model. Please use only one.", {"one_sampler": True}),
    ("sampling", MODEL_SAYS + "`temperature` is deprecated for this model.",
     {"sampling": SAMPLING - {"temperature"}}),
    ("sampling", MODEL_SAYS + "Unsupported parameter: 'temperature' is not supported with this "
                 "model.", {"sampling": SAMPLING - {"temperature"}}),
    ("sampling", MODEL_SAYS + "`top_p` is deprecated for this model.",
     {"sampling": SAMPLING - {"top_p"}}),
    ("sampling", SERVICE.format("inferenceConfig.topP"), {"sampling": SAMPLING - {"top_p"}}),
    ("sampling", MODEL_SAYS + "Malformed input request: #: extraneous key [top_k] is not "
                 "permitted, please reformat your input and try again.",
     {"sampling": SAMPLING - {"top_k"}}),
    ("sampling", MODEL_SAYS + "top_k: Extra inputs are not permitted",
     {"sampling": SAMPLING - {"top_k"}}),
    ("penalties", MODEL_SAYS + "Malformed input request: #: extraneous key [presence_penalty] is "
                  "not permitted", {"penalties": False}),
    ("max_tokens", "The maximum tokens you requested exceeds the model limit of 8192. Try again "
                   "with a maximum tokens value that is lower than 8192.",
     {"max_output_tokens": 8192, "clamp_output": True}),
    ("max_tokens", MODEL_SAYS + "max_tokens: 200000 > 64000, which is the maximum allowed number "
                   "of output tokens", {"max_output_tokens": 64000, "clamp_output": True}),
    ("min_tokens", MODEL_SAYS + "Invalid 'max_output_tokens': integer below minimum value. "
                   "Expected a value >= 16, but got 5 instead.", {"min_max_tokens": 16}),
    ("cache_control", SERVICE.format("cachePoint.ttl"), {"cache_hour": False}),
    ("cache_control", MODEL_SAYS + "Malformed input request: #/tools: extraneous key [cachePoint] "
                      "is not permitted, please reformat your input and try again.",
     {"cache_places": PLACES - {"tools"}}),
    ("cache_control", MODEL_SAYS + "Malformed input request: #/messages/0/content/1: extraneous "
                      "key [cachePoint] is not permitted",
     {"cache_places": PLACES - {"messages"}}),
    ("cache_control", SERVICE.format("cachePoint"), {"cache_places": frozenset()}),
    ("tools.strict", MODEL_SAYS + "tools.0.custom.strict: Extra inputs are not permitted",
     {"strict_tools": False}),
    ("tool_choice", SERVICE.format("toolConfig.toolChoice.any"),
     {"tool_choices": frozenset({"auto", "tool"})}),
    ("tool_choice", SERVICE.format("toolChoice"), {"tool_choices": frozenset()}),
    ("tool_choice", MODEL_SAYS + "Thinking may not be enabled when tool_choice forces tool use.",
     {"forced_tools": False}),
    ("parallel_tool_calls", MODEL_SAYS + "tool_choice.disable_parallel_tool_use: Extra inputs are "
                            "not permitted", {"parallel_dial": False}),
    ("tool_results.status", SERVICE.format("toolResult.status"), {"result_status": False}),
    ("tools.parameters", MODEL_SAYS + "Malformed input request: #/tools/0: $ref is not supported",
     {"schema_refs": False}),
    ("tools.parameters", MODEL_SAYS + "tools.0.custom.input_schema: regex look-around is not "
                         "supported in pattern", {"schema_lookaround": False}),
    ("response_format", MODEL_SAYS + "output_config.format: Extra inputs are not permitted",
     {"native_schema": False}),
    ("response_format", SERVICE.format("outputConfig.textFormat"), {"native_schema": False}),
    ("reasoning", MODEL_SAYS + '"thinking.type.enabled" is not supported for this model. Use '
                  '"thinking.type.adaptive" and "output_config.effort" to control thinking.',
     {"budget_too": False}),
    ("reasoning", MODEL_SAYS + '"thinking.type.disabled" is not supported for this model.',
     {"reasoning": "always"}),
    ("reasoning", MODEL_SAYS + "thinking: Input tag 'adaptive' found using 'type' does not match "
                  "any of the expected tags: 'disabled', 'enabled'", {"reasoning": "budget"}),
    ("reasoning", MODEL_SAYS + "thinking: Extra inputs are not permitted", {"reasoning": "none"}),
    ("reasoning", MODEL_SAYS + "Malformed input request: #: extraneous key [reasoning_effort] is "
                  "not permitted", {"reasoning": "none"}),
    ("reasoning", MODEL_SAYS + "output_config.effort: Input should be 'low', 'medium', 'max'",
     {"efforts": frozenset({"low", "medium", "max"})}),
    ("reasoning", MODEL_SAYS + "output_config: Extra inputs are not permitted",
     {"effort_field": False}),
    ("anthropic_beta", MODEL_SAYS + "invalid beta flag", {"interleaved_beta": False}),
    ("reasoning_replay", MODEL_SAYS + "messages.1.content.0: Invalid `signature` in `thinking` "
                         "block", {"replays": False}),
    ("reasoning_replay", MODEL_SAYS + "messages.1.content.0: Invalid `data` in "
                         "`redacted_thinking` block", {"replays": False}),
    ("reasoning_replay", MODEL_SAYS + "messages.1.content.0.type: Expected `thinking` or "
                         "`redacted_thinking`, but found `tool_use`.", {"replays": False}),
    ("reasoning_replay", MODEL_SAYS + "messages.3.content.0: `thinking` or `redacted_thinking` "
                         "blocks in the latest assistant message cannot be modified.",
     {"replays": False}),
    ("reasoning_replay", MODEL_SAYS + "messages.1.content.0.thinking.signature: Field required",
     {"replays": False}),
    ("cache_control", "Cache point cannot be inserted after reasoning block. Please remove the "
                      "invalid cache point and try again.", {"cache_places": frozenset()}),
    ("response_format", MODEL_SAYS + "output_config.format.schema: Schema is too complex",
     {"native_schema": False}),
    ("schemas", MODEL_SAYS + "The compiled grammar is too large, which would cause performance "
                "issues. Simplify your tool schemas or reduce the number of strict tools.",
     {"native_schema": False, "strict_tools": False}),
    ("schemas", MODEL_SAYS + "Schemas contains too many optional parameters (28), which would make "
                "grammar compilation inefficient. Reduce the number of optional parameters in your "
                "tool schemas (limit: 24).", {"native_schema": False, "strict_tools": False}),
    ("schemas", MODEL_SAYS + "Schemas contains too many parameters with union types (24 parameters "
                "with type arrays or anyOf). (limit: 16 parameters with unions).",
     {"native_schema": False, "strict_tools": False}),
    ("schemas", MODEL_SAYS + "Schema is too complex for compilation. Try reducing the number of "
                "tools or simplifying tool schemas.",
     {"native_schema": False, "strict_tools": False}),
]  # fmt: skip

NOTHING_TAUGHT = [
    "The provided model identifier is invalid.",
    MODEL_SAYS + "prompt is too long: 210000 tokens > 200000 maximum",
    "Input is too long for requested model.",
    "This model doesn't support the image content block that you provided. Update the content "
    "block and try again.",
    "This model doesn't support tool use.",
    "This model doesn't support the document content block that you provided.",
    SERVICE.format("guardrailConfig"),
    "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    "1 validation error detected: Value 'This model doesn't support system messages' at 'x' failed "
    "to satisfy constraint",
    "The cachePoint block at messages.0.content.0 has nothing before it to cache.",
    "Could not process image",
]


@pytest.mark.parametrize(
    ("name", "message", "changes"),
    TAUGHT,
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value[:40],
)
def test_what_a_refusal_teaches(name: str, message: str, changes: dict[str, Any]) -> None:
    repair = find_repair(400, message, ALL_DIALS)
    assert repair is not None
    assert (repair.name, dict(repair.changes)) == (name, changes)
    learned = with_changes(ALL_DIALS, repair.changes)
    assert find_repair(400, message, learned) is None


def test_each_row_of_the_table_is_shown() -> None:
    shown = set()
    for _, message, _ in TAUGHT:
        for at, row in enumerate(repairs._ROWS):
            if row.wording.search(message):
                shown.add(at)
                break
    missing = [row.wording.pattern for at, row in enumerate(repairs._ROWS) if at not in shown]
    assert not missing


@pytest.mark.parametrize("message", NOTHING_TAUGHT, ids=lambda message: message[:40])
def test_what_teaches_nothing(message: str) -> None:
    assert find_repair(400, message, ALL_DIALS) is None


def test_the_one_capability_that_is_refused_with_403() -> None:
    message = (
        "You invoked an unsupported model or your request did not allow prompt caching. See the "
        "documentation for more information."
    )
    repair = find_repair(403, message, ALL_DIALS)
    assert repair is not None
    assert repair.changes == {"cache_places": frozenset()}
    assert find_repair(403, "This model doesn't support system messages.", ALL_DIALS) is None
    assert find_repair(500, message, ALL_DIALS) is None


def test_what_is_of_one_request_only() -> None:
    passing = {row.name for row in repairs._ROWS if not row.lasting}
    assert passing == {"reasoning_replay", "cache_control", "response_format", "schemas"}


@pytest.mark.parametrize("dial", ["thinking", "reasoning_config"])
def test_a_forced_tool_beside_thinking_that_was_asked_for_is_of_one_request(dial: str) -> None:
    forced = MODEL_SAYS + "Thinking may not be enabled when tool_choice forces tool use."
    repair = find_repair(400, forced, ALL_DIALS)
    assert repair is not None
    thinking = body(additionalModelRequestFields={dial: {"type": "enabled"}})
    assert not for_the_request(repair, thinking).lasting
    assert for_the_request(repair, body()).lasting  # then the model thinks unasked
    other = find_repair(400, SERVICE.format("stopSequences"), ALL_DIALS)
    assert other is not None
    assert for_the_request(other, thinking).lasting


def test_a_refusal_of_what_is_known_already_teaches_nothing() -> None:
    plain = Traits(stop=False)
    assert find_repair(400, SERVICE.format("stopSequences"), plain) is None


def test_budget_models_learn_to_adapt() -> None:
    claude = traits_for("anthropic.claude-sonnet-4-5-20250929-v1:0")
    repair = find_repair(400, TAUGHT_BUDGET, claude)
    assert repair is not None
    assert with_changes(claude, repair.changes).reasoning == "adaptive"


TAUGHT_BUDGET = next(message for _, message, _ in TAUGHT if "thinking.type.enabled" in message)

# What no repair may ever take: the trait stands for a tool, an image, a document, a guardrail.
NEVER = {
    "tools", "images", "documents", "video", "audio", "s3_media", "result_media", "system_tools",
    "family", "tool_description", "inline_tags", "signed_reasoning",
}  # fmt: skip


def test_the_written_list_holds() -> None:
    assert {field.name for field in fields(Traits)} >= MAY_CHANGE
    assert not MAY_CHANGE & NEVER
    for _, message, _ in TAUGHT:
        repair = find_repair(400, message, ALL_DIALS)
        assert repair is not None
        assert repair.changes.keys() <= MAY_CHANGE
    for trait in NEVER:
        with pytest.raises(KeyError):
            with_changes(Traits(), {trait: False})


TEXT = {"text": "Hi"}
IMAGE = {"image": {"format": "png", "source": {"bytes": "AA=="}}}
DOCUMENT = {"document": {"format": "txt", "name": "a", "source": {"text": "x"}}}
TOOL = {"toolSpec": {"name": "look", "inputSchema": {"json": {}}}}
FORMAT: Any = {"textFormat": {"type": "json_schema", "structure": {}}}


def body(*blocks: Any, **members: Any) -> Any:
    return {"messages": [{"role": "user", "content": list(blocks) or [TEXT]}], **members}


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (body(), body(), True),
        (body(inferenceConfig={"temperature": 1}), body(), True),
        (body(system=[TEXT]), body(TEXT, TEXT), True),
        (body(guardrailConfig={"a": 1}), body(guardrailConfig={"a": 1}), True),
        (body(guardrailConfig={"a": 1}), body(), False),
        (body(guardrailConfig={"a": 1}), body(guardrailConfig={"a": 2}), False),
        (body(toolConfig={"tools": [TOOL]}), body(toolConfig={"tools": [TOOL]}), True),
        (body(toolConfig={"tools": [TOOL]}), body(), False),
        (body(IMAGE), body(TEXT), False),
        (body(DOCUMENT, IMAGE), body(IMAGE, DOCUMENT), True),
        (
            body({"toolResult": {"toolUseId": "a", "content": [IMAGE]}}),
            body({"toolResult": {"toolUseId": "a", "content": [TEXT]}}),
            False,
        ),
        (body(outputConfig=FORMAT), body(outputConfig=FORMAT), True),
        (body(outputConfig=FORMAT), body(), False),
        (body(outputConfig=FORMAT), body(toolConfig={"tools": [TOOL]}), True),
        (body(outputConfig=FORMAT), body(system=[{"text": "Answer with JSON …"}]), True),
    ],
)
def test_what_a_repaired_body_must_keep(before: Any, after: Any, kept: bool) -> None:
    assert keeps_what_matters(before, after) is kept
