"""What was asked of reasoning, in the family's own words and within its constraints.

Efforts are OpenAI's seven words, budgets are tokens; a family takes one, the other, a word of its
own, or nothing. An effort it lacks becomes the next lower one, an ask it cannot follow is dropped,
each noted. Claude's thinking yields to what the caller needs for certain: a required or named tool,
a JSON schema, a tool loop whose signed reasoning was lost.

Where the ask goes is a table (``_STYLES``), one function a style. Sources: Anthropic's pages on
extended and adaptive thinking (budget at least 1024 and below max_tokens; temperature 1, no top_k,
top_p 0.95 to 1; no forced tool); Amazon Nova 2 guide; recorded requests (captures facts 30, 31);
field reports of 2026 for the others. Replay is ``reasoning_replay.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Final

from proxy.catalog.model import ReasoningStyle, Traits
from proxy.converse.types import Json
from proxy.frozen import frozen
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.reasoning_replay import pack, replay, unpack, unsigned_loop
from proxy.openai.chat.request_shape import ChatRequest, ReasoningAsk

__all__ = [
    "ReasoningTranslation",
    "apply_reasoning",
    "pack",
    "replay",
    "thinks_in_own_words",
    "unpack",
]

MIN_BUDGET: Final = 1_024
_ANSWER_ROOM: Final = 4_096
"""Left for the answer where the caller set no limit and the model's own is known."""
_UNKNOWN_LIMIT: Final = 32_000
_DEFAULT_EFFORT: Final = "medium"
_MIN_THINKING_TOP_P: Final = 0.95

_ORDER: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS: Final[Mapping[str, int]] = MappingProxyType(
    {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_000}
)
_EFFORT_BELOW: Final = ((4_096, "low"), (12_288, "medium"), (24_576, "high"))
"""(budgets below this, the effort they stand for); more is xhigh."""
_OWN_WORDS: Final = frozenset(
    {"thinking", "reasoning_config", "reasoningConfig", "reasoning_effort", "reasoning"}
)
_THINKS: Final = ("enabled", "adaptive")
_INTERLEAVED: Final = "interleaved-thinking-2025-05-14"
_EFFORT_BETA: Final = "effort-2025-11-24"


@frozen
class ReasoningTranslation:
    """``fields`` belong into ``additionalModelRequestFields``, ``output_config`` into
    ``outputConfig``. ``max_tokens`` replaces the one given; ``drop_sampling`` names what must not
    be sent of temperature, top_p, top_k."""

    fields: dict[str, Json] = field(default_factory=dict)
    output_config: dict[str, Json] | None = None
    max_tokens: int | None = None
    drop_sampling: frozenset[str] = frozenset()
    on: bool = False
    """Thinking was switched on: no prefill."""
    drop_forced_choice: bool = False
    """Thinking cannot be switched off and forbids to force a tool."""


@frozen
class _Ask:
    """One request's reasoning parameters while they are translated for a family."""

    request: ChatRequest
    traits: Traits
    max_tokens: int | None
    forced: bool
    schema_tool: bool
    notes: Notes

    @property
    def wish(self) -> ReasoningAsk:
        return self.request.reasoning

    @property
    def off(self) -> bool:
        """Turned off explicitly; a budget or a thinking object beside it takes precedence."""
        return self.wish.effort == "none" and self.wish.budget is None and not self.wish.thinking

    @property
    def said(self) -> str | None:
        """The effort, if one above none was requested."""
        return None if self.wish.effort == "none" else self.wish.effort

    @property
    def barred(self) -> str:
        """What of the request wins over thinking, in words for the caller; empty: nothing does.

        A forced tool and thinking exclude each other. With a schema that the model takes natively
        thinking may well go together, but no record shows it: what must come of it is sure.
        """
        if self.forced or self.schema_tool:
            return "A forced tool call excludes thinking."
        if self.request.response_format.kind == "json_schema":
            return "A JSON schema takes precedence over thinking."
        return ""

    def dropped(self, message: str) -> None:
        self.notes.add(f"{self.wish.path}:dropped", self.wish.path, message)

    def overridden(self, path: str) -> None:
        """Note which of an effort and a budget is ignored; ``path`` is empty if one was sent."""
        if path:
            why = "An effort and a budget were both sent; this model takes one of them."
            self.notes.add(f"{path}:dropped", path, why)

    def effort(self) -> str | None:
        """The wished effort as this family has it; ``None`` if there is neither word nor budget."""
        word = self.wish.effort
        said, tokens = self.wish.rivals
        self.overridden(said if self.said is None else tokens)
        if self.said is None and self.wish.budget is not None:
            word = _effort_for(self.wish.budget)
            self.notes.add(
                f"{self.wish.path}:emulated",
                self.wish.path,
                "This model takes efforts, not tokens.",
            )
        if word is None:
            return None
        level = _within(word, self.traits.efforts)
        if level != word:
            self.notes.add(f"{self.wish.path}:clamped", self.wish.path, f"It accepts {level}.")
        return level


def apply_reasoning(
    request: ChatRequest,
    traits: Traits,
    max_tokens: int | None,
    forced: bool,
    has_schema_tool: bool,
    notes: Notes,
) -> ReasoningTranslation:
    """The request's reasoning for this family.

    ``forced``: a tool choice of any or tool is on the wire; ``has_schema_tool``: the answer's
    schema is such a tool. ``max_tokens`` is what would be sent without reasoning. Raises
    ``ProxyError`` 400 only in strict mode.
    """
    base = ReasoningTranslation(
        max_tokens=max_tokens, drop_forced_choice=forced and not traits.forced_tools
    )
    ask = _Ask(request, traits, max_tokens, forced, has_schema_tool, notes)
    own = request.native.get("additionalModelRequestFields")
    if isinstance(own, Mapping) and _OWN_WORDS & own.keys():
        # The client uses the model's own fields: only what they exclude is dropped.
        lost = _sampling_lost(ask) if thinks_in_own_words(request) else frozenset()
        return replace(base, on=own.get("thinking") != {"type": "disabled"}, drop_sampling=lost)
    wish = request.reasoning
    if wish.effort is None and wish.budget is None and not wish.thinking:
        return base
    told = _STYLES[traits.reasoning](ask)
    return replace(told, drop_forced_choice=base.drop_forced_choice)


def thinks_in_own_words(request: ChatRequest) -> bool:
    """Claude's thinking was switched on by Bedrock's own member, not by OpenAI's."""
    own = request.native.get("additionalModelRequestFields", {})
    words = (own.get("thinking"), own.get("reasoning_config"))
    return any(isinstance(word, Mapping) and word.get("type") in _THINKS for word in words)


# One function a style


def _deaf(ask: _Ask) -> ReasoningTranslation:
    """No effort parameter. Asking such a model for no reasoning changes nothing."""
    if not (ask.off and ask.traits.reasoning == "none"):
        ask.dropped("This model's reasoning cannot be set.")
    return ReasoningTranslation(max_tokens=ask.max_tokens)


def _budget(ask: _Ask) -> ReasoningTranslation:
    plain = ReasoningTranslation(max_tokens=ask.max_tokens)
    if ask.off:
        return plain
    if ask.barred:
        ask.dropped(ask.barred)
        return plain
    if unsigned_loop(ask.request.messages, ask.traits):
        ask.dropped("The reasoning of the current tool calls was not sent back.")
        return plain
    if _mode(ask) not in (None, "enabled"):
        ask.notes.add("thinking:emulated", "thinking.type", "This model only accepts a budget.")
    budget, max_tokens = _room(ask)
    if budget >= (max_tokens or budget + 1):
        ask.dropped("The token limit leaves no room for thinking.")
        return plain
    if not _has_effort_beside(ask):
        ask.overridden(ask.wish.rivals[0])
    fields: dict[str, Json] = {"thinking": {"type": "enabled", "budget_tokens": budget}}
    betas: list[str] = []
    if ask.traits.interleaved_beta and ask.request.tools:
        betas.append(_INTERLEAVED)
    if _has_effort_beside(ask):
        fields["output_config"] = {
            "effort": _within(ask.said or _DEFAULT_EFFORT, ask.traits.efforts)
        }
        betas.append(_EFFORT_BETA)
    if betas:
        fields["anthropic_beta"] = betas
    return ReasoningTranslation(
        _housed(ask, fields), _effort_beside_schema(ask, fields), max_tokens,
        _sampling_lost(ask), on=True,
    )  # fmt: skip


def _adaptive(ask: _Ask) -> ReasoningTranslation:
    always = ask.traits.reasoning == "always"
    asked = _mode(ask)
    if ask.off and not always:
        return ReasoningTranslation({"thinking": {"type": "disabled"}}, None, ask.max_tokens)
    if ask.barred and not always:
        ask.dropped(ask.barred)
        return ReasoningTranslation({"thinking": {"type": "disabled"}}, None, ask.max_tokens)
    if ask.traits.budget_too and (asked == "enabled" or _only_budget(ask.wish)):
        return _budget(ask)
    effort = ask.effort()
    mode: dict[str, Json] = {"type": "adaptive"}
    if asked == "adaptive" or (asked == "between_tools" and ask.traits.between_tools):
        mode = dict(ask.wish.thinking or {})
    elif asked == "between_tools":
        ask.notes.add("thinking:emulated", "thinking.type", "The model decides how much to think.")
    if mode["type"] == "adaptive":
        hidden = ask.wish.exclude or ask.off
        mode.setdefault("display", "omitted" if hidden else "summarized")
    fields: dict[str, Json] = {"thinking": mode}
    if effort is not None:
        fields["output_config"] = {"effort": effort}
    return ReasoningTranslation(
        _housed(ask, fields), _effort_beside_schema(ask, fields), ask.max_tokens,
        _sampling_lost(ask), on=True,
    )  # fmt: skip


def _nova(ask: _Ask) -> ReasoningTranslation:
    if ask.off:
        return ReasoningTranslation(max_tokens=ask.max_tokens)
    level = ask.effort() or _DEFAULT_EFFORT
    fields: dict[str, Json] = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    if level != "high":
        return ReasoningTranslation(fields, None, ask.max_tokens, on=True)
    if ask.max_tokens is not None:
        param = ask.request.max_tokens_field
        ask.notes.add("max_tokens:dropped", param, "High effort excludes a token limit.")
    lost = frozenset({"temperature", "top_p", "top_k"})
    for name in ("temperature", "top_p", "top_k"):
        if getattr(ask.request, name) is not None:
            ask.notes.add(f"{name}:dropped", name, "High effort excludes sampling.")
    return ReasoningTranslation(fields, None, None, lost, on=True)


def _effort(ask: _Ask) -> ReasoningTranslation:
    plain = ReasoningTranslation(max_tokens=ask.max_tokens)
    if ask.off and not ask.traits.reasons_unasked:
        return plain
    level = ask.effort() or _DEFAULT_EFFORT
    return replace(plain, fields={"reasoning_effort": level})


def _nested_effort(ask: _Ask) -> ReasoningTranslation:
    level = ask.effort() or _DEFAULT_EFFORT
    return ReasoningTranslation({"reasoning": {"effort": level}}, None, ask.max_tokens)


def _qwen(ask: _Ask) -> ReasoningTranslation:
    if ask.off:
        return ReasoningTranslation(max_tokens=ask.max_tokens)
    level = ask.effort()
    word = "low" if level == "low" else "high"
    if level not in (None, word):
        ask.notes.add(f"{ask.wish.path}:clamped", ask.wish.path, f"It accepts {word}.")
    return ReasoningTranslation({"reasoning_config": word}, None, ask.max_tokens)


_STYLES: Final[Mapping[ReasoningStyle, Callable[[_Ask], ReasoningTranslation]]] = MappingProxyType(
    {
        "none": _deaf,
        "inherent": _deaf,
        "budget": _budget,
        "adaptive": _adaptive,
        "always": _adaptive,
        "nova": _nova,
        "effort": _effort,
        "reasoning": _nested_effort,
        "qwen": _qwen,
    }
)


def _room(ask: _Ask) -> tuple[int, int | None]:
    """(budget, max_tokens): the budget wished for, and a limit that holds it and the answer."""
    limit = ask.traits.max_output_tokens
    given = ask.max_tokens
    budget = ask.wish.budget
    if budget is None:
        effort = ask.wish.effort or _DEFAULT_EFFORT
        budget = _BUDGETS.get(effort) or _most(limit or _UNKNOWN_LIMIT, given)
    wished, budget = budget, max(budget, MIN_BUDGET)
    if given is None:
        if limit is not None:
            budget = min(budget, max(MIN_BUDGET, limit - _ANSWER_ROOM))
        total = None
    else:
        total = given if given > budget else budget + given
        if limit is not None and total > limit:
            total = max(limit, given)
            budget = min(budget, max(MIN_BUDGET, total - given))
        if total != given:
            param = ask.request.max_tokens_field
            ask.notes.add("max_tokens:clamped", param, f"With thinking this model needs {total}.")
    if budget != wished and ask.wish.budget is not None:
        ask.notes.add(f"{ask.wish.path}:clamped", ask.wish.path, f"It accepts {budget} tokens.")
    return budget, total


def _most(limit: int, given: int | None) -> int:
    """The largest budget: beside the answer asked for, or within a limit that is nearly all."""
    if given is None:
        return limit - _ANSWER_ROOM
    return max(limit - given, given - _ANSWER_ROOM)


def _sampling_lost(ask: _Ask) -> frozenset[str]:
    """What thinking forbids of the sampling that was sent and would be accepted otherwise."""
    request = ask.request
    lost = {
        "temperature": request.temperature is not None and request.temperature < 1,
        "top_p": request.top_p is not None and request.top_p < _MIN_THINKING_TOP_P,
        "top_k": request.top_k is not None,
    }
    names = frozenset(name for name, is_lost in lost.items() if is_lost) & ask.traits.sampling
    for name in sorted(names):
        ask.notes.add(f"{name}:dropped", name, "Not accepted together with thinking.")
    return names


def _schema_is_native(ask: _Ask) -> bool:
    own = ask.request.native.get("outputConfig")
    asked = ask.request.response_format.kind == "json_schema"
    native = asked and ask.traits.native_schema and not ask.schema_tool
    return native or (isinstance(own, Mapping) and "textFormat" in own)


def _housed(ask: _Ask, fields: dict[str, Json]) -> dict[str, Json]:
    """Effort stands in ``output_config``, unless a schema lives there already: never in both."""
    if not _schema_is_native(ask):
        return fields
    return {key: value for key, value in fields.items() if key != "output_config"}


def _effort_beside_schema(ask: _Ask, fields: dict[str, Json]) -> dict[str, Json] | None:
    if "output_config" not in fields or not _schema_is_native(ask):
        return None
    return {"effort": fields["output_config"]["effort"]}


def _mode(ask: _Ask) -> Json:
    """The type of the caller's own thinking object."""
    return (ask.wish.thinking or {}).get("type")


def _only_budget(wish: ReasoningAsk) -> bool:
    return wish.budget is not None and wish.effort in (None, "none")


def _effort_for(budget: int) -> str:
    return next((word for below, word in _EFFORT_BELOW if budget < below), "xhigh")


def _has_effort_beside(ask: _Ask) -> bool:
    """A budget model with an effort of its own (Opus 4.5), and an effort was said."""
    traits = ask.traits
    return traits.reasoning == "budget" and traits.effort_field and ask.said is not None


def _within(word: str, efforts: frozenset[str]) -> str:
    """The strongest known effort that is not above the word; else the weakest there is."""
    at = _ORDER.index(word)
    below = [one for one in _ORDER[: at + 1] if one in efforts]
    return below[-1] if below else next(one for one in _ORDER if one in efforts)
