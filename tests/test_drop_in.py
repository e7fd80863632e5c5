"""The successor of bedrock-access-gateway: its environment alone, and its documented calls.

The proxy runs in a process of its own whose environment holds the old gateway's names and AWS's
own, nothing of ours; only the command line says whose environment that is. The calls are those of
the old gateway's README and usage guide (facts; the texts are ours), against the simulator.
"""

import base64
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import orjson
import pytest

from proxy.likeness import LIKENESSES, stand_ins
from proxy.settings import FIELDS, SettingsError, load
from proxy.simulator import Simulator
from tests.support.commands import heard

ROOT = Path(__file__).parents[1]
GATEWAY = "bedrock-access-gateway"
KEY = "the-old-key"
SONNET_3 = "anthropic.claude-3-sonnet-20240229-v1:0"
SONNET_45 = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HAIKU_45 = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
COHERE = "cohere.embed-multilingual-v3"
QUESTION = [{"role": "user", "content": "Which one is bigger, 3.9 or 3.11?"}]


@contextmanager
def started(simulator: Simulator, **variables: str) -> Iterator[tuple[str, str]]:
    """``serve --like``: its URL, and what it said until it listened."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {
        "AWS_ACCESS_KEY_ID": simulator.access_key,
        "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
        "AWS_ENDPOINT_URL_BEDROCK": simulator.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": simulator.url,
        "AWS_REGION": simulator.region,
        "PORT": port,
        **variables,
    }
    with heard("serve", "--like", GATEWAY, **environment) as (_, url, said):
        assert urlsplit(url).port == int(port)
        yield f"http://127.0.0.1:{port}", said


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[tuple[str, str]]:
    with started(
        simulator,
        API_KEY=KEY,
        DEFAULT_MODEL=SONNET_45,
        ENABLE_PROMPT_CACHING="false",
        DEBUG="false",
    ) as one:
        yield one


@pytest.fixture(scope="module")
def client(gateway: tuple[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway[0]}/api/v1", api_key=KEY, max_retries=0) as one:
        yield one


def post(gateway: tuple[str, str], path: str, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{gateway[0]}/api/v1/{path}", json=body, headers=headers, timeout=30)


# ---- what it says, and its doors ----------------------------------------------------------------


def test_the_start_up_line_says_what_was_read(gateway: tuple[str, str]) -> None:
    said = gateway[1]
    assert "like bedrock-access-gateway: read API_KEY, AWS_REGION, DEFAULT_MODEL" in said
    assert "PORT" in said
    assert "its defaults for cors_origins, default_embedding_model, host, reasoning_as" in said
    assert KEY not in said


def test_its_health_check_needs_no_key(gateway: tuple[str, str]) -> None:
    answer = httpx.get(f"{gateway[0]}/health")
    assert (answer.status_code, answer.json()["status"].upper()) == (200, "OK")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_other_doors_need_it(gateway: tuple[str, str], headers: dict[str, str]) -> None:
    answer = httpx.get(f"{gateway[0]}/api/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_page_of_any_origin_may_call(gateway: tuple[str, str]) -> None:
    headers = {"origin": "https://ui.example.com", "access-control-request-method": "POST"}
    asked = httpx.options(f"{gateway[0]}/api/v1/chat/completions", headers=headers)
    assert asked.headers["access-control-allow-origin"] in ("*", "https://ui.example.com")


# ---- its documented calls -----------------------------------------------------------------------
# README.md and docs/Usage.md as of May 2026, each with the model names and parameters that it has.
# ``us.anthropic.claude-3-7-sonnet`` stands there too; AWS has it at its end in the US, so ``eu.``.


def test_models(client: openai.OpenAI) -> None:
    listed = list(client.models.list())
    assert {SONNET_45, "amazon.nova-lite-v1:0"} <= {model.id for model in listed}
    assert {model.object for model in listed} == {"model"}
    assert all(model.created >= 0 and model.owned_by for model in listed)
    assert client.models.retrieve(SONNET_45).object == "model"


APPLICATION = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/1arbu5hu2sjr"


@pytest.mark.parametrize(
    "model",
    [
        SONNET_3, SONNET_45, HAIKU_45, "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.deepseek.r1-v1:0", APPLICATION,
    ],
)  # fmt: skip
def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}]
    )
    assert answer.model == model
    assert answer.choices[0].message.content


def test_the_chat_that_langchain_sends(client: openai.OpenAI, simulator: Simulator) -> None:
    prompt = "Question: What is two and two?\n\nAnswer: Let's think step by step."
    messages: Any = [{"role": "user", "content": prompt}]
    client.chat.completions.create(model=SONNET_3, messages=messages, temperature=0)
    assert simulator.requests[-1].body["inferenceConfig"]["temperature"] == 0


def test_gpt_names_go_to_the_default_model(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-3.5-turbo", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert raw.headers["x-bedrock-proxy-model"] == SONNET_45


@pytest.mark.parametrize(
    "name", ["text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"]
)
def test_openai_s_embedding_names_go_to_the_default(client: openai.OpenAI, name: str) -> None:
    answer = client.embeddings.create(model=name, input=["The food was good."])
    assert len(answer.data[0].embedding) == 1024  # Cohere's


def test_embeddings_by_curl(gateway: tuple[str, str]) -> None:
    text = {"input": "The food was delicious and the waiter...", "model": "text-embedding-ada-002"}
    numbers = post(gateway, "embeddings", **text, encoding_format="float").json()
    assert numbers["usage"]["prompt_tokens"] == numbers["usage"]["total_tokens"] > 0
    packed = post(gateway, "embeddings", **text, encoding_format="base64").json()
    raw = base64.b64decode(packed["data"][0]["embedding"])
    told = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert told == pytest.approx(numbers["data"][0]["embedding"], rel=1e-6)


def test_the_embeddings_that_langchain_sends(gateway: tuple[str, str]) -> None:
    """Token ids, which the old gateway decoded with OpenAI's vocabulary; here a 400 with the way
    out, because the words that come out are others at times."""
    answer = post(gateway, "embeddings", model="text-embedding-3-large", input=[[2028, 374, 264]])
    assert answer.status_code == 400
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


@pytest.mark.parametrize("model", ["amazon.titan-embed-text-v2:0", COHERE])
def test_embedding_models_by_their_ids(client: openai.OpenAI, model: str) -> None:
    assert client.embeddings.create(model=model, input="hello").data[0].embedding


PIXELS = {
    "image/png": (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    ),
    "image/gif": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
    "image/webp": "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA",
    "image/jpeg": (
        "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP" + "/" * 86 + "wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAA"
        "AAAAAP/aAAgBAQABPxA="
    ),
}


def objects_in(url: str) -> Any:
    text = "please identify and count all the objects in this images, list all the names"
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": text},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        }
    ]


@pytest.mark.parametrize("media_type", sorted(PIXELS))
def test_an_image_as_a_data_url(
    client: openai.OpenAI, simulator: Simulator, media_type: str
) -> None:
    messages = objects_in(f"data:{media_type};base64,{PIXELS[media_type]}")
    answer = client.chat.completions.create(model="gpt-3.5-turbo", messages=messages)
    assert answer.choices[0].message.content
    [_, image] = simulator.requests[-1].body["messages"][0]["content"]
    assert image["image"]["format"] == media_type.removeprefix("image/")


def test_an_image_by_its_url(gateway: tuple[str, str]) -> None:
    """Fetching is on, as it was; what is not on the public internet is refused, which is new."""
    messages = objects_in("https://127.0.0.1/assets/obj-detect.png?raw=true")
    answer = post(gateway, "chat/completions", model="gpt-3.5-turbo", messages=messages)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "messages[0].content[1].image_url.url"
    assert "does not lead to a public address" in error["message"]


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city or state."},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
    },
}
LOCATION: Any = {
    "type": "function",
    "function": {
        "name": "get_current_location",
        "description": "The current location if user does not provide a location",
        "parameters": {"type": "object", "properties": {}},
    },
}


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_tools(client: openai.OpenAI, choice: Any) -> None:
    asked: Any = {"role": "user", "content": "Use get_current_weather for Shanghai."}
    question: Any = {"model": "gpt-3.5-turbo", "tools": [WEATHER, LOCATION]}
    answer = client.chat.completions.create(**question, messages=[asked], tool_choice=choice)
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_current_weather"
    assert "location" in orjson.loads(call.function.arguments)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "31 degrees"}
    history = [asked, answer.choices[0].message, result]
    after = client.chat.completions.create(**question, messages=history, tool_choice="auto")
    assert "31 degrees" in (after.choices[0].message.content or "")


def test_tools_that_are_not_needed_and_one_without_parameters(client: openai.OpenAI) -> None:
    question: Any = {"model": "gpt-3.5-turbo", "tools": [WEATHER, LOCATION], "tool_choice": "auto"}
    for text, calls in (
        ("Hello, who are you?", []),
        ("Use get_current_location first.", [("get_current_location", "{}")]),
    ):
        answer = client.chat.completions.create(
            **question, messages=[{"role": "user", "content": text}]
        )
        made = answer.choices[0].message.tool_calls or []
        assert [(c.function.name, c.function.arguments) for c in made] == calls  # type: ignore[union-attr]


FIRST, LAST = r"<think>.+</think>\s*\S.*", r"\s*\S.*<think>.+</think>\s*"
THINKERS: Any = (
    ("eu.anthropic.claude-3-7-sonnet-20250219-v1:0", {"reasoning_effort": "low"}, FIRST),
    (SONNET_45, {"reasoning_effort": "low"}, FIRST),
    ("us.deepseek.r1-v1:0", {}, LAST),  # Bedrock has its thoughts behind its text, as recorded
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "more", "order"), THINKERS, ids=["3.7", "4.5", "r1"])
def test_reasoning_stands_in_the_text_between_its_tags(
    client: openai.OpenAI, model: str, more: dict[str, str], order: str, stream: bool
) -> None:
    question: Any = {"model": model, "messages": QUESTION, "max_completion_tokens": 4096, **more}
    if stream:
        chunks = list(client.chat.completions.create(**question, stream=True))
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        text = "".join(delta.content or "" for delta in deltas)
        assert not any(getattr(delta, "reasoning_content", None) for delta in deltas)
    else:
        message = client.chat.completions.create(**question).choices[0].message
        text = message.content or ""
        assert message.reasoning_content is None  # type: ignore[attr-defined]
    assert re.fullmatch(order, text, re.DOTALL)
    assert text.count("<think>") == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
    ],
)
def test_interleaved_thinking_in_a_literal_extra_body(
    gateway: tuple[str, str], simulator: Simulator, model: str, stream: bool
) -> None:
    """The budget is above ``max_tokens``, which is raised: Bedrock is sure to take it then."""
    answer = post(
        gateway, "chat/completions", model=model, max_tokens=2048, messages=QUESTION,
        stream=stream,
        extra_body={
            "anthropic_beta": ["interleaved-thinking-2025-05-14"],
            "thinking": {"type": "enabled", "budget_tokens": 4096},
        },
    )  # fmt: skip
    assert answer.status_code == 200
    assert "<think>" in answer.text
    sent = simulator.requests[-1].body
    fields = sent["additionalModelRequestFields"]
    assert "interleaved-thinking-2025-05-14" in fields["anthropic_beta"]
    assert fields["thinking"] == {"type": "enabled", "budget_tokens": 4096}
    assert sent["inferenceConfig"]["maxTokens"] == 2048 + 4096
    assert "max_tokens" in answer.headers["x-bedrock-proxy-notes"]


def cached(body: Any) -> set[str]:
    """Where a request to Bedrock has cache points."""
    found = {"system"} if any("cachePoint" in block for block in body["system"]) else set()
    turns = (block for message in body["messages"] for block in message["content"])
    return found | ({"messages"} if any("cachePoint" in block for block in turns) else set())


@pytest.mark.parametrize("literal", [False, True], ids=["sdk", "curl"])
@pytest.mark.parametrize(
    "places", [{"system": True}, {"messages": True}, {"system": True, "messages": True}]
)
def test_prompt_caching_by_request(
    client: openai.OpenAI, simulator: Simulator, places: dict[str, bool], literal: bool
) -> None:
    """The SDK writes what its ``extra_body`` holds into the body; by curl it stands there."""
    wish = {"prompt_caching": places}
    question: Any = {
        "model": HAIKU_45,
        "messages": [
            {"role": "system", "content": f"You are an expert. {literal} {places} " * 900},
            {"role": "user", "content": "Help me with this task"},
        ],
        "extra_body": {"extra_body": wish} if literal else wish,
    }
    client.chat.completions.create(**question)
    assert cached(simulator.requests[-1].body)
    again = client.chat.completions.create(**question)
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details.cached_tokens


def test_streaming_with_usage(client: openai.OpenAI) -> None:
    *chunks, usage = client.chat.completions.create(
        model=SONNET_45, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )  # type: ignore[misc]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert usage.usage.total_tokens > 0


# ---- its other variables ------------------------------------------------------------------------


def test_prefix_caching_and_profiles_off(simulator: Simulator) -> None:
    with started(
        simulator,
        API_KEY=KEY,
        API_ROUTE_PREFIX="/bedrock/v7",
        ENABLE_PROMPT_CACHING="true",
        ENABLE_CROSS_REGION_INFERENCE="false",
        ENABLE_APPLICATION_INFERENCE_PROFILES="false",
        DEBUG="true",
    ) as (url, said):
        assert "ENABLE_APPLICATION_INFERENCE_PROFILES" in said
        with openai.OpenAI(base_url=f"{url}/bedrock/v7", api_key=KEY, max_retries=0) as client:
            models = [model.model_dump() for model in client.models.list()]
            assert not [m["id"] for m in models if m["kind"] in ("profile", "application")]
            with pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(
                    model=SONNET_45, messages=[{"role": "user", "content": "Hi"}]
                )
            long = {"role": "system", "content": "You are an expert. " * 900}
            client.chat.completions.create(
                model="amazon.nova-pro-v1:0",
                messages=[long, {"role": "user", "content": "Hi"}],  # type: ignore[list-item]
            )
            assert any("cachePoint" in b for b in simulator.requests[-1].body["system"])


class Vault(BaseHTTPRequestHandler):
    """A made Secrets Manager and parameter store: one secret, whoever asks."""

    secret = orjson.dumps({"api_key": "from-the-vault"}).decode()

    def do_POST(self) -> None:
        target = self.headers["x-amz-target"]
        body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        if target == "secretsmanager.GetSecretValue" and body["SecretId"].endswith("Key-AbCdEf"):
            answer: Any = {"Name": "k", "SecretString": self.secret}
        elif target == "AmazonSSM.GetParameter" and body == {
            "Name": "/BedrockProxyAPIKey", "WithDecryption": True,
        }:  # fmt: skip
            answer = {"Parameter": {"Name": "k", "Value": "from-the-store"}}
        else:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b'{"__type":"ResourceNotFoundException","Message":"no such secret"}')
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(orjson.dumps(answer))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def vault() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Vault) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:BedrockProxyAPIKey-AbCdEf"


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"API_KEY_SECRET_ARN": ARN, "API_KEY": "not-this"}, "from-the-vault"),
        (
            {"API_KEY_PARAM_NAME": "/BedrockProxyAPIKey", "API_KEY_SECRET_ARN": ARN},
            "from-the-store",
        ),
    ],
)
def test_the_key_from_aws(
    simulator: Simulator, vault: str, variables: dict[str, str], key: str
) -> None:
    endpoints = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": vault, "AWS_ENDPOINT_URL_SSM": vault}
    with started(simulator, **endpoints, **variables) as (url, said):
        assert key not in said
        for sent, status in ((key, 200), ("not-this", 401)):
            headers = {"authorization": f"Bearer {sent}"}
            assert httpx.get(f"{url}/api/v1/models", headers=headers).status_code == status


def test_a_key_that_cannot_be_read_is_no_start(simulator: Simulator, vault: str) -> None:
    arn = ARN.replace("AbCdEf", "XxXxXx")
    variables = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": vault, "API_KEY_SECRET_ARN": arn}
    with pytest.raises(AssertionError) as caught, started(simulator, **variables):
        pass
    assert "API_KEY_SECRET_ARN: the API key cannot be read" in str(caught.value)
    assert "no such secret" in str(caught.value)


def test_without_any_key_it_does_not_start(simulator: Simulator) -> None:
    with pytest.raises(AssertionError) as caught, started(simulator):
        pass
    assert "no API key is set" in str(caught.value)


# ---- the table ----------------------------------------------------------------------------------


def test_each_row_means_a_setting() -> None:
    for rows in LIKENESSES.values():
        assert {row.setting for row in rows} <= set(FIELDS)


def test_general_names_mean_nothing_unless_asked_for() -> None:
    variables = {row.variable: "x" for row in LIKENESSES[GATEWAY] if row.variable}
    assert load({}, None, variables).settings == load({}, None, {}).settings


def test_what_our_own_variables_and_flags_say_wins() -> None:
    variables = {
        "BEDROCK_PROXY_LIKE": GATEWAY, "API_KEY": "old", "BEDROCK_PROXY_API_KEY": "ours",
        "PORT": "1", "DEFAULT_MODEL": "old", "API_KEY_SECRET_ARN": ARN,
    }  # fmt: skip
    loaded = load({"port": "2", "reasoning_as": "reasoning_content"}, None, variables)
    settings = loaded.settings
    assert (settings.api_key, settings.api_key_secret) == ("ours", None)
    assert (settings.port, settings.reasoning_as) == (2, "reasoning_content")
    assert (settings.default_model, loaded.origins["default_model"]) == ("old", "DEFAULT_MODEL")
    assert loaded.origins["host"] == f"like {GATEWAY}"
    keys = {"BEDROCK_PROXY_KEYS": "keys.toml", "API_KEY": "old"}
    many = load({"like": GATEWAY}, None, keys)
    assert (many.settings.api_key, many.settings.keys) == (None, "keys.toml")


def test_an_empty_variable_is_an_unset_one() -> None:
    found = {one.setting: one for one in stand_ins(GATEWAY, {"API_KEY": "", "DEFAULT_MODEL": " "})}
    assert "api_key" not in found
    assert found["default_model"].text == SONNET_3
    assert found["port"].text == "8080"


@pytest.mark.parametrize(("text", "caching"), [("false", False), ("FALSE", False), ("0", True)])
def test_its_booleans_are_true_unless_false(text: str, caching: bool) -> None:
    variables = {"ENABLE_PROMPT_CACHING": text, "DEBUG": text, "API_KEY": "k"}
    settings = load({"like": GATEWAY}, None, variables).settings
    assert settings.auto_cache is caching
    assert settings.log_level == ("debug" if caching else "info")


def test_a_likeness_that_is_none() -> None:
    with pytest.raises(SettingsError, match="must be one of bedrock-access-gateway"):
        load({"like": "litellm"}, None, {})


def test_a_wrong_value_names_its_variable() -> None:
    with pytest.raises(SettingsError, match="API_ROUTE_PREFIX: must be a path"):
        load({"like": GATEWAY}, None, {"API_ROUTE_PREFIX": "a b"})
