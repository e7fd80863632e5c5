"""The rules of size and dials: sampling, stop sequences, output and context limits, native fields.

Sentences and their families are from public reports; the context wordings of Nova 2 and Claude are
recorded or reported verbatim, the others are the service's general one.
"""

from __future__ import annotations

from proxy.simulator.call import Call
from proxy.simulator.refusals import invalid, model_says, unsupported

_EARLY_CLAUDE = ("claude-3.7", "claude-4", "claude-4.1")


def check_dials(call: Call) -> None:
    """Raise `Refusal` for sampling, stop sequences or native fields that the family refuses."""
    _check_sampling(call)
    _check_stop(call)
    _check_output_limit(call)
    _check_fields(call)
    _check_guardrail(call)
    paths = call.body.get("additionalModelResponseFieldPaths") or []
    if any(not path.startswith("/") for path in paths):
        raise invalid(
            "additionalModelResponseFieldPaths contains an invalid JSON Pointer. A pointer starts "
            "with a slash."
        )


def check_context(call: Call) -> None:
    """Raise `Refusal` when the estimated prompt does not fit the context window."""
    window, size = call.model.context, call.input_tokens
    if not window:
        return
    style = call.family.overflow
    asked = call.inference.get("maxTokens", 0)
    if size <= window:
        if call.family.name in _EARLY_CLAUDE and size + asked > window:
            raise model_says(
                f"input length and `max_tokens` exceed context limit: {size} + {asked} > {window}, "
                "decrease input length or `max_tokens` and try again"
            )
        return
    if style == "claude":
        raise model_says(f"prompt is too long: {size} tokens > {window} maximum")
    if style == "nova2":
        raise model_says(
            "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update "
            "the input to try again."
        )
    if style == "nova":
        raise invalid("Too many input tokens. Max input tokens exceeded for the requested model.")
    raise invalid("Input is too long for requested model.")


def _check_sampling(call: Call) -> None:
    sent = [n for n in ("temperature", "topP") if n in call.inference]
    native = "top_k" if "top_k" in call.fields else ""
    if call.family.sampling == "none" and (sent or native):
        if call.family.is_claude:
            name = {"temperature": "temperature", "topP": "top_p"}.get(sent[0]) if sent else native
            raise model_says(f"`{name}` is deprecated for this model.")
        raise unsupported(f"inferenceConfig.{sent[0]}" if sent else native)
    if call.family.sampling == "one" and len(sent) == 2:
        raise model_says(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only "
            "one."
        )


def _check_stop(call: Call) -> None:
    sequences = call.inference.get("stopSequences")
    if not sequences:
        return
    if not call.family.stop:
        raise unsupported("stopSequences")
    if call.family.is_claude and any(not sequence.strip() for sequence in sequences):
        raise model_says("stop_sequences: each stop sequence must contain non-whitespace")


def _check_output_limit(call: Call) -> None:
    asked, limit = call.inference.get("maxTokens"), call.model.output_limit
    if asked is None:
        return
    if limit and asked > limit:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of {limit}. Try again with "
            f"a maximum tokens value that is lower than {limit}."
        )
    if asked < call.family.min_output:
        raise model_says(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= "
            f"{call.family.min_output}, but got {asked} instead."
        )


def _check_fields(call: Call) -> None:
    raw = call.body.get("additionalModelRequestFields")
    if raw is None:
        return
    if not isinstance(raw, dict):
        raise invalid("additionalModelRequestFields must be a JSON object.")
    unknown = sorted(set(raw) - call.family.fields)
    if not unknown:
        return
    if call.family.is_claude:
        raise model_says(f"{unknown[0]}: Extra inputs are not permitted")
    raise model_says(
        f"Malformed input request: #: extraneous key [{unknown[0]}] is not permitted, please "
        "reformat your input and try again."
    )


def _check_guardrail(call: Call) -> None:
    config = call.body.get("guardrailConfig")
    if config is None:
        return
    if bool(config.get("guardrailIdentifier")) != bool(config.get("guardrailVersion")):
        raise invalid("guardrailIdentifier and guardrailVersion must be provided together.")
