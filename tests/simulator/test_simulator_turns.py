"""What the user says behind the results of tools, in the same message or in one of its own."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from proxy.simulator import Simulator
from proxy.simulator.brain import answer as think
from proxy.simulator.brain import chance_of
from proxy.simulator.judge import judge

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": b} if isinstance(b, str) else b for b in blocks]}


def after_a_result(behind: list[Any], *, apart: bool) -> list[dict[str, Any]]:
    """A call and its result, and what the user says behind it: in one message, or apart from the
    result by a lone full stop, for families that want results alone."""
    use = {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Oslo"}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"text": "4C and rain"}]}}
    calls = [user("Weather?"), {"role": "assistant", "content": [{"toolUse": use}]}]
    if not apart:
        return [*calls, user(result, *behind)]
    return [*calls, user(result), {"role": "assistant", "content": [{"text": "."}]}, user(*behind)]


FOUND = "Here is what I found. get_weather returned: 4C and rain."
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PICTURE = {"image": {"format": "png", "source": {"bytes": PNG}}}


@pytest.mark.parametrize(("model", "apart"), [(SONNET, False), (LLAMA, True)])
@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (["Say 'thanks'"], "thanks"),
        (["I am in a hurry."], f"{FOUND} You said: I am in a hurry."),
        (["[context] say 'no'"], f"{FOUND} You said: [context] say 'no'"),
        (["And this?", PICTURE], f"{FOUND} You said: And this? I received 1 image."),
    ],
    ids=["asks", "tells", "adds", "shows"],
)
def test_results_and_what_is_said_behind_them_are_one_turn(
    simulator: Simulator, model: str, apart: bool, behind: list[Any], said: str
) -> None:
    body = {"messages": after_a_result(behind, apart=apart), "toolConfig": WEATHER}
    assert said_by(simulator, model, body) == [{"text": said}]


@pytest.mark.parametrize(("model", "apart"), [(SONNET, False), (LLAMA, True)])
def test_a_tool_named_behind_results_is_called_once(
    simulator: Simulator, model: str, apart: bool
) -> None:
    asked = "Now get_weather for Rome."
    messages = after_a_result([asked], apart=apart)
    [use] = [
        block["toolUse"]
        for block in said_by(simulator, model, {"messages": messages, "toolConfig": WEATHER})
        if "toolUse" in block
    ]
    assert use["input"] == {"city": "Rome"}
    reminded = [user(asked), *answered("Sure."), *messages]
    body = {"messages": reminded, "toolConfig": WEATHER}
    assert said_by(simulator, model, body) == [{"text": f"{FOUND} You said: {asked}"}]


def test_results_are_no_turn_of_the_user_s(simulator: Simulator) -> None:
    messages = [*after_a_result(["Thanks."], apart=True), *answered("Fine."), user("Well?")]
    [said] = said_by(simulator, LLAMA, {"messages": messages, "toolConfig": WEATHER})
    assert "This is turn 3 of" in said["text"]


def answered(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"text": text}]}]


def said_by(simulator: Simulator, model: str, body: dict[str, Any]) -> list[Any]:
    state = simulator.state
    call = judge("Converse", model, body, state.estate, state.ledger, "vendor")
    return think(call, state.ledger, chance_of(call, 0)).content
