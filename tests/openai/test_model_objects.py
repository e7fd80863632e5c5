"""Model objects: OpenAI's four members, what clients look for besides, nothing that is unknown."""

import httpx2
import openai
import orjson

from proxy.openai.models import render_list, render_one

ENTRY = {
    "id": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "created": 1_759_000_000,
    "owned_by": "anthropic",
    "name": "Claude Sonnet 4.5",
    "context_window": 200_000,
    "max_output_tokens": 64_000,
    "input_modalities": ("text", "image"),
    "output_modalities": frozenset({"text"}),
    "reasoning": True,
    "tools": True,
    "lifecycle": "ACTIVE",
    "profile": None,
}


def test_every_name_by_which_clients_look() -> None:
    assert orjson.loads(render_one(ENTRY)) == {
        "id": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "object": "model",
        "created": 1_759_000_000,
        "owned_by": "anthropic",
        "name": "Claude Sonnet 4.5",
        "display_name": "Claude Sonnet 4.5",
        "context_window": 200_000,
        "context_length": 200_000,
        "max_model_len": 200_000,
        "max_output_tokens": 64_000,
        "max_completion_tokens": 64_000,
        "input_modalities": ["text", "image"],
        "output_modalities": ["text"],
        "reasoning": True,
        "supports_reasoning": True,
        "supports_tools": True,
        "lifecycle": "ACTIVE",
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "supported_parameters": [
            "tools",
            "tool_choice",
            "reasoning",
            "reasoning_effort",
            "include_reasoning",
        ],
    }


def test_what_is_unknown_is_left_out() -> None:
    entry = {"id": "m", "created": None, "owned_by": None, "context_window": None, "tools": False}
    assert orjson.loads(render_one(entry)) == {
        "id": "m",
        "object": "model",
        "created": 0,
        "owned_by": "amazon-bedrock",
        "supports_tools": False,
    }


def test_the_sdk_reads_the_list() -> None:
    def respond(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=render_list([ENTRY, {"id": "m"}]))

    transport = httpx2.MockTransport(respond)
    with openai.OpenAI(
        api_key="unused",
        base_url="http://testserver/v1",
        http_client=httpx2.Client(transport=transport),
    ) as client:
        models = client.models.list().data
    assert [model.id for model in models] == [ENTRY["id"], "m"]
    assert models[0].to_dict()["context_length"] == 200_000
