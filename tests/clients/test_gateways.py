"""Programs that stand between a client and the proxy: two gateways, and a chat page for people.

Each runs as its users start it, with the proxy as its provider by the README's row.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.clients import (
    EMBEDDING,
    KEY,
    MODEL,
    NEAREST,
    UNKNOWN,
    Place,
    clean,
    driven,
    node_env,
    python_env,
    python_env_without,
    served,
    versions,
)
from tests.support.open_webui import OpenWebUI

pytestmark = pytest.mark.clients

HELLO = "Say hello in five words."
SAID = "Hello there from simulated Bedrock"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look up the weather of a city",
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        },
    },
}  # fmt: skip


class Door:
    """An OpenAI-compatible door: the proxy's, as somebody else passes it on."""

    def __init__(self, url: str, model: str, headers: dict[str, str]) -> None:
        self._url, self._model, self._headers = f"{url}/v1/chat/completions", model, headers

    def ask(self, text: str, **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        body = {"model": self._model, "messages": messages, **more}
        return httpx.post(self._url, json=body, headers=self._headers, timeout=60)

    def message(self, text: str, **more: Any) -> dict[str, Any]:
        answer = self.ask(text, **more)
        assert answer.status_code == 200, answer.text
        message: dict[str, Any] = answer.json()["choices"][0]["message"]
        return message

    def streamed(self, text: str, **more: Any) -> tuple[str, str]:
        """The text and the reasoning of a stream that came to its end."""
        answer = self.ask(text, stream=True, **more)
        assert answer.status_code == 200, answer.text
        assert answer.text.rstrip().endswith("data: [DONE]")
        said = [
            json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")
        ]
        deltas = [choice["delta"] for chunk in said for choice in chunk["choices"]]
        return (
            "".join(delta.get("content") or "" for delta in deltas),
            "".join(delta.get("reasoning_content") or "" for delta in deltas),
        )

    def tool_loop(self) -> str:
        question = {"role": "user", "content": "Use get_weather for Oslo."}
        first = self.message("", messages=[question], tools=[WEATHER])
        result = {
            "role": "tool", "tool_call_id": first["tool_calls"][0]["id"],
            "content": "4 degrees and rain",
        }  # fmt: skip
        second = self.message("", messages=[question, first, result], tools=[WEATHER])
        return str(second["content"])


@contextmanager
def portkey(place: Place) -> Iterator[Door]:
    """With the newest hono that npm takes for it, 1.15.2 breaks every stream that it passes on,
    whoever made it ("immutable"; seen with a server of six lines). So hono is that of its lock."""
    node, folder = node_env(
        "@portkey-ai/gateway@1.15.2", **{"@hono/node-server": "1.13.1", "hono": "4.9.7"}
    )
    start = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    command = (str(node / "node"), str(start), "--port={port}", "--headless")
    variables = clean(place.home, node, TRUSTED_CUSTOM_HOSTS="127.0.0.1")
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": place.url,
        "x-portkey-strict-open-ai-compliance": "false",  # it drops members that OpenAI has not
        "authorization": f"Bearer {KEY}",
    }
    with served(command, variables, place.home, "/") as url:
        yield Door(url, MODEL, headers)
    driven.append(
        (
            "Portkey gateway", versions(folder, "@portkey-ai/gateway"),
            "whole, stream, tools, reasoning, refusal",
        )
    )  # fmt: skip


@contextmanager
def litellm_proxy(place: Place) -> Iterator[Door]:
    """1.110.2, whose SDK is driven too, wants a ``litellm-proxy`` that PyPI does not have."""
    environment = python_env("litellm[proxy]==1.108.7")
    row = {"model": f"openai/{MODEL}", "api_base": place.url, "api_key": KEY}
    other = row | {"model": f"openai/{UNKNOWN}"}
    listed = [
        {"model_name": "sonnet", "litellm_params": row},
        {"model_name": "unknown", "litellm_params": other},
    ]
    config = place.home / "config.yaml"
    config.write_text(json.dumps({"model_list": listed}))  # JSON is YAML
    master = "sk-a-key-of-the-gateway-that-is-long-enough"
    variables = clean(
        place.home, environment / "bin", LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_MASTER_KEY=master,
    )  # fmt: skip
    command = (
        str(environment / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1",
        "--port", "{port}",
    )  # fmt: skip
    with served(command, variables, place.home, "/health/liveliness") as url:
        yield Door(url, "sonnet", {"authorization": f"Bearer {master}"})
    driven.append(
        (
            "LiteLLM proxy", versions(environment, "litellm"),
            "whole, stream, tools, reasoning, refusal",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gateway", "unknown"), [(portkey, UNKNOWN), (litellm_proxy, "unknown")],
    ids=["portkey", "litellm"],
)  # fmt: skip
def test_a_gateway_in_front_of_the_proxy(place: Place, gateway: Any, unknown: str) -> None:
    thinking = {"reasoning_effort": "low", "allowed_openai_params": ["reasoning_effort"]}
    with gateway(place) as door:
        assert door.message(HELLO)["content"] == SAID
        assert door.streamed(HELLO) == (SAID, "")
        assert "4 degrees and rain" in door.tool_loop()
        assert door.message(HELLO, **thinking)["reasoning_content"]
        text, reasoning = door.streamed(HELLO, **thinking)
        assert text == SAID
        assert reasoning
        refusal = door.ask(HELLO, model=unknown)
        assert refusal.status_code == 404
        assert NEAREST in refusal.json()["error"]["message"]


@pytest.fixture
def page(place: Place) -> Iterator[OpenWebUI]:
    """Open WebUI without torch and what needs it: its own embedding models, which are not asked."""
    environment = python_env_without(("accelerate", "sentence-transformers"), "open-webui==0.12.4")
    variables = clean(
        place.home, environment / "bin",
        OPENAI_API_BASE_URL=place.url, OPENAI_API_KEY=KEY, ENABLE_OLLAMA_API="false",
        RAG_EMBEDDING_ENGINE="openai", RAG_OPENAI_API_BASE_URL=place.url, RAG_OPENAI_API_KEY=KEY,
        RAG_EMBEDDING_MODEL=EMBEDDING, DATA_DIR=str(place.home / "data"), WEBUI_SECRET_KEY="x",
        OFFLINE_MODE="true", HF_HUB_OFFLINE="1", ANONYMIZED_TELEMETRY="false",
        SCARF_NO_ANALYTICS="true", DO_NOT_TRACK="true", ENABLE_VERSION_UPDATE_CHECK="false",
    )  # fmt: skip
    (place.home / "data").mkdir()
    command = (
        str(environment / "bin/open-webui"), "serve", "--host", "127.0.0.1", "--port", "{port}",
    )  # fmt: skip
    with served(command, variables, place.home, "/health") as url:
        ada = OpenWebUI(url, MODEL)
        yield ada
        ada.close()
    driven.append(
        (
            "Open WebUI", versions(environment, "open-webui"),
            "models, whole, stream, its tools, reasoning, a file's embeddings, refusal",
        )
    )  # fmt: skip


def test_open_webui(page: OpenWebUI) -> None:
    assert MODEL in page.models()
    assert page.complete(HELLO).json()["choices"][0]["message"]["content"] == SAID
    streamed = page.complete(HELLO, stream=True).text
    assert streamed.rstrip().endswith("data: [DONE]")
    refusal = page.complete(HELLO, temperature=9)
    assert refusal.status_code == 400
    assert refusal.json()["error"]["param"] == "temperature"

    assert page.say(HELLO)["content"] == SAID
    thought, said = page.say("Which is bigger?", reasoning_effort="low")["output"]
    assert (thought["type"], said["type"]) == ("reasoning", "message")
    assert thought["content"][0]["text"]
    kinds = [item["type"] for item in page.say("Use get_current_timestamp now.")["output"]]
    assert kinds == ["message", "function_call", "function_call_output", "message"]
    assert "between 0 and 2" in page.say(HELLO, temperature=9)["error"]["content"]
    assert page.found("Oslo is a city in Norway.", "Where is Oslo?") == "Oslo is a city in Norway."
