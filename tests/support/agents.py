"""A coding agent as three kinds of clients are: a tool loop driven by the real openai SDK.

What differs is what a client sends back of an answer. ``everything``: each field it was given.
``standard``: OpenAI's own fields, with ids as some agents mangle them (letters and digits, the
first 40). ``details``: those, whole, and ``reasoning_details``. All fold the stream by hand, as
clients do that look at every field; every third answer is asked for whole.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import openai

Style = Literal["everything", "standard", "details"]
STYLES: tuple[Style, ...] = ("everything", "standard", "details")
QUESTION = "Use look_up and measure in parallel for 99 rounds, interleaved."
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} something",
            "parameters": {
                "type": "object",
                "properties": {"what": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["what"],
            },
        },
    }
    for name in ("look_up", "measure")
]


class Agent:
    """One conversation. ``clients`` take turns; ``requests`` counts what was asked."""

    def __init__(self, clients: Sequence[openai.OpenAI], model: str, style: Style, **fields: Any):
        self.clients = clients
        self.model = model
        self.style = style
        self.fields = {"tools": TOOLS, "reasoning_effort": "low", **fields}
        self.messages: list[Any] = [
            {"role": "system", "content": "You are a coding agent."},
            {"role": "user", "content": QUESTION},
        ]
        self.requests = 0
        self.tool_turns = 0
        self.notes: list[str] = []

    def turn(self) -> Any:
        """Ask once, answer the calls that were made (or ask on); the message as it was told."""
        client = self.clients[self.requests % len(self.clients)]
        whole = self.requests % 3 == 2
        self.requests += 1
        question = {"model": self.model, "messages": self.messages, **self.fields}
        asked = client.chat.completions.with_raw_response.create(**question, stream=not whole)
        self.notes += filter(None, asked.headers.get("x-bedrock-proxy-notes", "").split(","))
        answer = asked.parse()
        message = answer.choices[0].message.model_dump() if whole else folded(answer)
        self.messages.append(self._kept(message))
        calls = self.messages[-1].get("tool_calls") or []
        self.tool_turns += bool(calls)
        for call in calls:
            text = f"{call['function']['name']} found {self.requests} things"
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
        if not calls:
            self.messages.append({"role": "user", "content": QUESTION})
        return message

    def compact(self, keep: int) -> None:
        """Cut the history in the middle: of all but the last ``keep`` messages a summary is left,
        in front of whatever comes next (be it results whose calls are gone)."""
        summary = f"Summary of what was done so far. {QUESTION}"
        head = [self.messages[0], {"role": "user", "content": summary}]
        self.messages = head + self.messages[-keep:]

    def _kept(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.style == "everything":
            return {key: value for key, value in message.items() if value is not None}
        kept: dict[str, Any] = {"role": "assistant", "content": message.get("content") or None}
        if message.get("tool_calls"):
            kept["tool_calls"] = [self._kept_call(call) for call in message["tool_calls"]]
        if self.style == "details" and message.get("reasoning_details"):
            kept["reasoning_details"] = message["reasoning_details"]
        return kept

    def _kept_call(self, call: dict[str, Any]) -> dict[str, Any]:
        if self.style != "standard":
            return call
        return {**call, "id": re.sub(r"[^A-Za-z0-9]", "", call["id"])[:40]}


def folded(stream: Any) -> dict[str, Any]:
    """The chunks of a stream as one message, every field of every delta in it."""
    message: dict[str, Any] = {"role": "assistant"}
    finish = None
    for chunk in stream:
        for choice in chunk.choices:
            _fold(message, choice.delta.model_dump(exclude_none=True))
            finish = choice.finish_reason or finish
    assert finish in ("stop", "tool_calls"), finish
    assert (finish == "tool_calls") == bool(message.get("tool_calls"))
    return message


def _fold(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        if key == "tool_calls":
            _fold_calls(message.setdefault(key, []), value)
        elif isinstance(value, list):
            assert [entry["index"] for entry in value] == [len(message.get(key, []))]
            message.setdefault(key, []).extend(value)
        elif isinstance(value, str) and key != "role":
            message[key] = message.get(key, "") + value


def _fold_calls(calls: list[Any], deltas: list[Any]) -> None:
    for delta in deltas:
        function = delta["function"]
        if delta["index"] == len(calls):
            made = {"name": function["name"], "arguments": ""}
            calls.append({"id": delta["id"], "type": "function", "function": made})
        calls[delta["index"]]["function"]["arguments"] += function.get("arguments") or ""
