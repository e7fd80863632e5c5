"""The main job, whole: the real openai SDK against the proxy against the simulator."""

from typing import Any

import openai
import pytest

from tests.support.running import Running, wait_until

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look up the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.mark.parametrize("model", [SONNET, NOVA, LLAMA])
def test_a_whole_answer(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Say hello."},
        ],
        max_tokens=200,
    )
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == model
    [choice] = answer.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.message.tool_calls is None
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("model", [SONNET, NOVA, LLAMA])
def test_a_stream_has_the_parts_in_order(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Count to five."}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {model}
    first, *middle, finish, usage = chunks
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content == ""
    assert all(chunk.choices[0].delta.role is None for chunk in middle)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle)
    assert finish.choices[0].finish_reason == "stop"
    assert finish.choices[0].delta.content is None
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_stream_and_whole_answer_say_the_same(client: openai.OpenAI) -> None:
    question: Any = {
        "model": SONNET,
        "messages": [{"role": "user", "content": "Tell me about fjords, naïvely, ☃ please."}],
    }
    whole = client.chat.completions.create(**question)
    with client.chat.completions.stream(**question) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.content == whole.choices[0].message.content


@pytest.mark.parametrize("model", [SONNET, NOVA, LLAMA])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_tool_loop(client: openai.OpenAI, model: str, streamed: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "Use get_weather for Oslo."}]
    first = ask(client, streamed, model=model, messages=messages, tools=[WEATHER])
    assert first.choices[0].finish_reason == "tool_calls"
    [call] = first.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert call.id
    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "4 degrees and rain"})
    second = ask(client, streamed, model=model, messages=messages, tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert "4 degrees" in second.choices[0].message.content


def ask(client: openai.OpenAI, streamed: bool, **question: Any) -> Any:
    if not streamed:
        return client.chat.completions.create(**question)
    with client.chat.completions.stream(**question) as stream:
        return stream.get_final_completion()


def test_parallel_tool_calls_have_indexes_of_their_own(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=SONNET,
        messages=[{"role": "user", "content": "In parallel: get_weather for Oslo and Bergen."}],
        tools=[WEATHER],
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert len(message.tool_calls) >= 2
    assert len({call.id for call in message.tool_calls}) == len(message.tool_calls)


@pytest.mark.parametrize("model", [SONNET, NOVA])
def test_limits_and_stops(client: openai.OpenAI, model: str) -> None:
    question: Any = {
        "model": model,
        "messages": [{"role": "user", "content": "Write 200 words about the sea."}],
    }
    cut = client.chat.completions.create(**question, max_completion_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens <= 5
    whole = client.chat.completions.create(**question).choices[0].message.content
    assert whole is not None
    word = whole.split()[10]
    stopped = client.chat.completions.create(**question, stop=word, temperature=0.2)
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == whole[: whole.index(word)]


@pytest.mark.parametrize("stream", [True, False])
def test_several_choices(client: openai.OpenAI, stream: bool) -> None:
    question: Any = {"model": SONNET, "messages": [{"role": "user", "content": "Hi"}], "n": 3}
    if stream:
        indexes = {
            choice.index
            for chunk in client.chat.completions.create(**question, stream=True)
            for choice in chunk.choices
        }
    else:
        indexes = {choice.index for choice in client.chat.completions.create(**question).choices}
    assert indexes == {0, 1, 2}


@pytest.mark.anyio
async def test_the_async_client(proxy: Running) -> None:
    async with openai.AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key="x") as client:
        stream = await client.chat.completions.create(
            model=NOVA, messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text
        ids = [model.id async for model in client.models.list()]
        assert NOVA in ids


@pytest.mark.parametrize(
    ("asked", "told"),
    [("auto", "default"), ("default", "default"), ("scale", "default"), ("flex", "flex"),
     (openai.omit, None)],
)  # fmt: skip
def test_the_tier_is_told_to_who_asked_for_one(
    client: openai.OpenAI, asked: Any, told: str | None
) -> None:
    question: Any = {
        "model": SONNET,
        "messages": [{"role": "user", "content": "Hi"}],
        "service_tier": asked,
    }
    assert client.chat.completions.create(**question).service_tier == told
    usage: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(**question, stream=True, stream_options=usage))
    assert chunks[-1].service_tier == told


def test_models(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {SONNET, NOVA} <= set(listed)
    assert "anthropic.claude-sonnet-4-5-20250929-v1:0" not in listed
    one = client.models.retrieve(SONNET)
    assert one.object == "model"
    assert one == listed[SONNET]
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("us.anthropic.claude-sonnet-4-6-nope")
    assert caught.value.code == "model_not_found"
    assert "us.anthropic.claude-sonnet" in caught.value.message


@pytest.mark.parametrize("name", ["nope", "gpt-4o", "amazon.nova-lite-v9:0"])
def test_a_model_that_is_not_there(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_listings_have_request_ids(client: openai.OpenAI) -> None:
    assert (client.models.with_raw_response.list().request_id or "").startswith("req_")
    assert (client.models.retrieve(SONNET)._request_id or "").startswith("req_")


def test_the_responses_api_is_pointed_to_chat(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model=SONNET, input="Hi")
    assert caught.value.code == "unknown_url"
    assert "POST /v1/chat/completions" in caught.value.message


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1", "/openai/v1", "", "//v1/"])
def test_every_prefix(proxy: Running, prefix: str) -> None:
    with openai.OpenAI(base_url=proxy.url + prefix, api_key="x", max_retries=0) as client:
        answer = client.chat.completions.create(
            model=SONNET, messages=[{"role": "user", "content": "Hi"}]
        )
        assert answer.choices[0].message.content


def test_headers_tell_mode_model_and_request_ids(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="anthropic.claude-sonnet-4-5-20250929-v1:0",
        messages=[{"role": "user", "content": "Hi"}],
    )
    assert raw.headers["x-bedrock-proxy-mode"] == "simulator"
    assert raw.headers["x-bedrock-proxy-model"] == SONNET
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-amzn-requestid"]


def test_metrics_of_the_hot_path(client: openai.OpenAI, proxy: Running) -> None:
    def total(name: str) -> float:
        return sum(value for key, value in proxy.samples().items() if key.startswith(name))

    # An answer is recorded after its last byte: the one before may still be on its way there.
    wait_until(lambda: total("bedrock_proxy_requests_in_flight") == 0)
    before = total("bedrock_proxy_requests_total"), total("bedrock_proxy_tokens_total")
    list(
        client.chat.completions.create(
            model=SONNET, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
    )
    wait_until(lambda: total("bedrock_proxy_requests_in_flight") == 0)
    samples = proxy.samples()
    assert total("bedrock_proxy_requests_total") == before[0] + 1
    assert total("bedrock_proxy_tokens_total") > before[1]
    assert total("bedrock_proxy_streams_in_flight") == 0
    label = f'{{model="{SONNET}"}}'
    assert samples[f"bedrock_proxy_time_to_first_token_seconds_count{label}"] >= 1
    assert samples[f"bedrock_proxy_upstream_first_event_seconds_count{label}"] >= 1
