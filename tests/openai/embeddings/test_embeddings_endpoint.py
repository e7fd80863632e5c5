"""Embeddings, whole: the real openai SDK against the proxy against the simulator."""

import base64
import math
import struct
from typing import Any

import httpx
import openai
import pytest

from proxy.simulator import Simulator
from tests.support.running import Running, serving, wait_until

TITAN = "amazon.titan-embed-text-v2:0"
TITAN_1 = "amazon.titan-embed-text-v1"
COHERE_3 = "cohere.embed-english-v3"
COHERE_4 = "us.cohere.embed-v4:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
MARENGO_2 = "us.twelvelabs.marengo-embed-2-7-v1:0"
MARENGO_3 = "twelvelabs.marengo-embed-3-0-v1:0"
SIZES = {
    TITAN: 1024, TITAN_1: 1536, COHERE_3: 1024, COHERE_4: 1536, NOVA: 3072,
    MARENGO_2: 1024, MARENGO_3: 512,
}  # fmt: skip


def post(proxy: Running, **body: Any) -> httpx.Response:
    return httpx.post(f"{proxy.url}/v1/embeddings", json=body, timeout=30)


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize(("model", "size"), SIZES.items())
def test_each_family_answers(client: openai.OpenAI, model: str, size: int) -> None:
    answer = client.embeddings.create(model=model, input="Ruby is a programmer's best friend")
    assert answer.object == "list"
    assert answer.model == model
    [entry] = answer.data
    assert (entry.object, entry.index, len(entry.embedding)) == ("embedding", 0, size)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


@pytest.mark.parametrize("model", SIZES)
def test_the_order_of_the_input_is_kept_over_batches(client: openai.OpenAI, model: str) -> None:
    """100 texts are 100 calls of Titan, and two of Cohere."""
    texts = [f"word{index} only{index}" for index in range(100)]
    many = client.embeddings.create(model=model, input=texts)
    assert [entry.index for entry in many.data] == list(range(100))
    for index in (0, 95, 96, 99):
        alone = client.embeddings.create(model=model, input=texts[index]).data[0].embedding
        assert cosine(alone, many.data[index].embedding) > 0.999
    assert cosine(many.data[0].embedding, many.data[1].embedding) < 0.9
    assert many.usage.prompt_tokens >= 100


@pytest.mark.parametrize(("model", "size"), [(TITAN, 256), (COHERE_4, 512), (NOVA, 384)])
def test_dimensions(client: openai.OpenAI, model: str, size: int) -> None:
    answer = client.embeddings.create(model=model, input="a", dimensions=size)
    assert len(answer.data[0].embedding) == size


@pytest.mark.parametrize(
    ("model", "size", "known"),
    [(TITAN, 300, "256 or 512 or 1024"), (COHERE_3, 256, "1024"), (TITAN_1, 256, "1536")],
)
def test_dimensions_that_a_model_has_not(
    client: openai.OpenAI, model: str, size: int, known: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=model, input="a", dimensions=size)
    assert caught.value.param == "dimensions"
    assert known in caught.value.message
    own = SIZES[model]
    assert len(client.embeddings.create(model=model, input="a", dimensions=own).data[0].embedding)


def test_base64_is_float32_in_little_endian(proxy: Running) -> None:
    numbers = post(proxy, model=TITAN, input="a", encoding_format="float").json()
    packed = post(proxy, model=TITAN, input="a", encoding_format="base64").json()
    raw = base64.b64decode(packed["data"][0]["embedding"])
    told = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert told == pytest.approx(numbers["data"][0]["embedding"], rel=1e-6)
    assert post(proxy, model=TITAN, input="a").json() == numbers  # OpenAI's default is float


@pytest.mark.parametrize("value", [[1, 2, 3], [[1, 2], [3]], ["a", [1]], ["a", 7]])
def test_token_ids_are_refused_with_what_to_switch_off(proxy: Running, value: Any) -> None:
    answer = post(proxy, model=TITAN, input=value)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["param"] in ("input[0]", "input[1]")
    assert "check_embedding_ctx_length=False" in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": TITAN}, "input"),
        ({"model": TITAN, "input": []}, "input"),
        ({"model": TITAN, "input": ""}, "input"),
        ({"model": TITAN, "input": ["a", " "]}, "input[1]"),
        ({"model": TITAN, "input": {"text": "a"}}, "input"),
        ({"model": TITAN, "input": [True]}, "input[0]"),
        ({"model": TITAN, "input": ["a"] * 2049}, "input"),
        ({"input": "a"}, "model"),
        ({"model": TITAN, "input": "a", "dimensions": 0}, "dimensions"),
        ({"model": TITAN, "input": "a", "dimensions": "256"}, "dimensions"),
        ({"model": TITAN, "input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"model": TITAN, "input": "a", "input_type": "poem"}, "input_type"),
        ({"model": TITAN, "input": "a", "task": "poem"}, "task"),
        ({"model": TITAN, "input": "a", "truncate": "END"}, "truncate"),
        ({"model": COHERE_3, "input": "a", "truncate": "middle"}, "truncate"),
        ({"model": SONNET, "input": "a"}, "model"),
        ({"model": "who.knows", "input": "a"}, "model"),
        ({"model": TITAN, "input": "a", "user": 7}, "user"),
    ],
)
def test_a_fault_names_its_parameter(proxy: Running, body: Any, param: str) -> None:
    answer = post(proxy, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_bedrock_s_own_refusal_is_passed_on(proxy: Running) -> None:
    answer = post(proxy, model=TITAN, input="word " * 20_000)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_embedding_models_are_listed_when_asked_for(proxy: Running) -> None:
    def ids(query: str) -> set[str]:
        body = httpx.get(f"{proxy.url}/v1/models{query}").json()
        return {entry["id"] for entry in body["data"]}

    assert TITAN not in ids("")
    assert SONNET in ids("")
    assert {TITAN, COHERE_3, NOVA} <= ids("?type=embedding")
    assert SONNET not in ids("?type=embedding")
    assert {TITAN, SONNET} <= ids("?type=all")
    wrong = httpx.get(f"{proxy.url}/v1/models?type=vision")
    assert wrong.status_code == 400
    assert wrong.json()["error"]["param"] == "type"


def test_each_listed_embedding_model_answers(proxy: Running) -> None:
    listed = httpx.get(f"{proxy.url}/v1/models?type=embedding").json()["data"]
    assert len(listed) > 8
    for entry in listed:
        body = post(proxy, model=entry["id"], input="a word", encoding_format="float").json()
        assert len(body["data"][0]["embedding"]) >= 512, entry["id"]


def test_a_listed_embedding_model_tells_its_sizes(proxy: Running) -> None:
    told = httpx.get(f"{proxy.url}/v1/models/{TITAN}").json()
    assert told["embedding_dimensions"] == [256, 512, 1024]
    assert told["context_window"] == 8192
    assert "max_output_tokens" not in told
    assert "embedding_dimensions" not in httpx.get(f"{proxy.url}/v1/models/{SONNET}").json()


def test_chat_with_an_embedding_model_says_where_to_go(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=TITAN, messages=[{"role": "user", "content": "Hi"}])
    assert "/v1/embeddings" in caught.value.message
    assert caught.value.param == "model"


def test_metrics_have_an_endpoint_of_their_own(client: openai.OpenAI, proxy: Running) -> None:
    name = f'bedrock_proxy_requests_total{{code="ok",endpoint="embeddings",model="{TITAN}"'
    tokens = f'bedrock_proxy_tokens_total{{model="{TITAN}",type="input"}}'

    def figure(start: str) -> float:
        return sum(v for key, v in proxy.samples().items() if key.startswith(start))

    wait_until(lambda: figure("bedrock_proxy_requests_in_flight") == 0)
    before, had = figure(name), figure(tokens)
    answer = client.embeddings.create(model=TITAN, input=["one two", "three"])
    wait_until(lambda: figure(name) == before + 1)
    assert figure(tokens) == had + answer.usage.prompt_tokens
    calls = [key for key in proxy.samples() if 'operation="invoke"' in key and TITAN in key]
    assert any(key.startswith("bedrock_proxy_upstream_requests_total") for key in calls)


def test_headers_tell_one_request_id_of_many_calls(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=COHERE_4, input=["a"] * 200, extra_body={"input_type": "search_query"}
    )
    assert raw.headers["x-bedrock-proxy-model"] == COHERE_4
    assert raw.headers.get_list("x-amzn-requestid")[1:] == []


def test_a_purpose_that_a_model_has_not_is_noted(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=TITAN, input="a", extra_body={"input_type": "query"}
    )
    assert raw.headers["x-bedrock-proxy-notes"] == "input_type:dropped"


def test_a_user_is_noted_and_not_passed_on(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model=COHERE_4, input="a", user="u-1")
    assert raw.headers["x-bedrock-proxy-notes"] == "user:dropped"
    raw = client.embeddings.with_raw_response.create(model=COHERE_4, input="a", user="")
    assert "x-bedrock-proxy-notes" not in raw.headers


def test_a_request_without_a_model_goes_to_the_default(proxy: Running) -> None:
    unnamed = post(proxy, input="a")
    assert unnamed.status_code == 400
    assert unnamed.json()["error"]["param"] == "model"
    with Simulator() as simulator:
        for default in (COHERE_3, "vectors"):
            settings = {"default_embedding_model": default, "default_model": SONNET}
            with serving(
                simulator.url, settings=settings | {"aliases": f"vectors={COHERE_3}"},
                access_key=simulator.access_key, secret_key=simulator.secret_key,
            ) as with_default:  # fmt: skip
                for body in ({}, {"model": None}, {"model": "text-embedding-3-small"}):
                    answer = post(with_default, input="a", **body)
                    assert answer.status_code == 200
                    assert answer.headers["x-bedrock-proxy-model"] == COHERE_3
                    assert answer.json()["model"] == (body.get("model") or default)
                assert post(with_default, input="a", model="").status_code == 400
