"""Legacy completions, whole: the real openai SDK against the proxy against the simulator."""

from typing import Any

import httpx
import openai
import orjson
import pytest

from proxy.simulator import Simulator
from proxy.simulator.faults import Fault
from tests.support.running import Running, wait_until

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
R1 = "us.deepseek.r1-v1:0"
MODELS = (SONNET, NOVA, LLAMA)


def post(proxy: Running, **body: Any) -> httpx.Response:
    return httpx.post(f"{proxy.url}/v1/completions", json={"model": SONNET, **body}, timeout=30)


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_completion(client: openai.OpenAI, model: str) -> None:
    answer = client.completions.create(model=model, prompt="Say hello.", max_tokens=200)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.model == model
    [choice] = answer.choices
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert choice.text
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_says_the_same(client: openai.OpenAI, model: str) -> None:
    question: Any = {"model": model, "prompt": "Tell me of fjords, naïvely ☃.", "max_tokens": 200}
    whole = client.completions.create(**question).choices[0].text
    chunks = list(
        client.completions.create(**question, stream=True, stream_options={"include_usage": True})
    )
    *said, finish, usage = chunks
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert "".join(chunk.choices[0].text for chunk in said) == whole
    assert all(chunk.choices[0].text for chunk in said)
    assert (finish.choices[0].text, finish.choices[0].finish_reason) == ("", "stop")
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens > 0


def test_the_wire_ends_with_its_mark(proxy: Running) -> None:
    body = post(proxy, prompt="Hi", stream=True, max_tokens=50).text
    assert body.endswith("data: [DONE]\n\n")
    first = orjson.loads(body.split("\n\n")[0].removeprefix("data: "))
    assert set(first) == {"id", "object", "created", "model", "choices"}
    assert set(first["choices"][0]) == {"text", "index", "logprobs", "finish_reason"}


@pytest.mark.parametrize("stream", [True, False])
def test_several_prompts_have_their_choices_in_order(client: openai.OpenAI, stream: bool) -> None:
    prompts = ["Repeat exactly: alpha", "Repeat exactly: beta", "Repeat exactly: gamma"]
    question: Any = {"model": SONNET, "prompt": prompts, "n": 2, "echo": True, "max_tokens": 60}
    texts = [""] * 6
    if stream:
        for chunk in client.completions.create(**question, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
    else:
        choices = client.completions.create(**question).choices
        assert [choice.index for choice in choices] == list(range(6))
        texts = [choice.text for choice in choices]
    for index, text in enumerate(texts):
        assert text.startswith(prompts[index // 2])
        assert len(text) > len(prompts[index // 2])


def test_usage_is_the_sum_of_all_calls(client: openai.OpenAI) -> None:
    one = client.completions.create(model=SONNET, prompt="Say hello.", max_tokens=50).usage
    two = client.completions.create(model=SONNET, prompt=["Say hello."] * 2, max_tokens=50).usage
    assert one is not None
    assert two is not None
    assert two.prompt_tokens == 2 * one.prompt_tokens


def test_limits_and_stops(client: openai.OpenAI) -> None:
    question: Any = {"model": SONNET, "prompt": "Write 200 words about the sea."}
    raw = client.completions.with_raw_response.create(**question)
    cut = raw.parse()
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens <= 16
    assert raw.headers["x-bedrock-proxy-notes"] == "max_tokens:default"
    whole = client.completions.create(**question, max_tokens=500).choices[0].text
    word = whole.split()[10]
    stopped = client.completions.create(**question, max_tokens=500, stop=[word], temperature=0.1)
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].text == whole[: whole.index(word)]


def test_a_stop_that_a_family_does_not_take_is_emulated(client: openai.OpenAI) -> None:
    question: Any = {"model": LLAMA, "prompt": "Write 50 words about the sea.", "max_tokens": 300}
    whole = client.completions.create(**question).choices[0].text
    word = whole.split()[5]
    raw = client.completions.with_raw_response.create(**question, stop=word)
    assert raw.parse().choices[0].text == whole[: whole.index(word)]
    assert "stop:emulated" in raw.headers["x-bedrock-proxy-notes"]


@pytest.mark.parametrize("stream", [True, False])
def test_reasoning_stands_beside_the_text(proxy: Running, stream: bool) -> None:
    answer = post(proxy, model=R1, prompt="Which is bigger?", max_tokens=500, stream=stream)
    if stream:
        chunks = [
            orjson.loads(line[6:])["choices"][0]
            for line in answer.text.splitlines()
            if line.startswith("data: {")
        ]
        reasoning = "".join(chunk.get("reasoning_content", "") for chunk in chunks)
        text = "".join(chunk["text"] for chunk in chunks)
    else:
        choice = answer.json()["choices"][0]
        reasoning, text = choice["reasoning_content"], choice["text"]
    assert reasoning
    assert text
    assert reasoning not in text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": [1, 2]}, "prompt[0]"),
        ({"prompt": ["a", [1]]}, "prompt[1]"),
        ({"prompt": ["a", " "]}, "prompt[1]"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "logprobs": 0}, "logprobs"),
        ({"prompt": "a", "logprobs": 5}, "logprobs"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "best_of": 1, "n": 2}, "best_of"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "n": 9}, "n"),
        ({"prompt": "a", "echo": "yes"}, "echo"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "temperature": 3}, "temperature"),
        ({"prompt": "a", "stop": 7}, "stop"),
        ({"prompt": "a", "model": None}, "model"),
        ({"prompt": "a", "tools": [{"type": "function"}]}, "tools"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "messages"),
        ({"prompt": "a", "model": "amazon.titan-embed-text-v2:0"}, "model"),
    ],
)
def test_a_fault_names_its_parameter(proxy: Running, body: Any, param: str) -> None:
    answer = post(proxy, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_harmless_members_pass(proxy: Running) -> None:
    answer = post(
        proxy, prompt="Hi", suffix=None, logprobs=None, best_of=1, echo=None, tools=None,
        logit_bias={}, user="u", stream=False, max_tokens=30,
    )  # fmt: skip
    assert answer.status_code == 200


def test_a_failure_in_mid_stream_is_told_in_the_stream(
    simulator: Simulator, proxy: Running
) -> None:
    simulator.script(Fault("exception", error="internalServerException", after=4))
    body = post(proxy, prompt="Say hello in twenty words.", stream=True, max_tokens=200).text
    *said, last = [line.removeprefix("data: ") for line in body.splitlines() if line]
    assert said
    assert all(orjson.loads(line)["object"] == "text_completion" for line in said)
    assert orjson.loads(last)["error"]["type"] == "server_error"
    assert "[DONE]" not in body


def test_a_throttled_prompt_of_several_is_an_error_of_all(
    simulator: Simulator, proxy: Running
) -> None:
    simulator.script(Fault("throttle", times=9))
    answer = post(proxy, prompt=["a", "b"], max_tokens=20)
    simulator.reset()
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


def test_the_metrics_know_it_by_name(client: openai.OpenAI, proxy: Running) -> None:
    name = 'bedrock_proxy_requests_total{code="ok",endpoint="completions"'

    def figure() -> float:
        return sum(v for key, v in proxy.samples().items() if key.startswith(name))

    before = figure()
    client.completions.create(model=SONNET, prompt="Hi", max_tokens=20)
    wait_until(lambda: figure() == before + 1)
