"""Every kind of request to every chat model of the simulator, streamed and not.

The translators' family table and the simulator's rules were written apart from each other: where
they disagree, a client would get a 400 that could have been avoided. What is refused rightly is
listed with its reason; anything else is a fault of one of the two.
"""

from collections import defaultdict
from typing import Any

import httpx
import pytest

from proxy.simulator import Simulator
from tests.support.running import serving

pytestmark = pytest.mark.long

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/"
    "PchI7wAAAABJRU5ErkJggg=="
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def tool(name: str, parameters: Any, **more: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def call(id: str, city: str) -> Any:
    function = {"name": "get-weather", "arguments": f'{{"city":"{city}"}}'}
    return {"id": id, "type": "function", "function": function}


TOOLS = [tool("get-weather", CITY, description="weather"), tool("look.up", {})]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": NUMBER}}
HISTORY = [
    user("weather in Oslo"),
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [call("call_0", "Oslo"), call("c1", "Lima")],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "hot"},
    {"role": "tool", "tool_call_id": "call_0", "content": ""},
    user("and now?"),
]
LATE_SYSTEM = [
    {"role": "system", "content": "be brief"},
    user("hi"),
    {"role": "assistant", "content": "a"},
    {"role": "system", "content": "later"},
    user("b"),
    user("c"),
]
HI = [user("hi")]
CACHED = [
    {"role": "system", "content": [
        {"type": "text", "text": "x" * 8000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]},
    user([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]),
]  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"messages": HI},
    "late system": {"messages": LATE_SYSTEM},
    "dials": {
        "messages": HI, "temperature": 1.3, "top_p": 0.9, "stop": ["x", "\n"], "max_tokens": 5,
    },
    "tools": {"messages": [user("weather in Oslo")], "tools": TOOLS},
    "one call": {
        "messages": [user("weather in Oslo")], "tools": TOOLS, "tool_choice": "auto",
        "parallel_tool_calls": False,
    },
    "required": {"messages": HI, "tools": TOOLS, "tool_choice": "required"},
    "named": {
        "messages": HI, "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "look.up"}},
    },
    "none": {"messages": HISTORY, "tools": TOOLS, "tool_choice": "none"},
    "history": {"messages": HISTORY, "tools": TOOLS},
    "history without tools": {"messages": HISTORY},
    "strict": {"messages": HI, "tools": [tool("f", NUMBER, strict=True)]},
    "schema": {"messages": HI, "response_format": SCHEMA},
    "json": {"messages": HI, "response_format": {"type": "json_object"}},
    "prefill": {"messages": [user("hi"), {"role": "assistant", "content": "{ "}]},
    "assistant first": {"messages": [{"role": "assistant", "content": "hello"}, user("hi")]},
    "only system": {"messages": [{"role": "system", "content": "x"}]},
    "image": {"messages": [user([
        {"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PNG}},
    ])]},
    "high": {"messages": HI, "reasoning_effort": "high"},
    "max": {"messages": HI, "reasoning_effort": "max", "max_tokens": 2000, "temperature": 0.2},
    "no effort": {"messages": HI, "reasoning_effort": "none"},
    "high, forced": {
        "messages": HI, "reasoning_effort": "high", "tools": TOOLS, "tool_choice": "required",
    },
    "high, schema": {"messages": HI, "reasoning_effort": "high", "response_format": SCHEMA},
    "high, history": {"messages": HISTORY, "tools": TOOLS, "reasoning_effort": "high"},
    "cache": {"messages": CACHED},
    "extras": {"messages": HI, "top_k": 5, "presence_penalty": 1, "seed": 1},
    "metadata": {"messages": HI, "metadata": {"a": "ü b"}, "user": "me", "service_tier": "flex"},
}  # fmt: skip

# Bedrock's refusals that no translation could avoid: the model cannot do what was asked.
RIGHTLY = (
    "does not support tools",
    "support tool use",
    "support the image content block",
    "support image",
    "maximum context length",
    "is too long",
)


def chat_models(simulator: Simulator) -> list[str]:
    """One callable id for each chat model."""
    estate = simulator.state.estate
    ids: dict[str, str] = {}
    for profile in estate.profiles.values():
        if estate.models[profile.foundation].chats:
            ids.setdefault(profile.foundation, profile.id)
    for model in estate.models.values():
        if model.chats and model.life != "G" and "D" in model.types:
            ids.setdefault(model.id, model.id)
    return list(ids.values())


def test_no_kind_of_request_is_refused_that_could_be_answered() -> None:
    faults: defaultdict[str, list[str]] = defaultdict(list)
    with (
        Simulator() as simulator,
        serving(
            simulator.url, access_key=simulator.access_key, secret_key=simulator.secret_key
        ) as proxy,
        httpx.Client(base_url=proxy.url, timeout=20) as client,
    ):
        models = chat_models(simulator)
        assert len(models) > 80
        for model in models:
            for kind, body in KINDS.items():
                for stream in (False, True):
                    question = {**body, "model": model, "stream": stream}
                    answer = client.post("/v1/chat/completions", json=question)
                    told = answer.text
                    if answer.status_code == 200 and '"error":{' not in told:
                        continue
                    if any(one in told for one in RIGHTLY) and answer.status_code == 400:
                        continue
                    faults[f"{kind}: {answer.status_code} {told[:200]}"].append(model)
    assert not faults, "\n".join(f"{what} | {len(on)}: {on[:4]}" for what, on in faults.items())
