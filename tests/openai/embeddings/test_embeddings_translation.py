"""InvokeModel bodies and answers of each kind of embedding model, without IO.

The recorded exchanges are read where they lie beside the project: what we send for the same text
must be what was recorded, up to members that are named here with a reason.
"""

import json
import re
import struct
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.converse.native import native
from proxy.dialect import Options, Stamp, Translation
from proxy.errors import ProxyError
from proxy.openai.embeddings.from_invoke import EmbeddingsCollector, render
from proxy.openai.embeddings.request import parse_request
from proxy.openai.embeddings.to_invoke import translate

CAPTURES = Path(__file__).parents[3].parent / "shared" / "captures"
RUBY = "Ruby is a programmer's best friend"
STAMP = Stamp("0" * 16, 1_790_000_000, "client-name")
TITAN = "amazon.titan-embed-text-v2:0"
COHERE_3 = "cohere.embed-english-v3"
COHERE_4 = "cohere.embed-v4:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
MARENGO = "twelvelabs.marengo-embed-2-7-v1:0"

RECORDED = {
    "crmne--ruby_llm/mbedding-basic-functionality-bedrock-amazon-titan-embed-text-v2-0-can-handle-"
    "a-single-text.json": {},
    "crmne--ruby_llm/embedding-bedrock-embedding-dialects-bedrock-us-cohere-embed-v4-0-embeds-"
    "a-single-text.json": {},
    "crmne--ruby_llm/k-embedding-dialects-bedrock-amazon-nova-2-multimodal-embeddings-v1-0-embeds-"
    "a-single-text.json": {"truncate": "end", "dimensions": 256},
    "DataDog--dd-trace-py/cohere-embedding.json": {},
}
# What we always say: the default of the recorded service, so that no release changes it for us.
SAID_ALOUD = {"truncate": "NONE", "embedding_types": ["float"]}


def asked(model_id: str, **body: Any) -> Translation:
    request = parse_request(orjson.dumps({"model": "m", "input": "a", **body}), {})
    foundation = model_id.removeprefix("us.")
    return translate(
        request, Model("m", model_id, foundation, "m", traits_for(foundation)), Options()
    )


def answered(translation: Translation, *answers: Any, tokens: str = "7") -> dict[str, Any]:
    collectors = []
    for index, answer in enumerate(answers):
        one = EmbeddingsCollector(translation, STAMP, index)
        headers = {"x-amzn-bedrock-input-token-count": tokens} if tokens else {}
        one.add(native(answer, headers))
        one.add(())
        collectors.append(one)
    return json.loads(render(translation, STAMP, collectors))


@pytest.mark.parametrize("name", RECORDED)
def test_we_ask_and_read_as_was_recorded(name: str) -> None:
    if not CAPTURES.exists():
        pytest.skip("the recordings do not lie beside the project")
    exchange = json.loads((CAPTURES / name).read_text())
    sent = exchange["request"]["body"]
    text = sent.get("inputText") or sent.get("texts") or RUBY
    translation = asked(exchange["model"], input=text, **RECORDED[name])
    ours = {key: value for key, value in translation.body.items() if sent.get(key) == value}
    rest = {key: value for key, value in translation.body.items() if key not in ours}
    assert ours == sent
    assert rest == {key: SAID_ALOUD[key] for key in rest}
    # Recorded vectors are cut: a word says so in the place of the rest.
    answer = exchange["response"]["body"]
    shown = json.loads(re.sub(r', "… \d+ more[^"]*"', "", json.dumps(answer, ensure_ascii=False)))
    if RECORDED[name].get("dimensions"):
        translation = asked(exchange["model"], input=text, truncate="end")
    body = answered(translation, shown, tokens=exchange["response"]["headers"].get(
        "x-amzn-bedrock-input-token-count", ""
    ))  # fmt: skip
    count = len(text) if isinstance(text, list) else 1
    assert len(body["data"]) == count
    assert all(len(entry["embedding"]) >= 3 for entry in body["data"])
    assert body["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize(
    ("word", "cohere", "nova"),
    [
        ("search_query", "search_query", "GENERIC_RETRIEVAL"),
        ("Query", "search_query", "GENERIC_RETRIEVAL"),
        ("passage", "search_document", "GENERIC_INDEX"),
        ("retrieval.passage", "search_document", "GENERIC_INDEX"),
        ("clustering", "clustering", "CLUSTERING"),
        ("classification", "classification", "CLASSIFICATION"),
        (None, "search_document", "GENERIC_INDEX"),
    ],
)
def test_purposes(word: str | None, cohere: str, nova: str) -> None:
    assert asked(COHERE_3, input_type=word).bodies[0]["input_type"] == cohere
    params = asked(NOVA, task=word).bodies[0]["singleEmbeddingParams"]
    assert params["embeddingPurpose"] == nova


def test_truncation_in_each_vendor_s_words() -> None:
    assert asked(COHERE_3, truncate="END").bodies[0]["truncate"] == "END"
    assert asked(COHERE_4, truncate="END").bodies[0]["truncate"] == "RIGHT"
    assert asked(COHERE_4, truncate="left").bodies[0]["truncate"] == "LEFT"
    text = asked(NOVA, truncate="start").bodies[0]["singleEmbeddingParams"]["text"]
    assert text["truncationMode"] == "START"
    assert asked(MARENGO, truncate="end").bodies[0]["textTruncate"] == "end"
    with pytest.raises(ProxyError) as caught:
        asked(MARENGO, truncate="start")
    assert caught.value.param == "truncate"


def test_dimensions_in_each_vendor_s_words() -> None:
    assert asked(TITAN, dimensions=256).bodies[0]["dimensions"] == 256
    assert asked(COHERE_4, dimensions=256).bodies[0]["output_dimension"] == 256
    assert (
        asked(NOVA, dimensions=384).bodies[0]["singleEmbeddingParams"]["embeddingDimension"] == 384
    )
    image = asked("amazon.titan-embed-image-v1", dimensions=384).bodies[0]
    assert image["embeddingConfig"] == {"outputEmbeddingLength": 384}
    for one_size in ("amazon.titan-embed-text-v1", COHERE_3, MARENGO):
        [size] = traits_for(one_size).embed_sizes
        assert str(size) not in str(asked(one_size, dimensions=size).bodies[0])


def test_batches() -> None:
    translation = asked(COHERE_3, input=[f"t{n}" for n in range(200)])
    assert [len(body["texts"]) for body in translation.bodies] == [96, 96, 8]
    assert translation.choices == 3
    assert translation.body == translation.bodies[0]
    assert [body["inputText"] for body in asked(TITAN, input=["a", "b"]).bodies] == ["a", "b"]


def test_batches_are_put_together_in_order() -> None:
    translation = asked(TITAN, input=["a", "b"])
    body = answered(translation, {"embedding": [1.0, 0.0]}, {"embedding": [0.0, 1.0]})
    assert body == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, 0.0]},
            {"object": "embedding", "index": 1, "embedding": [0.0, 1.0]},
        ],
        "model": "client-name",
        "usage": {"prompt_tokens": 14, "total_tokens": 14},
    }


def test_a_price_reaches_usage() -> None:
    priced = replace(asked(TITAN), price={"input": 0.02})
    assert answered(priced, {"embedding": [1.0]}, tokens="1000")["usage"]["cost"] == 0.00002


def test_marengo_s_shapes() -> None:
    for data in ({"embedding": [1.0]}, [{"embedding": [1.0], "embeddingOption": "text"}]):
        body = answered(asked(MARENGO), {"data": data}, tokens="")
        assert body["data"][0]["embedding"] == [1.0]
        assert body["usage"]["total_tokens"] == 0  # nothing told it


def test_titan_s_own_count_stands_in_for_the_header() -> None:
    body = answered(asked(TITAN), {"embedding": [1], "inputTextTokenCount": 5}, tokens="")
    assert body["usage"]["prompt_tokens"] == 5


def test_base64() -> None:
    body = answered(asked(TITAN, encoding_format="base64"), {"embedding": [0.5, -2, 3e-9]})
    raw = b64decode(body["data"][0]["embedding"])
    assert struct.unpack("<3f", raw) == pytest.approx((0.5, -2.0, 3e-9))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"embedding": []},
        {"embedding": "AAAA"},
        {"embedding": [1, "2"]},
        {"embedding": [1e300]},
        {"embedding": {"float": [1]}},
        {"embeddings": []},
        {"embeddings": [[1.0], [2.0]]},
        {"embeddings": {"int8": [[1]]}},
        {"data": None},
    ],
)
@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_an_answer_with_other_vectors_is_no_success(answer: Any, encoding: str) -> None:
    with pytest.raises(ProxyError) as caught:
        answered(asked(TITAN, encoding_format=encoding), answer)
    assert caught.value.status == 502


def test_a_vector_of_another_size_is_no_success() -> None:
    with pytest.raises(ProxyError):
        answered(asked(TITAN, dimensions=256), {"embedding": [1.0] * 255})


@pytest.mark.parametrize("answer", [[], "x", None, 7])
def test_an_answer_that_is_no_object(answer: Any) -> None:
    with pytest.raises(ProxyError) as caught:
        native(answer, {"x-amzn-requestid": "r-1"})
    assert (caught.value.status, caught.value.upstream_id) == (502, "r-1")


@pytest.mark.parametrize("count", ["", "many", "-3", "²", "9" * 40])
def test_a_count_that_is_none(count: str) -> None:
    [(_, body)] = native({}, {"x-amzn-bedrock-input-token-count": count})
    assert body["inputTokens"] is None
