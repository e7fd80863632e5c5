"""One good answer's events, and what a client read of an answer; for the tests of this folder."""

from random import Random
from typing import Any

import httpx
import orjson

from proxy.simulator import frames
from tests.support.raw_upstream import stream_answer
from tests.support.running import Running

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PADDING = Random(7)


def event(kind: str, **body: Any) -> bytes:
    return frames.event(kind, body, PADDING)


EVENTS = (
    event("messageStart", role="assistant"),
    event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hello"}),
    event("contentBlockDelta", contentBlockIndex=0, delta={"text": ", sea"}),
    event("contentBlockStop", contentBlockIndex=0),
    event("messageStop", stopReason="end_turn"),
    event(
        "metadata",
        metrics={"latencyMs": 5},
        usage={"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
    ),
)
GOOD = stream_answer(*EVENTS)


class Told:
    """What a client read: status, headers, the stream's data lines."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text
        lines = [line[6:] for line in self.text.split("\n") if line.startswith("data: ")]
        self.done = "[DONE]" in lines
        self.data = [orjson.loads(line) for line in lines if line != "[DONE]"]
        self.errors = [one["error"] for one in self.data if "error" in one]
        choices = [choice for one in self.data for choice in one.get("choices", ())]
        self.content = "".join(choice["delta"].get("content") or "" for choice in choices)
        self.finishes = [one["finish_reason"] for one in choices if one["finish_reason"]]

    @property
    def error(self) -> dict[str, Any]:
        """The error, however it was told."""
        if self.errors:
            assert len(self.errors) == 1
            return self.errors[0]
        error: dict[str, Any] = orjson.loads(self.text)["error"]
        return error


def question(*, stream: bool = True) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}


def ask(proxy: Running, *, stream: bool = True, timeout: float = 20.0) -> Told:
    url = f"{proxy.url}/v1/chat/completions"
    return Told(httpx.post(url, json=question(stream=stream), timeout=timeout))
