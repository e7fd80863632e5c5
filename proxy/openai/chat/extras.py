"""What Bedrock says about an answer that OpenAI has no field for, shown to callers who asked.

All of it stands under ``bedrock``, beside the finish reason it belongs to. A guardrail's trace is
stripped first: ``modelOutput`` is the model's text *before* masking (recorded), and the matches of
``sensitiveInformationPolicy`` in the output's assessments are the very values that were masked.
Source: Bedrock API reference, *ConverseTrace*.
"""

from collections.abc import Mapping

from proxy.converse.types import Json
from proxy.openai.chat.plan import Plan


def extras(plan: Plan, fields: Json, metadata: Mapping[str, Json]) -> dict[str, Json]:
    """``{"bedrock": …}``, or empty. ``fields`` are the ``additionalModelResponseFields``."""
    shown: dict[str, Json] = {}
    if plan.show_extras and fields is not None:
        shown["additionalModelResponseFields"] = fields
    if plan.show_trace:
        if trace := metadata.get("trace"):
            shown["trace"] = _stripped(trace)
        if performance := metadata.get("performanceConfig"):
            shown["performanceConfig"] = performance
    return {"bedrock": shown} if shown else {}


def _stripped(trace: Mapping[str, Json]) -> dict[str, Json]:
    guardrail = trace.get("guardrail")
    if not isinstance(guardrail, Mapping):
        return dict(trace)
    kept = {name: value for name, value in guardrail.items() if name != "modelOutput"}
    if "outputAssessments" in kept:
        kept["outputAssessments"] = _unmatched(kept["outputAssessments"], False)
    return {**trace, "guardrail": kept}


def _unmatched(value: Json, sensitive: bool) -> Json:
    """``value`` without the ``match`` members inside a ``sensitiveInformationPolicy``."""
    if isinstance(value, Mapping):
        return {
            name: _unmatched(entry, sensitive or name == "sensitiveInformationPolicy")
            for name, entry in value.items()
            if not (sensitive and name == "match")
        }
    if isinstance(value, list):
        return [_unmatched(entry, sensitive) for entry in value]
    return value
