"""A guardrail with two rules, enough to see what an intervention looks like.

Input that contains "forbidden topic" is blocked: the answer is the guardrail's sentence. E-mail
addresses in the output are masked as {EMAIL}; the masked answer is complete, yet its stop reason is
guardrail_intervened, and the trace holds the unmasked text (captures fact 23). Without `trace` in
the request there is no trace.
"""

from __future__ import annotations

import re
from typing import Any

from proxy.simulator.answer import Answer
from proxy.simulator.call import Call
from proxy.simulator.estate import ACCOUNT
from proxy.simulator.prompt import text_of

_BLOCKED = "Sorry, the model cannot answer this question."
_TOPIC = "forbidden topic"
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")


def guarded(call: Call, answer: Answer, region: str) -> Answer:
    """The answer as the request's guardrail lets it out; unchanged without a guardrail."""
    config = call.body.get("guardrailConfig") or {}
    if not config.get("guardrailIdentifier"):
        return answer
    asked = "\n".join(text_of(m["content"]) for m in call.messages if m["role"] == "user")
    blocked = _TOPIC in asked.lower()
    said = text_of(answer.content)
    found = _EMAIL.findall(said)
    trace = _trace(config, region, asked, said, blocked, found)
    if config.get("trace", "disabled") != "disabled":
        answer.trace = {"guardrail": trace}
    if blocked:
        answer.content = [{"text": _BLOCKED}]
        answer.output_tokens = 0
    elif found:
        answer.content = [
            {"text": _EMAIL.sub("{EMAIL}", block["text"])} if "text" in block else block
            for block in answer.content
        ]
    if blocked or found:
        answer.stop_reason = "guardrail_intervened"
    return answer


def _trace(
    config: dict[str, Any], region: str, asked: str, said: str, blocked: bool, found: list[str]
) -> dict[str, Any]:
    identifier = config["guardrailIdentifier"].rpartition("/")[2]
    given = _assessment(config, identifier, region, len(asked))
    if blocked:
        topic = {"action": "BLOCKED", "detected": True, "name": "forbidden", "type": "DENY"}
        reason = "Guardrail blocked."
        return {
            "actionReason": reason,
            "inputAssessment": {identifier: {**given, "topicPolicy": {"topics": [topic]}}},
        }
    written = _assessment(config, identifier, region, len(said))
    if found:
        entities = [
            {"action": "ANONYMIZED", "detected": True, "match": m, "type": "EMAIL"} for m in found
        ]
        written["sensitiveInformationPolicy"] = {"piiEntities": entities, "regexes": []}
    return {
        "actionReason": "No action.\nGuardrail masked." if found else "No action.",
        "inputAssessment": {identifier: given},
        "modelOutput": [said] if found else [],
        "outputAssessments": {identifier: [written]},
    }


def _assessment(
    config: dict[str, Any], identifier: str, region: str, characters: int
) -> dict[str, Any]:
    units = (
        *("automatedReasoningPolicies", "automatedReasoningPolicyUnits", "contentPolicyImageUnits"),
        *("contentPolicyUnits", "contextualGroundingPolicyUnits", "wordPolicyUnits"),
        *("sensitiveInformationPolicyFreeUnits", "sensitiveInformationPolicyUnits"),
    )
    return {
        "appliedGuardrailDetails": {
            "guardrailArn": f"arn:aws:bedrock:{region}:{ACCOUNT}:guardrail/{identifier}",
            "guardrailId": identifier,
            "guardrailOrigin": ["REQUEST"],
            "guardrailOwnership": "SELF",
            "guardrailVersion": config["guardrailVersion"],
        },
        "invocationMetrics": {
            "guardrailCoverage": {"textCharacters": {"guarded": characters, "total": characters}},
            "guardrailProcessingLatency": 250,
            "usage": {**dict.fromkeys(units, 0), "topicPolicyUnits": 1},
        },
    }
