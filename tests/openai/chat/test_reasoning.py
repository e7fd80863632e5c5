"""What is asked of reasoning, in each family's words; and what it gives way to."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.catalog.families import FAMILIES, traits_for
from proxy.catalog.model import Traits
from proxy.errors import ProxyError
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.reasoning import ReasoningTranslation, apply_reasoning
from proxy.openai.chat.request import ChatRequest, ReasoningAsk, ResponseFormat, ToolSpec

SONNET_37 = traits_for("anthropic.claude-3-7-sonnet-20250219-v1:0")
SONNET_4 = traits_for("anthropic.claude-sonnet-4-20250514-v1:0")
OPUS_45 = traits_for("anthropic.claude-opus-4-5-20251101-v1:0")
SONNET_46 = traits_for("anthropic.claude-sonnet-4-6")
OPUS_48 = traits_for("anthropic.claude-opus-4-8")
OPUS_5 = traits_for("anthropic.claude-opus-5")
SONNET_55 = traits_for("anthropic.claude-sonnet-5-5")
NOVA = traits_for("amazon.nova-lite-v1:0")
NOVA_2 = traits_for("amazon.nova-2-lite-v1:0")
GPT_OSS = traits_for("openai.gpt-oss-120b-1:0")
GPT_6 = traits_for("openai.gpt-6-sol")
ASTRA = traits_for("openai.gpt-6-astra")
QWEN = traits_for("qwen.qwen3-32b-v1:0")
R1 = traits_for("deepseek.r1-v1:0")
DEEPSEEK = traits_for("deepseek.v3.2")
GROK = traits_for("xai.grok-4.7")

TOOL = ToolSpec("function", "a", "tools[0]")


def ask(effort: str | None = None, budget: int | None = None, **members: Any) -> ChatRequest:
    wish = members.pop("wish", {})
    path = "reasoning.max_tokens" if budget and not effort else "reasoning_effort"
    reasoning = ReasoningAsk(**{"effort": effort, "budget": budget, "path": path, **wish})
    return ChatRequest(**{"model": "m", "messages": (), "reasoning": reasoning, **members})


def applied(
    request: ChatRequest,
    traits: Traits,
    max_tokens: int | None = None,
    *,
    forced: bool = False,
    schema_tool: bool = False,
    strict: bool = False,
) -> tuple[ReasoningTranslation, tuple[str, ...]]:
    notes = Notes(strict)
    told = apply_reasoning(request, traits, max_tokens, forced, schema_tool, notes)
    return told, notes.tokens()


@pytest.mark.parametrize("prefix", [prefix for prefix, _ in FAMILIES])
def test_nothing_asked_nothing_sent(prefix: str) -> None:
    told, noted = applied(ask(), dict(FAMILIES)[prefix], 100)
    assert told == ReasoningTranslation(max_tokens=100)
    assert noted == ()


@pytest.mark.parametrize("prefix", [prefix for prefix, _ in FAMILIES])
def test_every_family_has_an_answer_to_every_effort(prefix: str) -> None:
    traits = traits_for(prefix)
    for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max"):
        for max_tokens in (None, 1, 5_000, 60_000):
            check_answer(traits, effort, max_tokens)


def check_answer(traits: Traits, effort: str, max_tokens: int | None) -> None:
    told, noted = applied(ask(effort), traits, max_tokens)
    budget = told.fields.get("thinking", {}).get("budget_tokens")
    if budget is not None:
        limit = told.max_tokens or traits.max_output_tokens or 10**9
        assert 1_024 <= budget < limit
        assert told.max_tokens is None or told.max_tokens >= (max_tokens or 0)
    level = told.fields.get("output_config", {}).get("effort")
    assert level is None or level in traits.efforts
    assert not (told.fields.get("output_config") and told.output_config)
    assert told.on or "budget_tokens" not in str(told.fields)
    if traits.reasoning in ("inherent", "none") and effort != "none":
        assert noted == ("reasoning_effort:dropped",)


@pytest.mark.parametrize("given", [None, 1, 2_000, 20_000, 60_000, 64_000])
def test_more_effort_is_never_less_thinking(given: int | None) -> None:
    budgets = [
        applied(ask(effort), SONNET_4, given)[0].fields["thinking"]["budget_tokens"]
        for effort in ("minimal", "low", "medium", "high", "xhigh", "max")
    ]
    assert budgets == sorted(budgets)


# Budgets


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 32000),
     ("max", 59904)],
)  # fmt: skip
def test_efforts_as_budgets(effort: str, budget: int) -> None:
    told, noted = applied(ask(effort), SONNET_4)
    assert told.fields == {"thinking": {"type": "enabled", "budget_tokens": budget}}
    assert (told.max_tokens, told.on, noted) == (None, True, ())


@pytest.mark.parametrize(
    ("given", "effort", "budget", "total"),
    [
        (None, "high", 16384, None),
        (20000, "high", 16384, 20000),  # room enough: the limit counts reasoning too
        (16384, "high", 16384, 32768),
        (100, "low", 2048, 2148),
        (100, "max", 63900, 64000),
        (60000, "max", 55904, 60000),
        (40000, "xhigh", 32000, 40000),
        (64000, "max", 59904, 64000),
    ],
)
def test_the_limit_holds_budget_and_answer(
    given: int | None, effort: str, budget: int, total: int | None
) -> None:
    told, noted = applied(ask(effort), SONNET_4, given)
    assert told.fields["thinking"]["budget_tokens"] == budget
    assert told.max_tokens == total
    assert noted == (("max_tokens:clamped",) if total != given else ())


def test_a_budget_of_the_callers_own() -> None:
    told, noted = applied(ask(budget=5000), SONNET_4, 8000)
    assert told.fields["thinking"] == {"type": "enabled", "budget_tokens": 5000}
    assert (told.max_tokens, noted) == (8000, ())
    told, noted = applied(ask(budget=100), SONNET_4, 8000)
    assert told.fields["thinking"]["budget_tokens"] == 1024
    assert noted == ("reasoning.max_tokens:clamped",)
    both, _ = applied(ask("low", 5000), SONNET_4)
    assert both.fields["thinking"]["budget_tokens"] == 5000


def test_a_small_model_without_room() -> None:
    small = replace(SONNET_4, max_output_tokens=1000)
    told, noted = applied(ask("low"), small, 1000)
    assert told.fields == {}
    assert "reasoning_effort:dropped" in noted


def test_the_thinking_object_of_the_caller() -> None:
    own = {"type": "enabled", "budget_tokens": 3000}
    wish = {"thinking": own, "budget": 3000, "path": "thinking"}
    assert applied(ask(wish=wish), SONNET_4)[0].fields["thinking"] == own
    assert applied(ask(wish=wish), SONNET_46)[0].fields["thinking"] == own
    told, noted = applied(ask(wish=wish), OPUS_48)
    assert told.fields["thinking"]["type"] == "adaptive"
    assert told.fields["output_config"] == {"effort": "low"}
    assert noted == ("thinking:emulated",)
    adaptive = {"thinking": {"type": "adaptive", "display": "omitted"}, "path": "thinking"}
    assert applied(ask(wish=adaptive), OPUS_48)[0].fields == {"thinking": adaptive["thinking"]}
    told, _ = applied(ask(wish=adaptive), SONNET_4)
    assert told.fields["thinking"] == {"type": "enabled", "budget_tokens": 8192}


def test_interleaved_thinking_is_asked_for_where_it_must_be() -> None:
    assert "anthropic_beta" not in applied(ask("low"), SONNET_4)[0].fields
    with_tools = ask("low", tools=(TOOL,))
    assert applied(with_tools, SONNET_4)[0].fields["anthropic_beta"] == [
        "interleaved-thinking-2025-05-14"
    ]
    assert "anthropic_beta" not in applied(with_tools, SONNET_37)[0].fields
    assert "anthropic_beta" not in applied(with_tools, SONNET_46)[0].fields


def test_opus_45_has_an_effort_beside_its_budget() -> None:
    told, _ = applied(ask("xhigh"), OPUS_45)
    assert told.fields["thinking"]["budget_tokens"] == 32000
    assert told.fields["output_config"] == {"effort": "high"}
    assert told.fields["anthropic_beta"] == ["effort-2025-11-24"]
    assert "output_config" not in applied(ask(budget=2000), OPUS_45)[0].fields


# Adaptive


@pytest.mark.parametrize(
    ("traits", "effort", "sent", "noted"),
    [
        (SONNET_46, "minimal", "low", ("reasoning_effort:clamped",)),
        (SONNET_46, "high", "high", ()),
        (SONNET_46, "xhigh", "high", ("reasoning_effort:clamped",)),
        (SONNET_46, "max", "max", ()),
        (OPUS_48, "xhigh", "xhigh", ()),
        (OPUS_48, "max", "xhigh", ("reasoning_effort:clamped",)),
        (OPUS_5, "max", "max", ()),
        (SONNET_55, "high", "high", ()),
    ],
)
def test_adaptive_efforts(traits: Traits, effort: str, sent: str, noted: tuple[str, ...]) -> None:
    told, tokens = applied(ask(effort), traits, 100)
    assert told.fields == {
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": sent},
    }
    assert (told.max_tokens, told.on, tokens) == (100, True, noted)


def test_adaptive_off() -> None:
    told, noted = applied(ask("none"), OPUS_48)
    assert told.fields == {"thinking": {"type": "disabled"}}
    assert (told.on, noted) == (False, ())


def test_what_cannot_be_off_is_low_and_hidden() -> None:
    told, noted = applied(ask("none"), SONNET_55)
    assert told.fields == {
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "low"},
    }
    assert noted == ("reasoning_effort:clamped",)


def test_adaptive_hidden() -> None:
    told, _ = applied(ask("low", wish={"exclude": True}), OPUS_48)
    assert told.fields["thinking"]["display"] == "omitted"


def test_between_tools_is_for_those_that_have_it() -> None:
    wish = {"thinking": {"type": "between_tools"}, "path": "thinking"}
    assert applied(ask(wish=wish), SONNET_55)[0].fields["thinking"] == {"type": "between_tools"}
    assert applied(ask(wish=wish), OPUS_48)[0].fields["thinking"]["type"] == "adaptive"


def test_tokens_become_an_effort_where_budgets_are_refused() -> None:
    for budget, effort in ((1024, "low"), (8000, "medium"), (16384, "high"), (50000, "xhigh")):
        told, noted = applied(ask(budget=budget), OPUS_48)
        assert told.fields["output_config"] == {"effort": effort}
        assert noted == ("reasoning.max_tokens:emulated",)
    told, noted = applied(ask(budget=8000), SONNET_46)
    assert told.fields == {"thinking": {"type": "enabled", "budget_tokens": 8000}}
    assert noted == ()


@pytest.mark.parametrize(
    ("traits", "effort", "noted"),
    [
        (SONNET_37, "high", ("reasoning_effort:dropped",)),
        (SONNET_4, "none", ("reasoning_effort:dropped",)),
        (SONNET_46, "high", ("reasoning_effort:dropped",)),  # by budget, where that is asked for
        (OPUS_45, "high", ()),  # takes both
        (OPUS_48, "high", ("thinking.budget_tokens:dropped",)),
        (NOVA_2, "high", ("thinking.budget_tokens:dropped",)),
        (GPT_OSS, "none", ("reasoning_effort:dropped", "thinking:emulated")),
        (QWEN, "low", ("thinking.budget_tokens:dropped",)),
        (R1, "low", ("thinking:dropped",)),
    ],
)
def test_an_effort_and_a_budget_of_which_one_goes_unheard(
    traits: Traits, effort: str, noted: tuple[str, ...]
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2_000}
    rivals = ("reasoning_effort", "thinking.budget_tokens")
    wish = {"thinking": thinking, "path": "thinking", "rivals": rivals}
    assert applied(ask(effort, 2_000, wish=wish), traits)[1] == noted


def test_effort_has_one_home() -> None:
    """Beside a native schema it stands with it; a second ``output_config`` would replace it."""
    wish = ResponseFormat("json_schema", schema={"type": "object", "properties": {}})
    told, _ = applied(ask("high", response_format=wish), SONNET_55)
    assert told.output_config == {"effort": "high"}
    assert "output_config" not in told.fields
    told, _ = applied(
        ask("high", native={"outputConfig": {"textFormat": {}}}),
        traits_for("anthropic.claude-opus-5"),
    )
    assert told.output_config == {"effort": "high"}


@pytest.mark.parametrize("traits", [OPUS_45, SONNET_46])
@pytest.mark.parametrize("said", [{"effort": "high"}, {"budget": 8000}])
def test_a_schema_wins_over_thinking(traits: Traits, said: dict[str, Any]) -> None:
    """However the model takes the schema: here natively."""
    wish = ResponseFormat("json_schema", schema={"type": "object", "properties": {}})
    told, noted = applied(ask(**said, response_format=wish), traits)
    assert told.fields.get("thinking", {"type": "disabled"}) == {"type": "disabled"}
    assert (told.output_config, told.on) == (None, False)
    assert [token.partition(":")[2] for token in noted] == ["dropped"]
    with pytest.raises(ProxyError) as caught:
        applied(ask(**said, response_format=wish), traits, strict=True)
    assert caught.value.status == 400


# The others


@pytest.mark.parametrize(
    ("traits", "effort", "fields", "noted"),
    [
        (NOVA_2, "none", {}, ()),
        (NOVA_2, "minimal", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
         ("reasoning_effort:clamped",)),
        (NOVA_2, "medium", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
         ()),
        (GPT_OSS, "none", {"reasoning_effort": "low"}, ("reasoning_effort:clamped",)),
        (GPT_OSS, "medium", {"reasoning_effort": "medium"}, ()),
        (GPT_OSS, "max", {"reasoning_effort": "high"}, ("reasoning_effort:clamped",)),
        (GROK, "none", {"reasoning_effort": "low"}, ("reasoning_effort:clamped",)),
        (DEEPSEEK, "none", {}, ()),
        (DEEPSEEK, "high", {"reasoning_effort": "high"}, ()),
        (GPT_6, "none", {"reasoning": {"effort": "none"}}, ()),
        (GPT_6, "minimal", {"reasoning": {"effort": "none"}}, ("reasoning_effort:clamped",)),
        (GPT_6, "max", {"reasoning": {"effort": "max"}}, ()),
        (ASTRA, "none", {"reasoning": {"effort": "low"}}, ("reasoning_effort:clamped",)),
        (QWEN, "none", {}, ()),
        (QWEN, "low", {"reasoning_config": "low"}, ()),
        (QWEN, "medium", {"reasoning_config": "high"}, ("reasoning_effort:clamped",)),
        (R1, "high", {}, ("reasoning_effort:dropped",)),
        (R1, "none", {}, ("reasoning_effort:dropped",)),
        (NOVA, "high", {}, ("reasoning_effort:dropped",)),
        (NOVA, "none", {}, ()),
        (Traits(), "high", {}, ("reasoning_effort:dropped",)),
    ],
)  # fmt: skip
def test_other_words(
    traits: Traits, effort: str, fields: dict[str, Any], noted: tuple[str, ...]
) -> None:
    told, tokens = applied(ask(effort), traits)
    assert (told.fields, tokens) == (fields, noted)


def test_nova_2_at_high_effort_takes_no_limit_and_no_sampling() -> None:
    told, noted = applied(ask("high", temperature=0.5, top_k=3), NOVA_2, 500)
    assert told.fields["reasoningConfig"]["maxReasoningEffort"] == "high"
    assert told.max_tokens is None
    assert told.drop_sampling == {"temperature", "top_p", "top_k"}
    assert noted == ("max_tokens:dropped", "temperature:dropped", "top_k:dropped")
    low, _ = applied(ask("low", temperature=0.5), NOVA_2, 500)
    assert (low.max_tokens, low.drop_sampling) == (500, frozenset())


# What thinking gives way to, and what gives way to it


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k", "lost"),
    [
        (None, None, None, set()),
        (1, 0.95, None, set()),
        (1.4, None, None, set()),
        (0.2, 0.9, 5, {"temperature", "top_p", "top_k"}),
    ],
)
@pytest.mark.parametrize("traits", [SONNET_4, SONNET_46])
def test_sampling_beside_thinking(
    traits: Traits, temperature: Any, top_p: Any, top_k: Any, lost: set[str]
) -> None:
    request = ask("low", temperature=temperature, top_p=top_p, top_k=top_k)
    told, noted = applied(request, traits)
    assert told.drop_sampling == lost
    assert set(noted) == {f"{name}:dropped" for name in lost}
    assert applied(replace(request, reasoning=ReasoningAsk()), traits)[0].drop_sampling == set()


@pytest.mark.parametrize(("forced", "schema_tool"), [(True, False), (True, True)])
@pytest.mark.parametrize("traits", [SONNET_4, SONNET_46, OPUS_48])
def test_a_call_that_must_come_wins(traits: Traits, forced: bool, schema_tool: bool) -> None:
    told, noted = applied(ask("high"), traits, 100, forced=forced, schema_tool=schema_tool)
    assert told.fields in ({}, {"thinking": {"type": "disabled"}})
    assert (told.on, told.max_tokens, told.drop_forced_choice) == (False, 100, False)
    assert noted == ("reasoning_effort:dropped",)


def test_where_thinking_cannot_go_the_choice_does() -> None:
    told, _ = applied(ask("high"), SONNET_55, forced=True)
    assert told.on
    assert told.drop_forced_choice
    assert applied(ask(), SONNET_55, forced=True)[0].drop_forced_choice
    assert not applied(ask("high"), traits_for("anthropic.claude-fable-5"), forced=True)[
        0
    ].drop_forced_choice


CALL = {"id": "t1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "x"}
SIGNED = {"type": "thinking", "thinking": "t", "signature": "c2ln"}


@pytest.mark.parametrize(
    ("messages", "on"),
    [
        (({"role": "user", "content": "x"},), True),
        (({"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}), True),
        (({"role": "assistant", "tool_calls": [CALL]}, RESULT), False),
        (({"role": "assistant", "tool_calls": [CALL]}, RESULT, {"role": "user"}), False),
        (({"role": "assistant", "tool_calls": [CALL], "thinking_blocks": [SIGNED]}, RESULT), True),
        (
            (
                {"role": "assistant", "tool_calls": [CALL]},
                RESULT,
                {"role": "assistant", "content": "done"},
                {"role": "user", "content": "next"},
            ),
            True,
        ),
        (  # cut while it thought: such a turn becomes no message
            (
                {"role": "assistant", "tool_calls": [CALL]},
                RESULT,
                {"role": "assistant", "content": "", "thinking_blocks": [SIGNED]},
                {"role": "user", "content": "go on"},
            ),
            False,
        ),
    ],
)
def test_a_loop_whose_signatures_were_lost(messages: Any, on: bool) -> None:
    told, noted = applied(ask("low", messages=messages), SONNET_4)
    assert told.on is on
    assert noted == (() if on else ("reasoning_effort:dropped",))
    assert applied(ask("low", messages=messages), OPUS_48)[0].on


@pytest.mark.parametrize(
    "own", [{"thinking": {}}, {"reasoning_config": "high"}, {"reasoning_effort": "low"}]
)
def test_the_models_own_words_are_left_alone(own: dict[str, Any]) -> None:
    request = ask("high", native={"additionalModelRequestFields": own}, temperature=0.5)
    told, noted = applied(request, SONNET_4, 100)
    assert told == ReasoningTranslation(max_tokens=100, on=True)
    assert noted == ()


def test_the_models_own_word_for_off_is_no_thinking() -> None:
    """So a prefill may stand."""
    own = {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}
    assert not applied(ask("high", native=own), SONNET_46)[0].on


@pytest.mark.parametrize(
    ("traits", "mode"),
    [(SONNET_4, "adaptive"), (SONNET_4, "between_tools"), (SONNET_46, "between_tools")],
)
def test_a_way_of_thinking_that_a_model_lacks_is_told(traits: Traits, mode: str) -> None:
    told, noted = applied(ask(wish={"thinking": {"type": mode}, "path": "thinking"}), traits)
    assert told.fields["thinking"]["type"] in ("enabled", "adaptive")
    assert noted == ("thinking:emulated",)


def test_strict_mode_refuses_what_would_be_dropped() -> None:
    for request, traits, param in (
        (ask("high"), NOVA, "reasoning_effort"),
        (ask("xhigh"), GPT_OSS, "reasoning_effort"),
        (ask("low"), SONNET_4, "max_tokens"),
    ):
        with pytest.raises(ProxyError) as caught:
            apply_reasoning(request, traits, 10, False, False, Notes(strict=True))
        assert caught.value.param == param
