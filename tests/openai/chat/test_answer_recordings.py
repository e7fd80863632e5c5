"""Recorded Bedrock answers are read without a fault, streamed and whole, and the SDK's fold of the
stream is the whole answer. The recordings stand beside the project, not in it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.catalog.families import foundation_of, traits_for
from proxy.catalog.model import Model
from proxy.converse.replay import replay
from proxy.converse.stream import ConverseStream
from proxy.converse.types import Event
from proxy.dialect import Options
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate
from tests.openai.chat.captured import Case, Sdk, chunks, make_plan, plain, streamed, whole

RECORDINGS = Path(__file__).parents[4] / "shared" / "captures"
PLANS: tuple[dict[str, Any], ...] = (
    {"include_usage": True, "family": "claude"},
    {
        "inline_tags": ["thinking", "think"],
        "usage_on_finish": True,
        "stop": ["\nObservation:", "§§"],
    },
)
REASONS = {
    "end_turn": "stop",
    "tool_use": "stop",  # of a server tool only
    "max_tokens": "length",
    "guardrail_intervened": "content_filter",
}


def recorded(operation: str) -> list[Path]:
    return [
        path
        for path in sorted(RECORDINGS.glob("*/*.json"))
        if json.loads(path.read_text())["operation"] == operation
    ]


def events_of(path: Path) -> list[Event] | None:
    """The answer's events; ``None`` for an answer that is an error."""
    exchange = json.loads(path.read_text())
    response = exchange["response"]
    if response["status"] != 200:
        return None
    if body_file := response.get("body_file"):
        stream = ConverseStream()
        events = stream.receive((path.parent / body_file).read_bytes())
        assert stream.close() is None
        return events
    return replay(response["body"])


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    reader = Sdk()
    yield reader
    reader.client.close()


@pytest.mark.parametrize("operation", ["ConverseStream", "Converse"])
def test_recordings_are_read_without_a_fault(operation: str, sdk: Sdk) -> None:
    if not RECORDINGS.is_dir():
        pytest.skip("no recordings beside the project (../shared/captures)")
    paths = recorded(operation)
    assert paths
    answered = 0
    for path in paths:
        events = events_of(path)
        if events is None:
            continue
        answered += 1
        for members in PLANS:
            case = Case(path.stem, "", make_plan(members), {}, ())
            stream, body = streamed(case, [events], None), whole(case, [events], None)
            assert stream.endswith(b"data: [DONE]\n\n"), path
            assert plain(sdk.fold(stream)) == plain(sdk.parse(body)), path
            _check_against_source(path, events, orjson.loads(body), stream)
    assert answered >= 40


def test_a_stop_sequence_that_nova_left_in_its_text_is_cut_off() -> None:
    """Recorded: ``stopSequences`` ["Paris"], and the answer "The city of Paris", end_turn."""
    path = RECORDINGS / "pydantic--pydantic-ai" / "test-stop-settings-bedrock.json"
    if not path.is_file():
        pytest.skip("no recordings beside the project (../shared/captures)")
    exchange = json.loads(path.read_text())
    [text] = [block["text"] for block in exchange["request"]["body"]["messages"][0]["content"]]
    stops = exchange["request"]["body"]["inferenceConfig"]["stopSequences"]
    ask = {"model": "m", "messages": [{"role": "user", "content": text}], "stop": stops}
    foundation = foundation_of(exchange["model"])
    model = Model("m", exchange["model"], foundation, "m", traits_for(foundation))
    translation = translate(parse_request(orjson.dumps(ask), {}), model, Options())
    assert translation.body["inferenceConfig"]["stopSequences"] == stops
    assert translation.notes == ()
    case = Case(path.stem, "", translation.plan, {}, ())
    events = replay(exchange["response"]["body"])
    [choice] = orjson.loads(whole(case, [events], None))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("The city of ", "stop")
    [end] = [one for c in chunks(streamed(case, [events], None)) for one in c["choices"]
             if one["finish_reason"]]  # fmt: skip
    assert (end["finish_reason"], end["stop_sequence"]) == ("stop", "Paris")


def _check_against_source(
    path: Path, events: list[Event], body: dict[str, Any], stream: bytes
) -> None:
    """What can be told from the events alone, by other means than the code under test."""
    choice = body["choices"][0]
    calls = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in choice["message"].get("tool_calls", [])
    ]
    assert calls == _client_calls(events), path
    usage = next((body["usage"] for kind, body in events if kind == "metadata"), {})
    if "totalTokens" in usage:  # one recording was made without
        details = body["usage"]["prompt_tokens_details"]
        assert body["usage"]["total_tokens"] == usage["totalTokens"], path
        assert body["usage"]["completion_tokens"] == usage["outputTokens"], path
        assert details["cached_tokens"] == usage.get("cacheReadInputTokens", 0), path
        assert details.get("cache_write_tokens") == usage.get("cacheWriteInputTokens"), path
    deltas = [body["delta"] for kind, body in events if kind == "contentBlockDelta"]
    text = "".join(delta.get("text", "") for delta in deltas)
    thought = "".join(delta.get("reasoningContent", {}).get("text", "") for delta in deltas)
    if "<think" not in text and "stop_sequence" not in choice:
        assert (choice["message"]["content"] or "") == text, path
        assert choice["message"].get("reasoning_content", "") == thought, path
        [stop] = [body["stopReason"] for kind, body in events if kind == "messageStop"]
        reason = "tool_calls" if calls and stop != "max_tokens" else REASONS[stop]
        assert choice["finish_reason"] == reason, path
    assert sum(chunk["choices"] != [] for chunk in chunks(stream)) <= len(events) + 3, path


def _client_calls(events: list[Event]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of the calls that are the client's to answer."""
    calls: dict[int, tuple[str, str, str]] = {}
    for _, body in events:
        index = body.get("contentBlockIndex", -1)
        if use := body.get("start", {}).get("toolUse"):
            if use.get("type") != "server_tool_use":
                calls[index] = (use["toolUseId"], use["name"], "")
        elif index in calls and "toolUse" in body.get("delta", {}):
            call_id, name, arguments = calls[index]
            calls[index] = (call_id, name, arguments + body["delta"]["toolUse"]["input"])
    return [(call_id, name, arguments or "{}") for call_id, name, arguments in calls.values()]
