"""What a request wishes of reasoning and of caching, in whichever of the de-facto forms.

Reasoning: ``reasoning_effort`` (OpenAI), ``reasoning`` (OpenRouter), ``thinking`` (Anthropic,
LiteLLM), ``enable_thinking``, ``thinking_budget`` and ``chat_template_kwargs`` (Qwen and vLLM
clients). An unknown effort is a 400. Caching: ``prompt_cache_options``, ``prompt_cache_retention``
(OpenAI), a top-level ``cache_control`` (Anthropic), ``prompt_caching`` (the archived AWS gateway):
hints, so what is unknown there is not an error. Sources: the named APIs' references; agents'
clients as observed.
"""

from collections.abc import Mapping
from typing import Final

from proxy.converse.types import Json
from proxy.openai.chat.request_shape import ReasoningAsk
from proxy.openai.request_checks import (
    bad_value,
    check_depth,
    read_boolean,
    read_integer,
    read_object,
    read_text,
    require_text,
    wrong_type,
)

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
DEFAULT_EFFORT: Final = "medium"
"""What "thinking on" means where no amount was said."""
REASONING: Final = frozenset(
    {
        "reasoning_effort",
        "reasoning",
        "thinking",
        "enable_thinking",
        "thinking_budget",
        "chat_template_kwargs",
        "include_reasoning",
    }
)
CACHING: Final = frozenset(
    {"cache_control", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
    | {"prompt_caching"}
)
_OFF: Final = frozenset({"off", "disabled"})
_THINKING: Final = frozenset({"enabled", "adaptive", "disabled", "between_tools"})


def read_reasoning(body: Mapping[str, Json]) -> ReasoningAsk:
    """The first form that says something gives the effort; a budget or ``thinking`` is kept too."""
    if REASONING.isdisjoint(body):
        return ReasoningAsk()
    nested = _reasoning_object(body)
    effort, path = _effort(body, nested)
    said = path if effort is not None and path.endswith("effort") else ""
    budget = read_integer(nested, "max_tokens", 1, at="reasoning")
    if budget is not None and effort is None:
        path = "reasoning.max_tokens"
    thinking, off = _thinking(body)
    if thinking is not None:
        own = read_integer(thinking, "budget_tokens", 1, at="thinking")
        budget, path = (own if own is not None else budget), "thinking"
    elif off is not None:
        effort, path = off, "thinking"
    wider = read_integer(body, "thinking_budget", 0)
    if wider == 0:  # Gemini's way to say no
        effort, path = (effort, path) if effort or budget else ("none", "thinking_budget")
    elif wider is not None and budget is None:
        budget, path = wider, path if effort else "thinking_budget"
    hidden = bool(read_boolean(nested, "exclude", "reasoning"))
    shown = read_boolean(body, "include_reasoning")
    rivals = (said, _budget_field(nested, thinking)) if said and budget else ("", "")
    return ReasoningAsk(effort, budget, thinking, hidden or shown is False, path, rivals)


def _budget_field(nested: Mapping[str, Json], thinking: Mapping[str, Json] | None) -> str:
    """Where the budget that counts was said."""
    if thinking is not None and thinking.get("budget_tokens") is not None:
        return "thinking.budget_tokens"
    return "thinking_budget" if nested.get("max_tokens") is None else "reasoning.max_tokens"


def _reasoning_object(body: Mapping[str, Json]) -> Mapping[str, Json]:
    value = body.get("reasoning")
    if isinstance(value, str):
        return {"effort": value}
    if isinstance(value, bool):
        return {"enabled": value}
    return read_object(body, "reasoning") or {}


def _effort(body: Mapping[str, Json], nested: Mapping[str, Json]) -> tuple[str | None, str]:
    effort = _effort_word(body, "reasoning_effort")
    if effort is not None:
        return effort, "reasoning_effort"
    effort = _effort_word(nested, "effort", "reasoning")
    if effort is not None:
        return effort, "reasoning.effort"
    kwargs = read_object(body, "chat_template_kwargs") or {}
    switches = (
        (nested, "enabled", "reasoning"),
        (body, "enable_thinking", ""),
        (kwargs, "enable_thinking", "chat_template_kwargs"),
        (kwargs, "thinking", "chat_template_kwargs"),
    )
    for source, key, at in switches:
        switch = read_boolean(source, key, at)
        if switch is not None:
            has_budget = nested.get("max_tokens") is not None
            word = (None if has_budget else DEFAULT_EFFORT) if switch else "none"
            return word, f"{at}.{key}" if at else key
    return None, "reasoning_effort"


def _effort_word(source: Mapping[str, Json], key: str, at: str = "") -> str | None:
    word = read_text(source, key, at)
    if word is None or word in EFFORTS:
        return word
    if word in _OFF:
        return "none"
    path = f"{at}.{key}" if at else key
    raise bad_value(path, f"supported values are: {', '.join(EFFORTS)}.")


def _thinking(body: Mapping[str, Json]) -> tuple[Mapping[str, Json] | None, str | None]:
    """The caller's own object, or the effort that a plain word or switch stands for."""
    value = body.get("thinking")
    if value is None:
        return None, None
    if isinstance(value, bool):
        return None, DEFAULT_EFFORT if value else "none"
    if isinstance(value, str):
        return None, _effort_word(body, "thinking")
    if not isinstance(value, dict):
        raise wrong_type("thinking", "an object", value)
    kind = require_text(value, "type", "thinking")
    if kind not in _THINKING:
        raise bad_value("thinking.type", f"supported values are: {', '.join(sorted(_THINKING))}.")
    check_depth(value, "thinking")
    return (None, "none") if kind == "disabled" else (value, None)


def read_cache_wish(body: Mapping[str, Json]) -> tuple[str | None, bool | None]:
    """(ttl, automatic): how long, and whether points are to be placed where none are marked."""
    if CACHING.isdisjoint(body):
        return None, None
    options = read_object(body, "prompt_cache_options") or {}
    retention = body.get("prompt_cache_retention")
    top = read_object(body, "cache_control") or {}
    ttl = _ttl(top.get("ttl")) or _ttl(options.get("ttl")) or _ttl(retention)
    wanted = _wanted(read_object(body, "prompt_caching") or {})
    if top or wanted:
        return ttl or "5m", True
    mode = options.get("mode")
    automatic = {"implicit": True, "explicit": False}.get(mode) if isinstance(mode, str) else None
    return ttl, automatic if wanted is None else wanted


def _wanted(places: Mapping[str, Json]) -> bool | None:
    """``prompt_caching`` (the archived AWS gateway's): whether any place is to be cached. Which,
    is decided here: points stand where they serve the whole prompt."""
    said = [read_boolean(places, name, "prompt_caching") for name in ("system", "messages")]
    return None if set(said) == {None} else True in said


def _ttl(value: Json) -> str | None:
    """Bedrock knows 5m and 1h; every longer wish is the longer of the two."""
    if value in ("5m", "in_memory", "in-memory"):
        return "5m"
    return "1h" if value in ("30m", "1h", "12h", "24h") else None
