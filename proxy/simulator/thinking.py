"""The rules of reasoning: what a model may be asked, and what must come back from earlier turns.

`thinking_of` reads the wish from additionalModelRequestFields and outputConfig as each family
writes it; `check_thinking` refuses what the family refuses. The sentences are Anthropic's and
Amazon's, seen in public reports; the rules are those of the vendors' pages.

Not verified: the sentences for Nova's high effort and for Qwen's and GPT's unknown levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from proxy.simulator.call import Call, Message, tool_results, tool_uses
from proxy.simulator.refusals import invalid, model_says, unsupported
from proxy.simulator.signatures import Ledger

_LEAST_BUDGET = 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """What the request asks of reasoning. `form` is the vendor's `type`, "" when unset."""

    on: bool
    form: str = ""
    budget: int = 0
    effort: str = ""
    shown: bool = True


def thinking_of(call: Call) -> Wish:
    """The wish of a request that `check_thinking` has let pass."""
    return _READERS[call.family.thinking](call)


def check_thinking(call: Call, ledger: Ledger, scope: str) -> None:
    """Raise `Refusal` for a wish or a replay that the family does not take."""
    _check_effort_place(call)
    _check_replay(call, ledger, scope)
    if call.family.is_claude:
        _check_claude(call, ledger)
    elif call.family.thinking == "nova":
        _check_nova(call)
    elif call.family.thinking in ("effort", "switch"):
        _check_level(call)


def _claude_wish(call: Call) -> Wish:
    raw = call.fields.get("thinking", call.fields.get("reasoning_config"))
    form = raw.get("type", "") if isinstance(raw, dict) else ""
    on = form in ("enabled", "adaptive", "between_tools") or call.family.thinking == "always"
    budget = raw.get("budget_tokens", 0) if isinstance(raw, dict) else 0
    budget = budget if isinstance(budget, int) else 0
    shown = not (isinstance(raw, dict) and raw.get("display") == "omitted")
    return Wish(on, form, budget, _effort(call), shown)


def _effort(call: Call) -> str:
    native = call.fields.get("output_config")
    nested = native.get("effort", "") if isinstance(native, dict) else ""
    return (call.body.get("outputConfig") or {}).get("effort") or nested or ""


def _nova_wish(call: Call) -> Wish:
    raw = call.fields.get("reasoningConfig") or {}
    on = raw.get("type") == "enabled"
    return Wish(on, raw.get("type", ""), 0, raw.get("maxReasoningEffort", ""))


def _effort_wish(call: Call) -> Wish:
    raw = call.fields.get("reasoning")
    level = raw.get("effort", "") if isinstance(raw, dict) else ""
    level = call.fields.get("reasoning_effort") or level
    return Wish(level != "none", "effort", 0, level)


def _switch_wish(call: Call) -> Wish:
    level = call.fields.get("reasoning_config")
    return Wish(isinstance(level, str), "switch", 0, level if isinstance(level, str) else "")


def _never(call: Call) -> Wish:
    return Wish(False)


def _by_itself(call: Call) -> Wish:
    return Wish(True, "self")


_READERS: MappingProxyType[str, Callable[[Call], Wish]] = MappingProxyType(
    {
        "": _never,
        "budget": _claude_wish,
        "either": _claude_wish,
        "adaptive": _claude_wish,
        "always": _claude_wish,
        "nova": _nova_wish,
        "effort": _effort_wish,
        "switch": _switch_wish,
        "self": _by_itself,
    }
)


def _check_effort_place(call: Call) -> None:
    """The effort dial sits in outputConfig or in the native fields, never in both."""
    outer = (call.body.get("outputConfig") or {}).get("effort")
    native = call.fields.get("output_config")
    if outer and isinstance(native, dict) and "effort" in native:
        raise invalid(
            "The effort is set both in outputConfig and in additionalModelRequestFields. "
            "Remove one of them and try again."
        )
    if not outer and not native:
        return
    if not call.family.is_claude or not call.family.efforts:
        raise (
            unsupported("outputConfig.effort")
            if outer
            else model_says("output_config: Extra inputs are not permitted")
        )
    level = _effort(call)
    if level and level not in call.family.efforts:
        allowed = ", ".join(f"'{e}'" for e in call.family.efforts)
        raise model_says(f"output_config.effort: Input should be {allowed}")


def _check_claude(call: Call, ledger: Ledger) -> None:
    raw = call.fields.get("thinking", call.fields.get("reasoning_config"))
    if raw is not None:
        _check_form(call, raw)
    wish = thinking_of(call)
    if not wish.on:
        return
    if wish.form == "enabled":
        _check_budget(call, wish)
    _check_company(call, wish)
    _check_loop(call, wish, ledger)


def _check_form(call: Call, raw: Any) -> None:
    kind = call.family.thinking
    form = raw.get("type") if isinstance(raw, dict) else None
    if kind == "":
        raise model_says("thinking: Extra inputs are not permitted")
    forms = ["disabled", "enabled"] + ([] if kind == "budget" else ["adaptive"])
    if call.model.id.startswith("anthropic.claude-sonnet-5-5"):
        forms.append("between_tools")
    if form not in forms:
        allowed = ", ".join(f"'{f}'" for f in sorted(forms))
        raise model_says(
            f"thinking: Input tag '{form}' found using 'type' does not match any of the expected "
            f"tags: {allowed}"
        )
    if form == "enabled" and kind in ("adaptive", "always"):
        raise model_says(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" '
            'and "output_config.effort" to control thinking behavior.'
        )
    steep = call.model.id == "anthropic.claude-opus-5" and _effort(call) in ("xhigh", "max")
    if form == "disabled" and (kind == "always" or steep):
        raise model_says('"thinking.type.disabled" is not supported for this model.')


def _check_budget(call: Call, wish: Wish) -> None:
    if wish.budget < _LEAST_BUDGET:
        raise model_says(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        )
    limit = call.inference.get("maxTokens", call.model.output_limit)
    betas = call.fields.get("anthropic_beta") or []
    interleaved = any(str(beta).startswith("interleaved-thinking") for beta in betas)
    if wish.budget >= limit and not (interleaved and call.specs):
        raise model_says("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_company(call: Call, wish: Wish) -> None:
    """What thinking does not tolerate beside it."""
    tolerated = call.family.thinking == "always" and call.family.forced
    if call.choice in ("any", "tool") and not tolerated:
        raise model_says("Thinking may not be enabled when tool_choice forces tool use.")
    if call.inference.get("temperature", 1) != 1:
        raise model_says("`temperature` may only be set to 1 when thinking is enabled.")
    if call.inference.get("topP", 1) < 0.95:
        raise model_says(
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
        )
    if "top_k" in call.fields:
        raise model_says("`top_k` must be unset when thinking is enabled.")
    if call.messages and call.messages[-1]["role"] == "assistant":
        raise model_says(
            f"messages.{len(call.messages) - 1}: Expected `thinking` or `redacted_thinking`, but "
            "found `text`. When `thinking` is enabled, a final `assistant` message must start with "
            "a thinking block."
        )


def _loop_turns(messages: list[Message]) -> list[tuple[int, Message]]:
    """The assistant turns of the running tool loop: those after the last plain user message."""
    turns: list[tuple[int, Message]] = []
    for at in range(len(messages) - 1, -1, -1):
        message = messages[at]
        if message["role"] == "user" and not tool_results(message):
            break
        if message["role"] == "assistant" and tool_uses(message):
            turns.append((at, message))
    return turns


def _check_loop(call: Call, wish: Wish, ledger: Ledger) -> None:
    for at, message in _loop_turns(call.messages):
        first = message["content"][0]
        if wish.form == "enabled" and "reasoningContent" not in first:
            found = "tool_use" if "toolUse" in first else "text"
            raise model_says(
                f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
                f"found `{found}`. When `thinking` is enabled, a final `assistant` message must "
                "start with a thinking block (preceeding the lastmost set of `tool_use` and "
                "`tool_result` blocks). To avoid this requirement, disable `thinking`."
            )
        ids = [use["toolUseId"] for use in tool_uses(message)]
        if ledger.modified(ids, message["content"]):
            raise model_says(
                f"messages.{at}.content.0: `thinking` or `redacted_thinking` blocks in the latest "
                "assistant message cannot be modified. These blocks must remain as they were in "
                "the original response."
            )


def _check_nova(call: Call) -> None:
    raw = call.fields.get("reasoningConfig")
    if raw is None:
        return
    if not isinstance(raw, dict) or raw.get("type") not in ("enabled", "disabled"):
        raise model_says("Malformed input request: #/reasoningConfig/type: is not a valid enum")
    if raw["type"] == "disabled":
        return
    level = raw.get("maxReasoningEffort", "low")
    if level not in call.family.efforts:
        raise model_says(
            f"Malformed input request: #/reasoningConfig/maxReasoningEffort: {level} is not a "
            "valid enum value, please reformat your input and try again."
        )
    taken = [n for n in ("temperature", "topP", "maxTokens") if n in call.inference]
    if level == "high" and taken:
        raise model_says(f"{', '.join(taken)} must be unset when maxReasoningEffort is high")


def _check_level(call: Call) -> None:
    present = [n for n in ("reasoning_effort", "reasoning", "reasoning_config") if n in call.fields]
    if not present:
        return
    level = thinking_of(call).effort
    if level not in call.family.efforts:
        allowed = ", ".join(f"'{e}'" for e in call.family.efforts)
        raise model_says(f"{present[0]}: Input should be {allowed}")


def _check_replay(call: Call, ledger: Ledger, scope: str) -> None:
    """Reasoning that comes back: to whom it may go, and intact."""
    for at, index, role, block in call.blocks():
        reasoning = block.get("reasoningContent")
        if reasoning is None:
            continue
        if role != "assistant":
            raise invalid(
                "User messages cannot contain reasoning content. Remove it and try again."
            )
        if call.family.replay == "none":
            raise unsupported("reasoningContent")
        where = f"messages.{at}.content.{index}"
        if call.family.replay == "plain":
            _check_plain(reasoning)
        elif "redactedContent" in reasoning:
            if not ledger.verify_redacted(reasoning["redactedContent"], call.model.id, scope):
                raise model_says(f"{where}: Invalid `data` in `redacted_thinking` block")
        else:
            _check_signed(call, reasoning["reasoningText"], where, ledger, scope)


def _check_plain(reasoning: dict[str, Any]) -> None:
    if "redactedContent" in reasoning:
        raise unsupported("reasoningContent.redactedContent")
    if "signature" in reasoning["reasoningText"]:
        raise unsupported("reasoningContent.reasoningText.signature")


def _check_signed(call: Call, text: dict[str, str], where: str, ledger: Ledger, scope: str) -> None:
    signature = text.get("signature")
    if not signature:
        raise model_says(f"{where}.thinking.signature: Field required")
    if not ledger.verify(text["text"], signature, call.model.id, scope):
        raise model_says(f"{where}: Invalid `signature` in `thinking` block")
