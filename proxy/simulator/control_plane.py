"""The control plane: listings and look-ups that a client discovers models with.

`ROUTES` maps a method and path to an operation; `respond` answers one. Pages are cut by maxResults
with an opaque nextToken. Without `type`, ListInferenceProfiles lists system profiles only (AWS's
page says so, not verified on the wire). One provisioned throughput, one imported model, one
deployment and one prompt router exist; there is no Marketplace endpoint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from proxy.simulator.estate import ACCOUNT, INFERENCE, MODALITIES, Estate, Foundation
from proxy.simulator.refusals import Refusal, invalid
from proxy.simulator.state import State
from proxy.simulator.summaries import (
    availability,
    foundation_arn,
    foundation_summary,
    profile_summary,
)

Query = Mapping[str, str]

# First path segment(s) to operation; a further segment is the identifier.
ROUTES: MappingProxyType[str, str] = MappingProxyType(
    {
        "foundation-models": "ListFoundationModels",
        "foundation-models/*": "GetFoundationModel",
        "foundation-model-availability/*": "GetFoundationModelAvailability",
        "inference-profiles": "ListInferenceProfiles",
        "inference-profiles/*": "GetInferenceProfile",
        "custom-models": "ListCustomModels",
        "imported-models": "ListImportedModels",
        "imported-models/*": "GetImportedModel",
        "provisioned-model-throughputs": "ListProvisionedModelThroughputs",
        "provisioned-model-throughput/*": "GetProvisionedModelThroughput",
        "marketplace-model/endpoints": "ListMarketplaceModelEndpoints",
        "model-customization/custom-model-deployments": "ListCustomModelDeployments",
        "prompt-routers": "ListPromptRouters",
    }
)
_PAGE = 100
_MOST = 1000
_LONG_AGO = "2025-03-04T10:11:12Z"


def respond(operation: str, identifier: str, query: Query, state: State) -> dict[str, Any]:
    """The body of one control-plane answer. Raises `Refusal`."""
    return _ANSWERS[operation](identifier, query, state)


def _list_models(identifier: str, query: Query, state: State) -> dict[str, Any]:
    region = state.estate.region
    listed = [m for m in state.estate.models.values() if m.life != "G" and _wanted(m, query)]
    summaries = [foundation_summary(model, region) for model in listed]
    return {"enableAccessToAllModelsByDefault": True, "modelSummaries": summaries}


def _wanted(model: Foundation, query: Query) -> bool:
    types = [INFERENCE[t] for t in model.types]
    outputs = [MODALITIES[m] for m in model.outputs]
    return (
        query.get("byProvider", model.provider).lower() == model.provider.lower()
        and query.get("byOutputModality", outputs[0]) in outputs
        and ("byInferenceType" not in query or query["byInferenceType"] in types)
        and ("byCustomizationType" not in query or "P" in model.types)
    )


def _get_model(identifier: str, query: Query, state: State) -> dict[str, Any]:
    model = _known(identifier, state.estate)
    return {"modelDetails": foundation_summary(model, state.estate.region)}


def _known(identifier: str, estate: Estate) -> Foundation:
    model = estate.models.get(identifier.rpartition("foundation-model/")[2])
    if model is None or model.life == "G":
        raise Refusal("ResourceNotFoundException", "Could not find the foundation model.")
    return model


def _get_availability(identifier: str, query: Query, state: State) -> dict[str, Any]:
    model = _known(identifier, state.estate)
    return availability(model.id, model.id not in state.settings.no_access)


def _list_profiles(identifier: str, query: Query, state: State) -> dict[str, Any]:
    kind = query.get("type", "SYSTEM_DEFINED")
    if kind not in ("SYSTEM_DEFINED", "APPLICATION"):
        raise invalid(
            f"1 validation error detected: Value '{kind}' at 'typeEquals' failed to satisfy "
            "constraint: Member must satisfy enum value set: [SYSTEM_DEFINED, APPLICATION]"
        )
    profiles = [profile_summary(p) for p in state.estate.profiles.values() if p.kind == kind]
    return _page("inferenceProfileSummaries", profiles, query)


def _get_profile(identifier: str, query: Query, state: State) -> dict[str, Any]:
    profile = state.estate.profiles.get(identifier.rpartition("/")[2])
    if profile is None:
        raise Refusal("ResourceNotFoundException", "Inference profile not found.")
    return dict(sorted({**profile_summary(profile), "toolboxArn": None}.items()))  # as recorded


def _list_provisioned(identifier: str, query: Query, state: State) -> dict[str, Any]:
    return _page("provisionedModelSummaries", _provisioned(state.estate), query)


def _provisioned(estate: Estate) -> list[dict[str, Any]]:
    return [
        {
            "creationTime": _LONG_AGO,
            "desiredModelArn": foundation_arn(estate.region, foundation),
            "desiredModelUnits": 1,
            "foundationModelArn": foundation_arn(estate.region, foundation),
            "lastModifiedTime": _LONG_AGO,
            "modelArn": foundation_arn(estate.region, foundation),
            "modelUnits": 1,
            "provisionedModelArn": arn,
            "provisionedModelName": "nightly-batch",
            "status": "InService",
        }
        for arn, foundation in estate.provisioned.items()
    ]


def _get_provisioned(identifier: str, query: Query, state: State) -> dict[str, Any]:
    for summary in _provisioned(state.estate):
        if identifier in (summary["provisionedModelArn"], summary["provisionedModelName"]):
            return summary
    raise Refusal("ResourceNotFoundException", "Could not find the provisioned model.")


def _list_imported(identifier: str, query: Query, state: State) -> dict[str, Any]:
    return _page("modelSummaries", [_imported(state.estate)], query)


def _imported(estate: Estate) -> dict[str, Any]:
    return {
        "creationTime": _LONG_AGO,
        "instructSupported": True,
        "modelArchitecture": "llama3",
        "modelArn": f"arn:aws:bedrock:{estate.region}:{ACCOUNT}:imported-model/4ky2v8b1q7ws",
        "modelName": "house-llama",
    }


def _get_imported(identifier: str, query: Query, state: State) -> dict[str, Any]:
    model = _imported(state.estate)
    if identifier not in (model["modelArn"], model["modelName"]):
        raise Refusal("ResourceNotFoundException", "Could not find the imported model.")
    return model


def _list_deployments(identifier: str, query: Query, state: State) -> dict[str, Any]:
    owner = f"arn:aws:bedrock:{state.estate.region}:{ACCOUNT}"
    summary = {
        "createdAt": _LONG_AGO,
        "customModelDeploymentArn": f"{owner}:custom-model-deployment/7hd02ksl4mzx",
        "customModelDeploymentName": "tuned-nova-micro",
        "lastUpdatedAt": _LONG_AGO,
        "modelArn": f"{owner}:custom-model/amazon.nova-micro-v1:0:128k/3x9v6p0c2nqe",
        "status": "Active",
    }
    return _page("modelDeploymentSummaries", [summary], query)


def _list_routers(identifier: str, query: Query, state: State) -> dict[str, Any]:
    region = state.estate.region
    fallback = {"modelArn": foundation_arn(region, "anthropic.claude-3-5-sonnet-20240620-v1:0")}
    other = {"modelArn": foundation_arn(region, "anthropic.claude-3-haiku-20240307-v1:0")}
    summary = {
        "createdAt": _LONG_AGO,
        "description": "Routes requests among models in the Claude family",
        "fallbackModel": fallback,
        "models": [other, fallback],
        "promptRouterArn": (
            f"arn:aws:bedrock:{region}:{ACCOUNT}:default-prompt-router/anthropic.claude:1"
        ),
        "promptRouterName": "Anthropic Prompt Router",
        "routingCriteria": {"responseQualityDifference": 0.26},
        "status": "AVAILABLE",
        "type": "default",
        "updatedAt": _LONG_AGO,
    }
    kind = query.get("type", "default")
    return _page("promptRouterSummaries", [summary] if kind == "default" else [], query)


def _empty(key: str) -> Callable[[str, Query, State], dict[str, Any]]:
    def answer(identifier: str, query: Query, state: State) -> dict[str, Any]:
        return _page(key, [], query)

    return answer


def _page(key: str, entries: list[dict[str, Any]], query: Query) -> dict[str, Any]:
    """One page of a listing, and the token of the next when there is one."""
    asked = query.get("maxResults", str(_PAGE))
    if not asked.isdigit() or not 1 <= int(asked) <= _MOST:
        raise invalid(
            f"1 validation error detected: Value '{asked}' at 'maxResults' failed to satisfy "
            "constraint: Member must have value between 1 and 1000"
        )
    start = _offset(query.get("nextToken", ""))
    end = start + int(asked)
    page: dict[str, Any] = {key: entries[start:end]}
    if end < len(entries):
        page["nextToken"] = base64.b64encode(f"page/{end}".encode()).decode()
    return page


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode().removeprefix("page/"))
    except (ValueError, binascii.Error):
        raise invalid("The provided nextToken is invalid.") from None


_ANSWERS: MappingProxyType[str, Callable[[str, Query, State], dict[str, Any]]] = MappingProxyType(
    {
        "ListFoundationModels": _list_models,
        "GetFoundationModel": _get_model,
        "GetFoundationModelAvailability": _get_availability,
        "ListInferenceProfiles": _list_profiles,
        "GetInferenceProfile": _get_profile,
        "ListCustomModels": _empty("modelSummaries"),
        "ListImportedModels": _list_imported,
        "GetImportedModel": _get_imported,
        "ListProvisionedModelThroughputs": _list_provisioned,
        "GetProvisionedModelThroughput": _get_provisioned,
        "ListMarketplaceModelEndpoints": _empty("marketplaceModelEndpoints"),
        "ListCustomModelDeployments": _list_deployments,
        "ListPromptRouters": _list_routers,
    }
)
