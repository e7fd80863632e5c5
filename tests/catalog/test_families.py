"""The table of facts: every known id finds its row, and the row agrees with what is known.

The reference and the recordings are read where they lie beside the project; nothing of them is
copied. Where the table differs from the reference on purpose, the reason stands here.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from proxy.catalog.families import (
    ARCHITECTURES,
    FAMILIES,
    bare,
    describe,
    foundation_of,
    traits_for,
)
from proxy.catalog.limits import CHAT_LIMITS, EMBEDDING_LIMITS
from proxy.catalog.model import ALL_CHOICES, ALL_SAMPLING, Traits
from proxy.catalog.repairs import find_repair

SHARED = Path(__file__).parents[2].parent / "shared"
REFERENCE = SHARED / "reference" / "models.json"
CAPTURES = SHARED / "captures"

needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the reference does not lie beside the project"
)
needs_captures = pytest.mark.skipif(
    not CAPTURES.exists(), reason="the recordings do not lie beside the project"
)

# (id prefix, fact): why the table says something else.
DIFFERENT = {
    ("ai21.jamba-1-5", "tools"): "AWS's Converse feature table gives Jamba 1.5 tools",
    ("amazon.nova-lite", "input_modalities"): "AWS's model page: video in",
    ("amazon.nova-pro", "input_modalities"): "video in is recorded",
    ("amazon.nova-premier", "input_modalities"): "AWS's model page: video in",
    ("anthropic.claude-3-7", "max_output_tokens"): "AWS's model page: 64 K since extended thinking",
    ("anthropic.claude-opus-4-7", "effort_minimal"): "Converse documents low to max",
    ("anthropic.claude-", "effort_max"): "the ceiling on Bedrock is below max",
    ("anthropic.claude-", "tool_choice"): "a choice is worth nothing without tools",
    ("cohere.command-", "tool_choice"): "a choice is worth nothing without tools",
    ("mistral.mistral-7b", "tool_choice"): "a choice is worth nothing without tools",
    ("mistral.mixtral", "tool_choice"): "a choice is worth nothing without tools",
    ("google.gemma-3-", "native_structured_output"): "recorded for 27b, AWS lists 12b too",
    ("meta.llama3-2-1b", "tools"): "AWS's Converse feature table: no tools",
    ("meta.llama3-2-3b", "tools"): "AWS's Converse feature table: no tools",
    ("meta.llama4", "vision"): "images are recorded",
    ("meta.llama4", "input_modalities"): "images are recorded",
    ("minimax.minimax-m2", "reasoning"): "reasoning blocks are recorded for M2",
    ("minimax.minimax-m2.", "tool_choice"): "field reports: the member is refused",
    ("mistral.", "tool_choice"): "field reports: auto and any are taken",
    ("mistral.magistral", "native_structured_output"): "AWS's structured output page lists it",
    ("mistral.pixtral", "vision"): "images are recorded",
    ("mistral.pixtral", "input_modalities"): "images are recorded",
    ("moonshot.kimi-k2-thinking", "tool_choice"): "toolChoice auto is recorded",
    ("moonshotai.kimi-k3", "prompt_caching"): "caches by itself, refuses cache points",
    ("nvidia.nemotron-nano-12b", "native_structured_output"): "recorded",
    ("openai.gpt-6", "prompt_caching"): "caches by itself, refuses cache points",
    ("openai.gpt-oss", "tool_choice"): "field reports: the member is refused",
    ("qwen.qwen3", "tool_choice"): "field reports: the member is refused",
    ("zai.glm-4.7-flash", "native_structured_output"): "recorded",
    ("zai.glm-5.3", "prompt_caching"): "not told whether it takes cache points",
}

WORDS = {
    "text": "text",
    "image": "image",
    "pdf": "document",
    "video": "video",
    "audio": "audio",
}


def reference(mode: str) -> list[dict[str, Any]]:
    if not REFERENCE.exists():
        return []
    models = json.loads(REFERENCE.read_text())["models"]
    return [model for model in models if model["mode"] == mode]


def facts(model_id: str) -> dict[str, Any]:
    """The table's word on each fact that the reference has."""
    traits, told = traits_for(model_id), describe(model_id)
    return {
        "context_window": traits.context_window,
        "max_output_tokens": traits.max_output_tokens,
        "input_modalities": told.input_modalities,
        "profile_prefixes": told.profile_prefixes,
        "end_of_life": told.end_of_life,
        "tools": traits.tools,
        "tool_choice": traits.tools and bool(traits.tool_choices & {"any", "tool"}),
        "vision": traits.images,
        "reasoning": traits.reasoning != "none",
        "prompt_caching": bool(traits.cache_places),
        "cache_point": bool(traits.cache_places),
        "native_structured_output": traits.native_schema,
        "strict_tools": traits.strict_tools,
        "sampling_params": bool(traits.sampling),
        "forced_tool_use": traits.forced_tools,
        "thinking_always_on": traits.reasoning == "always",
        "adaptive_thinking": traits.reasoning in ("adaptive", "always"),
        "legacy_budget_thinking": traits.budget_too,
        "assistant_prefill": traits.prefill,
        "mid_conversation_system": traits.mid_system,
        "disable_parallel_tool_use": traits.parallel_dial,
        "prompt_cache_min_tokens": traits.cache_min_tokens,
        "cache_ttl_1h": traits.cache_hour,
        "effort_minimal": "minimal" in traits.efforts,
        "effort_none": "none" in traits.efforts,
        "effort_xhigh": "xhigh" in traits.efforts,
        "effort_max": "max" in traits.efforts,
        "effort_ceiling": next(e for e in ("max", "xhigh", "high") if e in traits.efforts),
        "regex_lookaround": traits.schema_lookaround,
        "tool_result_images": "image" in traits.result_media,
    }


def excused(model_id: str, fact: str) -> bool:
    return any(fact == what and model_id.startswith(prefix) for prefix, what in DIFFERENT)


@needs_reference
@pytest.mark.parametrize("model", reference("chat"), ids=lambda model: model["id"])
def test_row_agrees_with_the_reference(model: dict[str, Any]) -> None:
    known = facts(model["id"])
    model = {
        **model,
        "input_modalities": tuple(WORDS[word] for word in model["input_modalities"]),
        "profile_prefixes": tuple(model["profile_prefixes"]),
    }
    told = {fact for fact in model if fact in known}
    assert len(told) > 8
    wrong = {
        fact: (model[fact], known[fact])
        for fact in told
        if model[fact] != known[fact] and not excused(model["id"], fact)
    }
    assert not wrong
    assert traits_for(model["id"]).family != "other"


@needs_reference
def test_every_difference_is_one() -> None:
    """An excuse that excuses nothing is stale."""
    used = set()
    for model in reference("chat"):
        known = facts(model["id"])
        modes = tuple(WORDS[word] for word in model["input_modalities"])
        for prefix, fact in DIFFERENT:
            theirs = modes if fact == "input_modalities" else model.get(fact)
            if model["id"].startswith(prefix) and theirs not in (None, known[fact]):
                used.add((prefix, fact))
    assert used == set(DIFFERENT)


@needs_reference
@pytest.mark.parametrize("model", reference("embedding"), ids=lambda model: model["id"])
def test_embedding_models_are_told_apart(model: dict[str, Any]) -> None:
    told = describe(model["id"])
    assert told.mode == "embedding"
    assert told.context_window == model["context_window"]
    assert told.embedding_dimensions == model.get("embedding_dimensions")
    assert told.max_output_tokens is None
    assert told.input_modalities == tuple(WORDS[word] for word in model["input_modalities"])


@needs_reference
def test_limits_hold_no_model_the_reference_lacks() -> None:
    ids = {model["id"] for mode in ("chat", "embedding") for model in reference(mode)}
    assert {*CHAT_LIMITS, *EMBEDDING_LIMITS} == ids


@needs_reference
def test_ids_of_the_openai_shaped_endpoint_find_their_families() -> None:
    ids = [model["id"] for model in json.loads(REFERENCE.read_text())["mantle_ids"]]
    assert len(ids) > 20
    assert not [one for one in ids if traits_for(one).family == "other"]


def recorded() -> list[tuple[str, str, str, dict[str, Any]]]:
    """(case, foundation id, operation, body) of requests that the service accepted."""
    found = []
    for path in sorted(CAPTURES.glob("*/*.json")) if CAPTURES.exists() else ():
        case = json.loads(path.read_text())
        body = case.get("request", {}).get("body")
        if case.get("recorded") != "real" or case["response"]["status"] != 200:
            continue
        if case["operation"] in ("Converse", "ConverseStream") and isinstance(body, dict):
            model = foundation_of(case["model"])
            if model:
                found.append((path.stem, model, case["operation"], body))
    return found


# Accepted by the service, and yet not relied on by the table.
NOT_RELIED_ON = {
    ("anthropic.claude-3-sonnet-20240229-v1:0", "native schema"): "retired; not on AWS's list",
}


def demands(operation: str, body: dict[str, Any]) -> dict[str, bool]:
    """(what the request made use of, by the name of what the traits must then allow)."""
    tools = body.get("toolConfig", {}).get("tools", [])
    specs = [tool["toolSpec"] for tool in tools if "toolSpec" in tool]
    inference = body.get("inferenceConfig", {})
    blocks = [block for message in body["messages"] for block in message["content"]]
    results = [block["toolResult"] for block in blocks if "toolResult" in block]
    inner = {kind for result in results for part in result["content"] for kind in part}
    native = body.get("outputConfig", {}).get("textFormat") is not None
    return {
        "system": bool(body.get("system")),
        "tools": bool(specs),
        "streamed tools": bool(specs) and operation == "ConverseStream",
        "strict": any(spec.get("strict") for spec in specs),
        "hidden description": any(not spec.get("description") for spec in specs),
        "native schema": native,
        "leading": bool(body["messages"]) and body["messages"][0]["role"] == "assistant",
        "temperature": "temperature" in inference,
        "top_p": "topP" in inference,
        "both samplers": "temperature" in inference and "topP" in inference,
        "stop": bool(inference.get("stopSequences")),
        "image": any("image" in block for block in blocks),
        "document": any("document" in block for block in blocks),
        "underscore": any(
            "_" in block["document"]["name"] for block in blocks if "document" in block
        ),
        "video": any("video" in block for block in blocks),
        "image in result": "image" in inner,
        "document in result": "document" in inner,
        "beside results": any(
            {"toolResult"}
            < {kind for block in message["content"] for kind in block} - {"cachePoint"}
            for message in body["messages"]
        ),
        "status": any("status" in result for result in results),
        "cached messages": any("cachePoint" in block for block in blocks),
        "cached system": any("cachePoint" in block for block in body.get("system", [])),
        "cached tools": any("cachePoint" in tool for tool in tools),
        "choice auto": "auto" in (body.get("toolConfig", {}).get("toolChoice") or {}),
        "choice any": "any" in (body.get("toolConfig", {}).get("toolChoice") or {}),
        "choice tool": "tool" in (body.get("toolConfig", {}).get("toolChoice") or {}),
    }


def allowed(traits: Traits) -> dict[str, bool]:
    return {
        "system": traits.system,
        "tools": traits.tools,
        "streamed tools": traits.stream and traits.stream_tools,
        "strict": traits.strict_tools,
        "hidden description": not traits.tool_description,
        "native schema": traits.native_schema,
        "leading": traits.leading_assistant,
        "temperature": "temperature" in traits.sampling,
        "top_p": "top_p" in traits.sampling,
        "both samplers": not traits.one_sampler,
        "stop": traits.stop,
        "image": traits.images,
        "document": traits.documents,
        "underscore": traits.document_underscores,
        "video": traits.video,
        "image in result": "image" in traits.result_media,
        "document in result": "document" in traits.result_media,
        "beside results": not traits.results_alone,
        "status": traits.result_status,
        "cached messages": "messages" in traits.cache_places,
        "cached system": "system" in traits.cache_places,
        "cached tools": "tools" in traits.cache_places,
        "choice auto": "auto" in traits.tool_choices,
        "choice any": "any" in traits.tool_choices,
        "choice tool": "tool" in traits.tool_choices,
    }


@needs_captures
def test_the_table_allows_what_the_service_took() -> None:
    cases = recorded()
    assert len(cases) > 150
    refused: dict[tuple[str, str], str] = {}
    for case, model, operation, body in cases:
        may = allowed(traits_for(model))
        for what, used in demands(operation, body).items():
            if used and not may[what]:
                refused.setdefault((model, what), case)
    assert {key: case for key, case in refused.items() if key not in NOT_RELIED_ON} == {}
    assert set(NOT_RELIED_ON) <= set(refused)


@pytest.mark.parametrize(
    ("model_id", "foundation", "plain"),
    [
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0", "amazon.nova-lite"),
        ("us.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6", None),
        ("us-gov.anthropic.claude-opus-5", "anthropic.claude-opus-5", None),
        ("global.anthropic.claude-opus-4-6-v1", "anthropic.claude-opus-4-6-v1",
         "anthropic.claude-opus-4-6"),
        ("uk.anthropic.claude-opus-5", "anthropic.claude-opus-5", None),
        ("eu-gov.moonshotai.kimi-k2.5", "moonshotai.kimi-k2.5", None),
        ("deepseek.v3.2", "deepseek.v3.2", None),
        ("acme.new.model", "acme.new.model", None),
        ("amazon.nova-premier-v1:0:8k", "amazon.nova-premier-v1:0:8k", "amazon.nova-premier"),
        ("amazon.titan-text-express-v1:0:8k", "amazon.titan-text-express-v1:0:8k",
         "amazon.titan-text-express"),
        ("openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b-1:0", "openai.gpt-oss-120b"),
        ("mistral.mistral-7b-instruct-v0:2", "mistral.mistral-7b-instruct-v0:2",
         "mistral.mistral-7b-instruct"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6",
         "anthropic.claude-sonnet-4-6", None),
        ("arn:aws:bedrock:::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0",
         "amazon.nova-lite"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0",
         "meta.llama3-3-70b-instruct-v1:0", "meta.llama3-3-70b-instruct"),
        ("arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.amazon.nova-pro-v1:0",
         "amazon.nova-pro-v1:0", "amazon.nova-pro"),
        ("arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc",
         "amazon.nova-lite-v1:0:300k", "amazon.nova-lite"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", "", ""),
        ("arn:aws:bedrock:us-east-1:123456789012:imported-model/abc", "", ""),
        ("arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc", "", ""),
        ("arn:", "", ""),
        ("acme.new-model", "acme.new-model", None),
        ("", "", ""),
    ],
)  # fmt: skip
def test_ids_in_every_coat(model_id: str, foundation: str, plain: str | None) -> None:
    assert foundation_of(model_id) == foundation
    assert bare(model_id) == (foundation if plain is None else plain)
    assert foundation_of(foundation) == foundation


def test_an_unknown_model_is_tried_as_it_is() -> None:
    assert traits_for("acme.new-model") == Traits()
    told = describe("acme.new-model")
    assert told.mode == "chat"
    assert told.tools
    assert told.context_window is None
    assert told.end_of_life is None
    assert told.input_modalities == ("text", "image", "document", "video", "audio")


def test_a_new_claude_is_sent_nothing_that_new_ones_refuse() -> None:
    traits = traits_for("anthropic.claude-opus-9")
    assert traits.family == "claude"
    assert not traits.sampling
    assert not traits.prefill
    assert not traits.strict_tools
    assert traits.reasoning == "adaptive"


def test_a_new_model_of_a_known_maker_is_taken_for_its_youngest_kind() -> None:
    for name in ("amazon.nova-2-pro-v1:0", "amazon.nova-3-lite-v1:0"):
        assert traits_for(name).reasoning == "nova"
    assert traits_for("amazon.nova-pro-v1:0:300k").reasoning == "none"
    for name in ("cohere.command-r-plus-v1:0", "cohere.command-a-v1:0"):
        assert traits_for(name).tools
    assert not traits_for("cohere.command-light-text-v14").tools
    assert traits_for("moonshot.kimi-k9").id_marks


def test_a_dial_that_a_new_model_lacks_is_learned() -> None:
    said = "Malformed input request: #: extraneous key [reasoningConfig] is not permitted"
    repair = find_repair(400, said, traits_for("amazon.nova-3-lite-v1:0"))
    assert repair is not None
    assert repair.changes == {"reasoning": "none"}


def test_an_imported_model_is_told_by_its_architecture() -> None:
    assert traits_for("", "Llama3.1").family == "llama"
    assert traits_for("", "GPT-OSS").family == "gpt-oss"
    assert traits_for("", "Qwen2_5").family == "qwen"
    assert traits_for("", "somethingelse") == Traits()
    assert traits_for("amazon.nova-lite-v1:0", "llama").family == "nova"


def test_a_context_size_does_not_hide_the_limits() -> None:
    assert traits_for("amazon.nova-lite-v1:0:300k").context_window == 300_000


def test_no_row_is_hidden_by_an_earlier_one() -> None:
    prefixes = [prefix for prefix, _ in FAMILIES]
    for index, prefix in enumerate(prefixes):
        hiding = [one for one in prefixes[:index] if prefix.startswith(one)]
        assert not hiding, prefix
    names = [prefix for prefix, _ in ARCHITECTURES]
    assert not [
        (name, one) for i, name in enumerate(names) for one in names[:i] if name.startswith(one)
    ]


@pytest.mark.parametrize("prefix", [prefix for prefix, _ in FAMILIES])
def test_rows_are_consistent(prefix: str) -> None:
    traits = dict(FAMILIES)[prefix]
    assert traits.tool_choices <= ALL_CHOICES
    assert traits.sampling <= ALL_SAMPLING
    assert traits.cache_places <= {"tools", "system", "messages"}
    assert traits.efforts <= {"none", "minimal", "low", "medium", "high", "xhigh", "max"}
    assert {"low", "medium", "high"} <= traits.efforts
    assert not (traits.strict_tools and not traits.native_schema)
    assert traits.tools or not traits.tool_choices or traits.family == "mistral"
    assert not (traits.signed_reasoning and traits.reasoning == "none")
    assert not (traits.cache_hour and not traits.cache_places)
    assert not ({"image"} & traits.result_media and not traits.images)


def test_the_limits_are_sane() -> None:
    for limits in CHAT_LIMITS.values():
        assert limits.output is not None
        assert 0 < limits.output <= limits.context
        assert limits.modes.startswith("t")
        assert not limits.end_of_life or len(limits.end_of_life) == len("2026-11-26")


def test_every_trait_is_told_by_some_row() -> None:
    """A fact that no family differs in is not a fact about families."""
    unused = {
        "replays",  # only learned
        "length",  # of a managed prompt, which is no family
        "context_window",  # from the limits
        "max_output_tokens",
    }
    blank = Traits()
    told = {
        one.name
        for one in fields(Traits)
        for _, traits in FAMILIES
        if getattr(traits, one.name) != getattr(blank, one.name)
    }
    assert {one.name for one in fields(Traits)} - told == unused
