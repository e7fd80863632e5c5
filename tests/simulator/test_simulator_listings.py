"""The control plane, embeddings and token counts, by real botocore clients."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from proxy.simulator import Simulator
from proxy.simulator.shapes import service_model

SONNET_4 = "anthropic.claude-sonnet-4-20250514-v1:0"
MARENGO_2 = "us.twelvelabs.marengo-embed-2-7-v1:0"
MARENGO_3 = "twelvelabs.marengo-embed-3-0-v1:0"


def error_of(call: Any, **arguments: Any) -> dict[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    found: dict[str, str] = caught.value.response["Error"]
    return found


def test_foundation_models(bedrock: Any) -> None:
    models = {m["modelId"]: m for m in bedrock.list_foundation_models()["modelSummaries"]}
    assert 100 < len(models) < 160
    sonnet = models["anthropic.claude-sonnet-4-5-20250929-v1:0"]
    assert sonnet["inferenceTypesSupported"] == ["INFERENCE_PROFILE"]
    assert models["anthropic.claude-3-haiku-20240307-v1:0:48k"]["inferenceTypesSupported"] == [
        "PROVISIONED"
    ]
    assert models["amazon.titan-embed-text-v2:0"]["outputModalities"] == ["EMBEDDING"]
    assert models["amazon.nova-canvas-v1:0"]["outputModalities"] == ["IMAGE"]
    legacy = models["anthropic.claude-v2"]["modelLifecycle"]
    assert legacy["status"] == "LEGACY"
    assert "anthropic.claude-instant-v1" not in models
    assert max(len(m["modelName"]) for m in models.values()) > 20


def test_filters(bedrock: Any) -> None:
    def listed(**query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = bedrock.list_foundation_models(**query)["modelSummaries"]
        return found

    assert {m["providerName"] for m in listed(byProvider="Anthropic")} == {"Anthropic"}
    assert all("EMBEDDING" in m["outputModalities"] for m in listed(byOutputModality="EMBEDDING"))
    assert all(
        "ON_DEMAND" in m["inferenceTypesSupported"] for m in listed(byInferenceType="ON_DEMAND")
    )


def test_the_wire_shows_more_than_the_model(simulator: Simulator) -> None:
    authorization = {"authorization": f"Bearer {simulator.bearer}"}
    answer = httpx.get(f"{simulator.url}/foundation-models", headers=authorization).json()
    models = {m["modelId"]: m for m in answer["modelSummaries"]}
    assert models["amazon.titan-embed-image-v1"]["responseStreamingSupported"] is None
    assert models["amazon.nova-premier-v1:0:mm"]["inferenceTypesSupported"] == []
    hints = models["anthropic.claude-haiku-4-5-20251001-v1:0"]["converse"]
    assert hints["maxTokensMaximum"] == 64000
    assert models["deepseek.r1-v1:0"]["converse"] is None
    profile = httpx.get(
        f"{simulator.url}/inference-profiles/1arbu5hu2sjr", headers=authorization
    ).json()
    assert profile["createdAt"].endswith("622107Z")
    assert [m["modelArn"].split(":")[3] for m in profile["models"]] == ["us-east-1", ""]


def test_profiles_page_by_page(bedrock: Any) -> None:
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = bedrock.list_inference_profiles(maxResults=40, **token)
        seen += [p["inferenceProfileId"] for p in page["inferenceProfileSummaries"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert len(seen) == len(set(seen)) > 120
    assert {i.split(".")[0] for i in seen} >= {"us", "eu", "apac", "jp", "global"}
    own = bedrock.list_inference_profiles(typeEquals="APPLICATION")["inferenceProfileSummaries"]
    assert {p["inferenceProfileId"] for p in own} == {"1arbu5hu2sjr", "mi1dadi0g15f"}


def test_profiles_fit_the_service_model(bedrock: Any) -> None:
    shape = service_model("bedrock").shape_for("InferenceProfileSummary")
    members = {
        name: re.compile(member.metadata["pattern"])
        for name, member in shape.members.items()
        if "pattern" in member.metadata
    }
    for kind in ("SYSTEM_DEFINED", "APPLICATION"):
        pages = bedrock.list_inference_profiles(typeEquals=kind, maxResults=1000)
        for profile in pages["inferenceProfileSummaries"]:
            for name, pattern in members.items():
                assert pattern.fullmatch(profile[name]), (name, profile[name])
            assert 1 <= len(profile["models"]) <= 5


def test_look_ups(bedrock: Any) -> None:
    by_id = bedrock.get_inference_profile(inferenceProfileIdentifier="mi1dadi0g15f")
    arn = by_id["inferenceProfileArn"]
    by_arn = bedrock.get_inference_profile(inferenceProfileIdentifier=arn)
    assert by_id["models"] == by_arn["models"]
    model = bedrock.get_foundation_model(modelIdentifier=SONNET_4)["modelDetails"]
    assert model["modelId"] == SONNET_4
    granted = bedrock.get_foundation_model_availability(modelId=SONNET_4)
    assert granted["authorizationStatus"] == "AUTHORIZED"
    for call, name in (
        (bedrock.get_inference_profile, "inferenceProfileIdentifier"),
        (bedrock.get_foundation_model, "modelIdentifier"),
    ):
        assert error_of(call, **{name: "nothing"})["Code"] == "ResourceNotFoundException"


def test_other_listings(bedrock: Any) -> None:
    provisioned = bedrock.list_provisioned_model_throughputs()["provisionedModelSummaries"]
    assert provisioned[0]["status"] == "InService"
    imported = bedrock.list_imported_models()["modelSummaries"]
    assert imported[0]["instructSupported"] is True
    deployments = bedrock.list_custom_model_deployments()["modelDeploymentSummaries"]
    assert deployments[0]["status"] == "Active"
    assert bedrock.list_marketplace_model_endpoints()["marketplaceModelEndpoints"] == []
    assert bedrock.list_custom_models()["modelSummaries"] == []
    assert len(bedrock.list_prompt_routers()["promptRouterSummaries"]) == 1


def test_bad_queries(bedrock: Any) -> None:
    call = bedrock.list_inference_profiles
    assert error_of(call, maxResults=0)["Code"] == "ValidationException"
    assert error_of(call, nextToken="!!")["Code"] == "ValidationException"
    assert error_of(call, typeEquals="OTHER")["Code"] == "ValidationException"


def test_denials_are_one_by_one(simulator: Simulator, bedrock: Any) -> None:
    simulator.control(denied=["ListInferenceProfiles"], no_access=[SONNET_4])
    denied = error_of(bedrock.list_inference_profiles)
    assert denied["Code"] == "AccessDeniedException"
    assert "is not authorized to perform: bedrock:ListInferenceProfiles" in denied["Message"]
    assert bedrock.list_foundation_models()["modelSummaries"]
    granted = bedrock.get_foundation_model_availability(modelId=SONNET_4)
    assert granted["authorizationStatus"] == "NOT_AUTHORIZED"


def test_models_without_access(simulator: Simulator, runtime: Any) -> None:
    simulator.control(no_access=["amazon.nova-micro-v1:0"])
    error = error_of(
        runtime.converse,
        modelId="amazon.nova-micro-v1:0",
        messages=[{"role": "user", "content": [{"text": "Hi"}]}],
    )
    assert error == {
        "Code": "AccessDeniedException",
        "Message": "You don't have access to the model with the specified model ID.",
    }


def invoked(runtime: Any, model: str, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    answer = runtime.invoke_model(modelId=model, body=json.dumps(body))
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return json.loads(answer["body"].read()), int(headers["x-amzn-bedrock-input-token-count"])


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_titan_embeddings(runtime: Any) -> None:
    model = "amazon.titan-embed-text-v2:0"
    answer, tokens = invoked(runtime, model, {"inputText": "red apple pie", "dimensions": 256})
    assert len(answer["embedding"]) == 256
    assert answer["inputTextTokenCount"] == tokens
    near, _ = invoked(runtime, model, {"inputText": "green apple pie", "dimensions": 256})
    far, _ = invoked(runtime, model, {"inputText": "quantum field", "dimensions": 256})
    here = answer["embedding"]
    assert cosine(here, here) == pytest.approx(1)
    assert cosine(here, near["embedding"]) > 0.4 > cosine(here, far["embedding"])
    first, _ = invoked(runtime, "amazon.titan-embed-text-v1", {"inputText": "a"})
    assert len(first["embedding"]) == 1536


def test_cohere_and_nova_embeddings(runtime: Any) -> None:
    body = {"texts": ["one", "two"], "input_type": "search_document"}
    third, tokens = invoked(runtime, "cohere.embed-english-v3", body)
    assert [len(v) for v in third["embeddings"]] == [1024, 1024]
    assert tokens == 2
    fourth, _ = invoked(runtime, "us.cohere.embed-v4:0", {**body, "output_dimension": 256})
    assert [len(v) for v in fourth["embeddings"]["float"]] == [256, 256]
    bits, _ = invoked(
        runtime, "cohere.embed-english-v3", {**body, "embedding_types": ["int8", "ubinary"]}
    )
    assert len(bits["embeddings"]["ubinary"][0]) == 128
    params = {
        "embeddingPurpose": "GENERIC_INDEX",
        "embeddingDimension": 384,
        "text": {"truncationMode": "END", "value": "hello"},
    }
    nova, _ = invoked(
        runtime,
        "amazon.nova-2-multimodal-embeddings-v1:0",
        {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params},
    )
    assert len(nova["embeddings"][0]["embedding"]) == 384


def test_marengo_embeddings(runtime: Any) -> None:
    old, tokens = invoked(runtime, MARENGO_2, {"inputType": "text", "inputText": "word " * 99})
    assert (len(old["data"][0]["embedding"]), tokens) == (1024, 77)  # cut off at its end
    new, _ = invoked(runtime, MARENGO_3, {"inputType": "text", "text": {"inputText": "a cat"}})
    assert len(new["data"][0]["embedding"]) == 512


@pytest.mark.parametrize(
    ("model", "body", "sentence"),
    [
        (MARENGO_2, {"inputType": "image"}, "#/inputType"),
        (MARENGO_2, {"inputType": "text", "text": {"inputText": "a"}}, "[text]"),
        (MARENGO_2, {"inputType": "text"}, "[inputText]"),
        (
            MARENGO_2,
            {"inputType": "text", "inputText": "word " * 99, "textTruncate": "none"},
            "maximum of 77",
        ),
        (MARENGO_2, {"inputType": "text", "inputText": "a", "textTruncate": "start"}, "Truncate"),
        (MARENGO_3, {"inputType": "text", "inputText": "a"}, "[inputText]"),
        ("amazon.titan-embed-text-v2:0", {}, "required key [inputText]"),
        ("amazon.titan-embed-text-v2:0", {"inputText": ""}, "minLength"),
        ("amazon.titan-embed-text-v2:0", {"inputText": "a", "dimensions": 7}, "dimensions"),
        ("amazon.titan-embed-text-v1", {"inputText": "a", "dimensions": 256}, "[dimensions]"),
        ("cohere.embed-english-v3", {"texts": ["a"]}, "[input_type]"),
        (
            "cohere.embed-english-v3",
            {"texts": ["a"] * 97, "input_type": "search_query"},
            "maximum item count: 96",
        ),
        ("amazon.nova-micro-v1:0", {"messages": []}, "embedding models only"),
    ],
)
def test_embedding_refusals(runtime: Any, model: str, body: dict[str, Any], sentence: str) -> None:
    error = error_of(runtime.invoke_model, modelId=model, body=json.dumps(body))
    assert error["Code"] == "ValidationException"
    assert sentence in error["Message"]


def test_count_tokens(runtime: Any) -> None:
    messages = [{"role": "user", "content": [{"text": "word " * 40}]}]
    given = {"converse": {"messages": messages}}
    counted = runtime.count_tokens(modelId=SONNET_4, input=given)["inputTokens"]
    used = runtime.converse(modelId=f"us.{SONNET_4}", messages=messages)["usage"]
    assert counted == used["inputTokens"] == 50
    native = {"invokeModel": {"body": json.dumps({"messages": [{"content": "hello there"}]})}}
    assert runtime.count_tokens(modelId=SONNET_4, input=native)["inputTokens"] >= 1
    error = error_of(runtime.count_tokens, modelId=f"us.{SONNET_4}", input=given)
    assert error["Message"] == "The provided model doesn't support counting tokens."
    error = error_of(runtime.count_tokens, modelId="no.such", input=given)
    assert error["Message"] == "The provided model identifier is invalid."
    tools = {"invokeModel": {"body": json.dumps({"tools": [{"type": "web_search_20250305"}]})}}
    error = error_of(runtime.count_tokens, modelId=SONNET_4, input=tools)
    assert error["Message"].startswith("tools.0: Input tag 'web_search_20250305' found")
