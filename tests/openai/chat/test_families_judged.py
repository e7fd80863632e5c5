"""Every known model, asked for everything an agent may ask, against the simulator's own rules.

The simulator knows nothing of the family table or the translators: what it refuses, the table or a
translator has wrong (or one of the two reads the sources differently, which is worth knowing).
"""

from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.limits import CHAT_LIMITS
from proxy.catalog.model import Model
from proxy.dialect import Options
from proxy.errors import ProxyError
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate
from proxy.simulator.estate import Estate
from proxy.simulator.judge import judge
from proxy.simulator.refusals import Refusal
from proxy.simulator.signatures import Ledger

ESTATE = Estate.build("us-east-1")

HARD = {
    "type": "function",
    "function": {
        "name": "get-weather.x",
        "description": "Weather.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"c": {"$ref": "#/$defs/C"}, "n": {"type": "integer", "minimum": 1}},
            "$defs": {"C": {"type": "string", "pattern": "^(?=a).*"}},
        },
    },
}
BARE = {"type": "function", "function": {"name": "b"}}
FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "x",
        "schema": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}},
    },
}
FRESH = [{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}]
LOOP = [
    {"role": "user", "content": "q"},
    {
        "role": "assistant",
        "content": "t",
        "tool_calls": [
            {
                "id": "call|1",
                "type": "function",
                "function": {"name": "get-weather.x", "arguments": '{"c": "a"'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call|1", "content": ""},
    {
        "role": "user",
        "content": [
            {
                "type": "text",
                "text": "passing context",
                "cache_control": {"type": "ephemeral", "ttl": "1h"},
            }
        ],
    },
]
TOOLS: tuple[dict[str, Any], ...] = (
    {},
    {"tools": [HARD, BARE]},
    {"tools": [HARD, BARE], "tool_choice": "required"},
    {"tools": [BARE, HARD], "tool_choice": {"type": "function", "function": {"name": "b"}}},
    {"tools": [HARD], "tool_choice": "none"},
    {"tools": [HARD], "parallel_tool_calls": False},
)
WISHES: tuple[dict[str, Any], ...] = (
    {"temperature": 0.3, "top_p": 0.9, "top_k": 5, "stop": ["a", " "], "max_tokens": 100},
    {"reasoning_effort": "high", "temperature": 0.3, "max_tokens": 100},
    {"reasoning_effort": "none", "response_format": FORMAT},
    {"reasoning_effort": "max", "response_format": FORMAT, "parallel_tool_calls": False},
)


def refusal(model_id: str, operation: str, body: dict[str, Any]) -> str | None:
    """The simulator's word against a body, under the bare id or a profile's; ``None`` if none."""
    said = None
    for name in (model_id, *(f"{prefix}.{model_id}" for prefix in ("us", "global", "eu"))):
        try:
            judge(operation, name, body, ESTATE, Ledger(0), "vendor")
        except Refusal as refused:
            unreachable = "identifier" in refused.message or "on-demand" in refused.message
            said = said if unreachable and said else refused.message
        else:
            return None
    return said


@pytest.mark.parametrize("model_id", sorted(CHAT_LIMITS))
def test_whatever_is_asked_is_legal_or_refused_by_name(model_id: str) -> None:
    traits = traits_for(model_id)
    model = Model(model_id, model_id, model_id, model_id, traits)
    faults: dict[str, Any] = {}
    for messages in (FRESH, LOOP):
        for tools in TOOLS:
            for wishes in WISHES:
                ask = {"model": model_id, "messages": messages, "stream": True, **tools, **wishes}
                fault = told(ask, model)
                if fault is not None:
                    faults.setdefault(fault, {**tools, **wishes})
    retired = {fault for fault in faults if "end of its life" in fault}
    if traits.tools:
        assert set(faults) == retired
    else:
        assert set(faults) - retired <= {"400 tools"}


def told(ask: dict[str, Any], model: Model) -> str | None:
    try:
        translation = translate(
            parse_request(orjson.dumps(ask), {}), model, Options(auto_cache=True)
        )
    except ProxyError as error:
        return f"{error.status} {error.param}"
    streams = translation.operation == "converse-stream"
    operation = "ConverseStream" if streams else "Converse"
    return refusal(model.id, operation, orjson.loads(orjson.dumps(translation.body)))
