"""What AWS was recorded accepting, the simulator accepts; what it refused, it refuses.

Reads the recorded exchanges beside the repository (`../shared/captures`, not part of it). Three
things in them cannot be replayed and are put back first: media that the recordings leave out, the
service's own signatures of reasoning (minted anew for the same text), and account-bound profiles.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from proxy.simulator import Simulator
from proxy.simulator.answer import converse_body
from proxy.simulator.brain import answer as think
from proxy.simulator.brain import chance_of
from proxy.simulator.caching import PromptCache
from proxy.simulator.control_plane import respond
from proxy.simulator.counting import count_tokens
from proxy.simulator.embeddings import embed
from proxy.simulator.estate import Estate
from proxy.simulator.judge import judge
from proxy.simulator.refusals import Refusal
from proxy.simulator.signatures import Ledger

CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "captures"
MEDIA = {
    "png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(40),
    "pdf": b"%PDF-1.4\n" + bytes(40),
}
# Not about the request: credentials, and a prompt that its recorder replaced by a placeholder.
UNREPLAYABLE = ("auth-error", "context-length-exceeded")
# Labelled real, yet its answer carries an invented request id.
INVENTED = "test-request-id"

pytestmark = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="no recorded exchanges beside the repo"
)


def recorded() -> list[tuple[str, dict[str, Any]]]:
    exchanges = []
    for path in sorted(CAPTURES.glob("*/*.json")):
        exchange = json.loads(path.read_text())
        usable = exchange["recorded"] == "real" and exchange["model"]
        converse = exchange["operation"] in ("Converse", "ConverseStream")
        request_id = (exchange["response"].get("headers") or {}).get("x-amzn-requestid", "")
        if not (usable and converse and isinstance(exchange["request"]["body"], dict)):
            continue
        if request_id.startswith(INVENTED) or any(word in path.name for word in UNREPLAYABLE):
            continue
        exchanges.append((f"{path.parent.name}/{path.name}", exchange))
    return exchanges


def restore(value: Any, ledger: Ledger, model: str, form: str = "pdf") -> Any:
    """The request with media and signatures put back."""
    if isinstance(value, list):
        return [restore(inner, ledger, model, form) for inner in value]
    if not isinstance(value, dict):
        return value
    form = value.get("format", form)
    restored = {name: restore(inner, ledger, model, form) for name, inner in value.items()}
    data = restored.get("bytes")
    if isinstance(data, str) and data.startswith("<base64"):
        restored["bytes"] = base64.b64encode(MEDIA.get(form, MEDIA["pdf"])).decode()
    if "reasoningText" in restored and "signature" in restored["reasoningText"]:
        text = restored["reasoningText"]["text"]
        restored["reasoningText"]["signature"] = ledger.sign(text, model)
    if "redactedContent" in restored:
        restored["redactedContent"] = ledger.redact("restored", model)
    return restored


# Members that the service has sent since October 2025 and early 2026; older recordings lack them.
YOUNGER = frozenset({"serverToolUsage", "cacheDetails"})


def verdict(exchange: dict[str, Any], estate: Estate) -> tuple[int, str]:
    ledger = Ledger(0)
    model = exchange["model"]
    try:
        foundation = estate.resolve(model).model.id
    except Refusal as refusal:
        return refusal.status, refusal.message
    body = restore(exchange["request"]["body"], ledger, foundation)
    try:
        judge(exchange["operation"], model, body, estate, ledger, "vendor")
    except Refusal as refusal:
        return refusal.status, refusal.message
    return 200, ""


def test_verdicts_agree_with_the_service() -> None:
    estate = Estate.build("us-east-1")
    exchanges = recorded()
    assert len(exchanges) > 250
    disagreements = []
    for name, exchange in exchanges:
        status, message = verdict(exchange, estate)
        response = exchange["response"]
        said = (response.get("body") or {}).get("message", "") if response["status"] != 200 else ""
        if (status, message) != (response["status"], said):
            disagreements.append((name, (response["status"], said), (status, message)))
    assert disagreements == []


def test_counts_and_embeddings_agree_with_the_service() -> None:
    """InvokeModel of other models is not simulated."""
    estate, seen = Estate.build("us-east-1"), Counter[str]()
    for path in sorted(CAPTURES.glob("*/*.json")):
        exchange = json.loads(path.read_text())
        model, body = exchange["model"], exchange["request"]["body"]
        operation, response = exchange["operation"], exchange["response"]
        embeds = operation == "InvokeModel" and "embed" in model and "profile" not in model
        if operation != "CountTokens" and not embeds:
            continue
        told: tuple[int, Any]
        try:
            if embeds:
                told = 200, set(embed(estate.resolve(model).model, body)[0])
            else:
                told = 200, set(count_tokens(model, body, estate, Ledger(0), "vendor"))
        except Refusal as refusal:
            told = refusal.status, refusal.body
        recorded_body = response["body"]
        whole = response["status"] != 200  # of an answer only its members are compared
        assert told == (response["status"], recorded_body if whole else set(recorded_body)), path
        seen[operation] += 1
    assert seen == {"CountTokens": 5, "InvokeModel": 7}


def test_answers_have_the_members_that_were_recorded() -> None:
    """Which members an answer has, and in which order, is a matter of the model."""
    estate, ledger, seen = Estate.build("us-east-1"), Ledger(0), 0
    for name, exchange in recorded():
        model, response = exchange["model"], exchange["response"]
        if response["status"] != 200 or exchange["operation"] != "Converse":
            continue
        foundation = estate.resolve(model).model.id
        asked = restore(exchange["request"]["body"], ledger, foundation)
        made = answered(model, asked, estate, ledger)
        for members in (made, made["usage"], *calls_of(made)):
            assert list(members) == sorted(members), name
        assert set(made["usage"]) - YOUNGER == set(response["body"]["usage"]) - YOUNGER, name
        if calls_of(made) and calls_of(response["body"]):
            typed = [{"type" in use for use in calls_of(one)} for one in (made, response["body"])]
            assert typed[0] == typed[1], name
        seen += 1
    assert seen > 150


def test_search_results_are_cited_as_recorded() -> None:
    [exchange] = [one for name, one in recorded() if name.endswith("as-search-results-1.json")]
    estate, asked = Estate.build("us-east-1"), exchange["request"]["body"]
    made = answered(exchange["model"], asked, estate, Ledger(0))
    [theirs] = citations_of(exchange["response"]["body"])
    assert citations_of(made) == [theirs]
    beside = [*asked["messages"][-1]["content"][0]["toolResult"]["content"], {"text": "Who?"}]
    asked = {"messages": [{"role": "user", "content": beside}]}
    assert citations_of(answered(exchange["model"], asked, estate, Ledger(0))) == [theirs]


def test_listings_have_the_members_that_were_recorded() -> None:
    state = Simulator().state
    read = CAPTURES / "DataDog--dd-trace-py" / "bedrock-converse-inference-profile.json"
    profile = json.loads(read.read_text())["response"]["body"]
    made = respond("GetInferenceProfile", "us.amazon.nova-lite-v1:0", {}, state)
    assert list(made) == sorted(profile)
    read = CAPTURES / "posit-dev--chatlas" / "test-anthropic-models-1.json"
    listed = json.loads(read.read_text())["response"]["body"]
    made = respond("ListFoundationModels", "", {}, state)
    assert list(made) == list(listed)
    [members] = {tuple(summary) for summary in made["modelSummaries"]}
    assert members == tuple(listed["modelSummaries"][0])


def answered(model: str, body: dict[str, Any], estate: Estate, ledger: Ledger) -> dict[str, Any]:
    call = judge("Converse", model, body, estate, ledger, "vendor")
    answer = think(call, ledger, chance_of(call, 0))
    answer.cached = PromptCache().use(call, 0.0)
    return converse_body(call, answer, 1)


def citations_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = body["output"]["message"]["content"]
    told = [block["citationsContent"] for block in blocks if "citationsContent" in block]
    return [citation for one in told for citation in one["citations"]]


def calls_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = body["output"]["message"]["content"]
    return [block["toolUse"] for block in blocks if "toolUse" in block]
