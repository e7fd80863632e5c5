"""What the operator fixes for a key, or for all, is in every call, whatever a request says."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.support.tenants import NOVA, SONNET, Tenants, tenants

GUARDRAIL = {"guardrailIdentifier": "keyguard1", "guardrailVersion": "3"}
OWN = {
    "guardrail": {**GUARDRAIL, "streamProcessingMode": "async"},
    "request_metadata": {"team": "search"},
    "service_tier": "flex",
}
TRIES: tuple[dict[str, Any], ...] = (
    {},
    {"guardrailConfig": {"guardrailIdentifier": "mine", "guardrailVersion": "DRAFT"}},
    {"guardrail_config": {"guardrailIdentifier": "mine", "guardrailVersion": "1"}},
    {"guardrailConfig": None, "serviceTier": None, "requestMetadata": None},
    {"guardrailConfig": {}},
    {"extra_body": {"guardrailConfig": {"guardrailIdentifier": "x", "guardrailVersion": "1"}}},
    {"additionalModelRequestFields": {"amazon-bedrock-guardrailConfig": {"tagSuffix": "x"}}},
    {"amazon-bedrock-guardrailConfig": {"tagSuffix": "x"}},
    {"service_tier": "priority"},
    {"service_tier": "default"},
    {"serviceTier": {"type": "priority"}},
    {"serviceTier": "priority"},
    {"requestMetadata": {"team": "mine"}},
    {"request_metadata": {"team": "mine", "job": "x"}},
    {"metadata": {"team": "mine"}},
    {"metadata": {f"k{at}": "v" for at in range(40)}},
    {"performanceConfig": None, "projectIdentifier": None},
)
HEADERS = {
    "x-amzn-bedrock-guardrailidentifier": "mine",
    "x-amzn-bedrock-guardrailversion": "DRAFT",
    "x-amzn-bedrock-trace": "ENABLED_FULL",
    "x-amzn-bedrock-service-tier": "priority",
    "x-amzn-bedrock-request-metadata": '{"team":"mine"}',
}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    settings = {
        "guardrail": "allguard1:7", "request_metadata": "stage=prod", "service_tier": "priority",
        "explain": True, "forward_user": True,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("keys")
    with tenants(folder, {"own": OWN, "plain": {}}, settings) as running:
        yield running


def check_own(body: Any) -> None:
    assert body["guardrailConfig"] == OWN["guardrail"]
    assert body["serviceTier"] == {"type": "flex"}
    assert body["requestMetadata"]["team"] == "search"
    assert body["requestMetadata"]["stage"] == "prod"
    assert len(body["requestMetadata"]) <= 16
    assert "amazon-bedrock-guardrailConfig" not in body.get("additionalModelRequestFields", {})


@pytest.mark.parametrize("fields", TRIES, ids=lambda fields: orjson.dumps(fields).decode()[:60])
@pytest.mark.parametrize("headers", [{}, HEADERS], ids=["", "headers"])
def test_nothing_in_a_request_removes_it(
    proxy: Tenants, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    assert proxy.ask("own", headers=headers, **fields).status_code == 200
    check_own(proxy.last().body)


def test_what_is_for_all_holds_for_a_key_without_its_own(proxy: Tenants) -> None:
    assert proxy.ask("plain", stream=True).status_code == 200
    body = proxy.last().body
    assert body["guardrailConfig"] == {"guardrailIdentifier": "allguard1", "guardrailVersion": "7"}
    assert body["serviceTier"] == {"type": "priority"}
    assert body["requestMetadata"] == {"stage": "prod"}


def test_other_endpoints_too(proxy: Tenants) -> None:
    completion = {"model": NOVA, "prompt": "Hello", "serviceTier": {"type": "priority"}}
    assert proxy.post("own", "/v1/completions", completion, HEADERS).status_code == 200
    check_own(proxy.last().body)
    chat = {"model": SONNET, "messages": [{"role": "user", "content": "Hello"}], **TRIES[1]}
    check_own(proxy.post("own", "/v1/explain", chat, HEADERS).json()["body"])
    embedding = {"model": "amazon.titan-embed-text-v2:0", "input": "Hello"}
    assert proxy.post("own", "/v1/embeddings", embedding, HEADERS).status_code == 200
    sent = proxy.last()
    assert sent.operation == "InvokeModel"
    assert sent.headers["x-amzn-bedrock-service-tier"] == "flex"
    pairs = orjson.loads(sent.headers["x-amzn-bedrock-request-metadata"])
    assert pairs == {"stage": "prod", "team": "search"}
    assert "x-amzn-bedrock-guardrailidentifier" not in sent.headers
    signed = sent.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert {"x-amzn-bedrock-service-tier", "x-amzn-bedrock-request-metadata"} <= {
        *signed.split(";")
    }


def test_a_second_question_keeps_it(proxy: Tenants) -> None:
    """Several choices, tools, a repaired request: every call of them."""
    before = len(proxy.calls())
    assert proxy.ask("own", n=3, temperature=1.7).status_code == 200
    made = proxy.calls()[before:]
    assert len(made) >= 3
    for one in made:
        check_own(one.body)


def test_marks_that_would_shrink_what_is_assessed_are_lifted(proxy: Tenants) -> None:
    parts = [{"type": "guarded_text", "text": "only this"}, {"type": "text", "text": "not this"}]
    assert proxy.ask("own", text=parts).status_code == 200
    assert "guardContent" not in orjson.dumps(proxy.last().body).decode()


def test_a_trace_is_not_shown(proxy: Tenants) -> None:
    """It would tell what the guardrail masked."""
    answer = proxy.ask("own", headers=HEADERS, guardrailConfig={**GUARDRAIL, "trace": "enabled"})
    assert "trace" not in answer.text
