"""Models and profiles as the control plane shows them.

ListFoundationModels answers more than its published shape (captures fact 42): `converse` hints for
the newer models, caching and guardrail flags, names over 20 characters, a null where streaming is
not known. Timestamps of profiles have nine fractional digits, a global profile one ARN without a
region (fact 45). Keys stand in the service's alphabetical order.
"""

from __future__ import annotations

from typing import Any

import orjson

from proxy.simulator.estate import INFERENCE, MODALITIES, Foundation, Profile, end_of_life
from proxy.simulator.families import family_of

_CREATED = "2025-10-02T09:12:44.680622107Z"
_UPDATED = "2026-08-19T16:00:01.000000319Z"
_IMAGES = ("jpeg", "png", "gif", "webp")
_VIDEOS = ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp")
_HINTED = (
    "anthropic.claude-sonnet-",
    "anthropic.claude-haiku-",
    "anthropic.claude-opus-4-",
    "openai.",
    "qwen.",
    "amazon.nova-2-",
    "amazon.nova-pro",
    "nvidia.",
    "minimax.",
    "mistral.m",
    "mistral.v",
    "google.",
    "moonshot.",
    "writer.palmyra-x",
)


def foundation_arn(region: str, model_id: str) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model_id}"


def foundation_summary(model: Foundation, region: str) -> dict[str, Any]:
    """One entry of ListFoundationModels, also the modelDetails of GetFoundationModel."""
    family = family_of(model.id)
    return {
        "batchSupported": None,
        "consoleIDEMetadata": None,
        "converse": _hints(model),
        "customizationsSupported": ["FINE_TUNING"] if "P" in model.types else [],
        "description": None,
        "explicitPromptCaching": {"isSupported": bool(family.cache) and model.chats},
        "featuresSupported": None,
        "guardrailsSupported": model.chats,
        "inferenceTypesSupported": [INFERENCE[t] for t in model.types],
        "inputModalities": [MODALITIES[m] for m in model.inputs],
        "intelligentPromptRouting": {"isSupported": False},
        "latencyOptimizationSupported": None,
        "modelArn": foundation_arn(region, model.id),
        "modelFamily": None,
        "modelId": model.id,
        "modelLifecycle": _lifecycle(model),
        "modelName": model.name,
        "outputModalities": [MODALITIES[m] for m in model.outputs],
        "providerName": model.provider,
        "responseStreamingSupported": model.streaming,
    }


def _lifecycle(model: Foundation) -> dict[str, Any]:
    end = end_of_life(model)
    if end is None:
        return {"status": "ACTIVE"}
    return {"endOfLifeTime": f"{end.isoformat()}T00:00:00Z", "status": "LEGACY"}


def _hints(model: Foundation) -> dict[str, Any] | None:
    """The undocumented `converse` member: filled for about a quarter of the models."""
    if not model.id.startswith(_HINTED) or not model.chats or model.life != "A":
        return None
    family = family_of(model.id)
    reasons = bool(family.thinking)
    schema = {"reasoningConfig": {"enabled": {"default": False, "type": "boolean"}}}
    return {
        "additionalRequestFieldsSchema": orjson.dumps(schema).decode() if reasons else "{}",
        "maxTokensDefault": model.output_limit if family.is_claude else None,
        "maxTokensMaximum": model.output_limit,
        "reasoningSupported": {"embedded": family.thinking == "self"} if reasons else None,
        "stopSequencesDefault": None if family.is_claude else [],
        "systemRoleSupported": family.system,
        "userDocumentTypesSupported": ["pdf", "docx"] if family.name.startswith("nova") else [],
        "userImageTypesSupported": list(_IMAGES) if "I" in model.inputs else [],
        "userVideoTypesSupported": list(_VIDEOS) if "V" in model.inputs else [],
    }


def profile_summary(profile: Profile) -> dict[str, Any]:
    """One entry of ListInferenceProfiles, also the whole answer of GetInferenceProfile."""
    return {
        "createdAt": _CREATED,
        "description": profile.description,
        "inferenceProfileArn": profile.arn,
        "inferenceProfileId": profile.id,
        "inferenceProfileName": profile.name,
        "models": [
            {"modelArn": foundation_arn(region, profile.foundation)} for region in profile.regions
        ],
        "status": "ACTIVE",
        "type": profile.kind,
        "updatedAt": _UPDATED,
    }


def availability(model_id: str, granted: bool) -> dict[str, Any]:
    """GetFoundationModelAvailability."""
    return {
        "agreementAvailability": {"status": "AVAILABLE" if granted else "NOT_AVAILABLE"},
        "authorizationStatus": "AUTHORIZED" if granted else "NOT_AUTHORIZED",
        "entitlementAvailability": "AVAILABLE" if granted else "NOT_AVAILABLE",
        "modelId": model_id,
        "regionAvailability": "AVAILABLE",
    }
