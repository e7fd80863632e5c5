"""The successor of bedrock-access-gateway: its environment alone, and its documented calls.

The proxy runs in a process of its own whose environment holds the old gateway's names and AWS's
own, nothing of ours; only the command line says whose environment that is. The calls are those of
the old gateway's README and usage guide (facts; the texts are ours), against the simulator.
"""

import base64
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from proxy.likeness import LIKENESSES, stand_ins
from proxy.settings import FIELDS, SettingsError, load
from proxy.simulator import Simulator

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
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": simulator.access_key,
        "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
        "AWS_ENDPOINT_URL_BEDROCK": simulator.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": simulator.url,
        "AWS_REGION": simulator.region,
        "PORT": port,
        **variables,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "proxy", "serve", "--like", GATEWAY],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        try:
            while "listening on" not in said:
                line = process.stdout.readline()
                assert line, said
                said += line
            yield f"http://127.0.0.1:{port}", said
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait(15)


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


def test_models(client: openai.OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert {SONNET_45, "amazon.nova-lite-v1:0"} <= ids
    assert client.models.retrieve(SONNET_45).object == "model"


@pytest.mark.parametrize("model", [SONNET_3, SONNET_45, HAIKU_45, "us.deepseek.r1-v1:0"])
def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}]
    )
    assert answer.model == model
    assert answer.choices[0].message.content


def test_gpt_names_go_to_the_default_model(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-3.5-turbo", messages=[{"role": "user", "content": "Hello!"}]
    )
    assert raw.headers["x-bedrock-proxy-model"] == SONNET_45


def test_openai_s_embedding_names_go_to_the_default(client: openai.OpenAI) -> None:
    for name in ("text-embedding-ada-002", "text-embedding-3-small"):
        answer = client.embeddings.create(model=name, input=["The food was good."])
        assert len(answer.data[0].embedding) == 1024  # Cohere's


def test_embeddings_by_curl(gateway: tuple[str, str]) -> None:
    text = {"input": "The food was delicious and the waiter", "model": "text-embedding-ada-002"}
    numbers = post(gateway, "embeddings", **text, encoding_format="float").json()
    assert numbers["usage"]["prompt_tokens"] == numbers["usage"]["total_tokens"] > 0
    packed = post(gateway, "embeddings", **text, encoding_format="base64").json()
    raw = base64.b64decode(packed["data"][0]["embedding"])
    told = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert told == pytest.approx(numbers["data"][0]["embedding"], rel=1e-6)


@pytest.mark.parametrize("model", ["amazon.titan-embed-text-v2:0", COHERE])
def test_embedding_models_by_their_ids(client: openai.OpenAI, model: str) -> None:
    assert client.embeddings.create(model=model, input="hello").data[0].embedding


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_tools(client: openai.OpenAI, choice: Any) -> None:
    tools: Any = [
        {
            "type": "function",
            "function": {
                "name": "get_current_weather",
                "description": "The weather of a place",
                "parameters": {
                    "type": "object",
                    "properties": {"location": {"type": "string"}},
                    "required": ["location"],
                },
            },
        }
    ]
    answer = client.chat.completions.create(
        model="gpt-3.5-turbo",
        messages=[{"role": "user", "content": "Use get_current_weather for Shanghai."}],
        tools=tools,
        tool_choice=choice,
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_current_weather"


PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def test_an_image_as_a_data_url(client: openai.OpenAI) -> None:
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = client.chat.completions.create(
        model="gpt-3.5-turbo", messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_stands_in_the_text_between_its_tags(client: openai.OpenAI, stream: bool) -> None:
    question: Any = {
        "model": SONNET_45, "messages": QUESTION, "reasoning_effort": "low",
        "max_completion_tokens": 4096,
    }  # fmt: skip
    if stream:
        chunks = client.chat.completions.create(**question, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    else:
        text = client.chat.completions.create(**question).choices[0].message.content or ""
    assert re.fullmatch(r"<think>.+</think>\s*\S.*", text, re.DOTALL)
    assert text.count("<think>") == 1


@pytest.mark.parametrize("stream", [False, True])
def test_interleaved_thinking_in_a_literal_extra_body(
    gateway: tuple[str, str], simulator: Simulator, stream: bool
) -> None:
    answer = post(
        gateway, "chat/completions", model=SONNET_45, max_tokens=2048, messages=QUESTION,
        stream=stream,
        extra_body={
            "anthropic_beta": ["interleaved-thinking-2025-05-14"],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
    )  # fmt: skip
    assert answer.status_code == 200
    assert "<think>" in answer.text
    sent = simulator.requests[-1].body
    fields = sent["additionalModelRequestFields"]
    assert "interleaved-thinking-2025-05-14" in fields["anthropic_beta"]
    assert fields["thinking"]["type"] == "enabled"


def test_prompt_caching_by_request(client: openai.OpenAI, simulator: Simulator) -> None:
    system = "You are an expert. " * 900
    question: Any = {
        "model": HAIKU_45,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": "Help me with this task"},
        ],
        "extra_body": {"prompt_caching": {"system": True}},
    }
    client.chat.completions.create(**question)
    assert any("cachePoint" in block for block in simulator.requests[-1].body["system"])
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
