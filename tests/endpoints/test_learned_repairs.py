"""A model on its launch day: what it refuses is learned within the call, and known from then on.

Our family table is emptied here, so that every model is one nobody has heard of, and the simulator
refuses what the real ones do. Scripted refusals stand for what it cannot be made to say.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from proxy.catalog import families
from proxy.simulator import Simulator
from tests.support.running import Running, serving

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS_47 = "us.anthropic.claude-opus-4-7"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
NO_STOP = "This model doesn't support the stopSequences field. Remove stopSequences and try again."
NO_SYSTEM = "This model doesn't support system messages. Try again without a system message."
NO_TEMPERATURE = "The model returned the following errors: `temperature` is deprecated."
BOTH = "The model returned the following errors: `temperature` and `top_p` cannot both be specified"
SYSTEM: Any = {"role": "system", "content": "Be brief."}
USER: Any = {"role": "user", "content": 'Say "one two three four".'}


def tool(**function: Any) -> Any:
    return {"type": "function", "function": {"name": "look_up", "description": "x", **function}}


@contextmanager
def running(simulator: Simulator) -> Iterator[Running]:
    with serving(
        simulator.url,
        access_key=simulator.access_key,
        secret_key=simulator.secret_key,
        settings={"explain": True},
        mode="simulator",
    ) as one:
        yield one


@pytest.fixture(scope="module")
def informed(simulator: Simulator) -> Iterator[Running]:
    with running(simulator) as one:
        yield one


@pytest.fixture(scope="module")
def ignorant(simulator: Simulator) -> Iterator[Running]:
    """Asked only while there are no families: what a name resolves to is remembered."""
    with running(simulator) as one:
        yield one


@pytest.fixture
def proxy(request: pytest.FixtureRequest, simulator: Simulator) -> Running:
    """As if just started: nothing learned, nothing received."""
    unknowing = "no_families" in request.fixturenames
    served: Running = request.getfixturevalue("ignorant" if unknowing else "informed")
    simulator.reset()
    served.service.deps.context.learned.__init__(time.monotonic)  # type: ignore[misc]
    served.baseline = served.samples()  # type: ignore[attr-defined]
    return served


@pytest.fixture
def no_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", ())


@dataclass
class Answer:
    response: httpx.Response

    @property
    def notes(self) -> list[str]:
        return self.response.headers.get("x-bedrock-proxy-notes", "").split(",")

    @property
    def text(self) -> str:
        content = self.response.json()["choices"][0]["message"]["content"]
        return content or ""

    @property
    def error(self) -> Any:
        return self.response.json()["error"]


def ask(proxy: Running, model: str = SONNET, headers: Any = None, **fields: Any) -> Answer:
    body = {"model": model, "messages": [USER], **fields}
    return Answer(
        httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=20)
    )


def refuse(simulator: Simulator, message: str, times: int = 1) -> None:
    simulator.control("error", error="ValidationException", message=message, model=".", times=times)


def runtime_calls(simulator: Simulator) -> list[Any]:
    return [one for one in simulator.requests if one.operation.startswith("Converse")]


def body_of(received: Any) -> dict[str, Any]:
    """What was received, also where a scripted refusal came before it was parsed."""
    body = received.body
    parsed: dict[str, Any] = orjson.loads(body) if isinstance(body, bytes) else body
    return parsed


def streamed_text(answer: Answer) -> str:
    lines = [line[6:] for line in answer.response.text.split("\n") if line.startswith("data: {")]
    deltas = (choice["delta"] for line in lines for choice in orjson.loads(line)["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


def repairs(proxy: Running, how: str) -> dict[str, float]:
    """The metric, by repair."""
    start = "bedrock_proxy_repairs_total{"
    before: dict[str, float] = proxy.baseline  # type: ignore[attr-defined]
    return {
        key.split('repair="')[1].split('"')[0]: value
        for key, value in proxy.samples().items()
        if key.startswith(start) and f'how="{how}"' in key and value > before.get(key, 0)
    }


LAUNCH_DAY: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("both samplers", SONNET, {"temperature": 0.5, "top_p": 0.9}, {"one_sampler"}),
    ("no sampler", OPUS_47, {"temperature": 0.5, "top_p": 0.9}, {"sampling"}),
    ("stop", "openai.gpt-oss-120b-1:0", {"stop": ["three"]}, {"stop"}),
    ("stop of blanks", SONNET, {"stop": [" ", "\n\n"]}, {"blank_stop"}),
    ("streaming tools", LLAMA, {"tools": [tool()]}, {"stream_tools"}),
    ("a choice", LLAMA, {"tools": [tool()], "tool_choice": "required"},
     {"stream_tools", "tool_choice"}),
    ("prefill", OPUS_47, {"messages": [USER, {"role": "assistant", "content": "One"}]},
     {"prefill"}),
    ("few tokens", "us.openai.gpt-6-sol", {"max_tokens": 3}, {"min_tokens"}),
    ("many tokens", SONNET, {"max_tokens": 500_000}, {"max_tokens"}),
    ("results", LLAMA,
     {"tools": [tool()],
      "messages": [USER, {"role": "assistant", "tool_calls": [
          {"id": "a", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]},
          {"role": "tool", "tool_call_id": "a", "content": "4"}, USER]},
     {"stream_tools", "results_alone"}),
    ("forcing", "us.anthropic.claude-opus-5-5", {"tools": [tool()], "tool_choice": "required"},
     {"tool_choice"}),
    ("two facts", "openai.gpt-oss-120b-1:0",
     {"stop": "three", "tools": [tool()], "tool_choice": "required"}, {"stop", "tool_choice"}),
]  # fmt: skip


@pytest.mark.usefixtures("no_families")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("model", "fields", "names"), [r[1:] for r in LAUNCH_DAY], ids=[r[0] for r in LAUNCH_DAY]
)
def test_launch_day(
    simulator: Simulator,
    proxy: Running,
    model: str,
    fields: dict[str, Any],
    names: set[str],
    stream: bool,
) -> None:
    first = ask(proxy, model, **fields, stream=stream)
    assert first.response.status_code == 200, first.response.text
    tries = [one.status for one in runtime_calls(simulator)]
    assert tries[-1] == 200
    assert 2 <= len(tries) <= 4
    assert set(tries[:-1]) == {400}
    told = {note.removesuffix(":repaired") for note in first.notes if note.endswith(":repaired")}
    assert told == names
    assert set(repairs(proxy, "learned")) == names

    simulator.reset()
    again = ask(proxy, model, **fields, stream=stream)
    assert again.response.status_code == 200
    assert [one.status for one in runtime_calls(simulator)] == [200]
    assert {f"{name}:repaired" for name in names} <= set(again.notes)
    assert set(repairs(proxy, "known")) == names

    shown = httpx.get(f"{proxy.url}/v1/models/{model}").json()["learned"]
    assert set(shown["repairs"]) == names
    assert 0 < shown["expires_in"] <= 86400


@pytest.mark.usefixtures("no_families")
def test_a_request_that_is_not_concerned_is_not_noted(proxy: Running) -> None:
    ask(proxy, SONNET, temperature=0.5, top_p=0.9)
    other = ask(proxy, SONNET, temperature=0.5)
    assert not [note for note in other.notes if note.endswith(":repaired")]


@pytest.mark.usefixtures("no_families")
def test_a_stop_that_is_refused_still_stops(proxy: Running) -> None:
    answer = ask(proxy, "openai.gpt-oss-120b-1:0", stop="three")
    assert answer.text == "one two "
    assert {"stop:emulated", "stop:repaired"} <= set(answer.notes)


@pytest.mark.usefixtures("no_families")
def test_what_is_learned_shows_in_explain(proxy: Running) -> None:
    ask(proxy, LLAMA, tools=[tool()])
    body = {"model": LLAMA, "messages": [USER], "tools": [tool()]}
    told = httpx.post(f"{proxy.url}/v1/explain", json=body).json()
    assert told["operation"] == "Converse"
    assert told["learned"]["repairs"] == ["stream_tools"]
    assert "stream_tools:repaired" in told["notes"]


# Scripted refusals, on a model that we know and that takes it all


def test_one_refusal_costs_no_retry(simulator: Simulator, proxy: Running) -> None:
    refuse(simulator, NO_STOP)
    simulator.control("throttle", model=".", headers={"x-amz-retry-after": "10"})
    answer = ask(proxy, stop="three")
    assert answer.text == "one two "
    assert [one.status for one in runtime_calls(simulator)] == [400, 429, 200]
    assert "stop:repaired" in answer.notes


def test_a_system_prompt_that_is_refused_is_moved(simulator: Simulator, proxy: Running) -> None:
    refuse(simulator, NO_SYSTEM)
    answer = ask(proxy, messages=[SYSTEM, USER])
    assert answer.text == "one two three four"
    assert {"system:moved", "system:repaired"} <= set(answer.notes)
    first, second = (body_of(one) for one in runtime_calls(simulator))
    assert first["system"] == [{"text": "Be brief."}]
    assert "system" not in second
    texts = [block["text"] for block in second["messages"][0]["content"]]
    assert any("Be brief." in text for text in texts)


def test_never_more_than_four_calls(simulator: Simulator, proxy: Running) -> None:
    for message in (NO_STOP, NO_SYSTEM, BOTH, NO_TEMPERATURE):
        refuse(simulator, message)
    fields = {"stop": "x", "temperature": 0.5, "top_p": 0.5, "messages": [SYSTEM, USER]}
    answer = ask(proxy, "us.amazon.nova-pro-v1:0", **fields)
    assert answer.response.status_code == 400
    assert answer.error["message"] == NO_TEMPERATURE
    assert len(runtime_calls(simulator)) == 4
    # What led further was learned all the same: the next request starts from there.
    simulator.reset()
    refuse(simulator, NO_TEMPERATURE)
    again = ask(proxy, "us.amazon.nova-pro-v1:0", **fields)
    assert again.response.status_code == 200
    assert len(runtime_calls(simulator)) == 2


def test_a_repair_that_did_not_help_is_not_learned(simulator: Simulator, proxy: Running) -> None:
    refuse(simulator, NO_STOP)
    refuse(simulator, "Something else is wrong.")
    assert ask(proxy, stop="x").response.status_code == 400
    simulator.reset()
    ask(proxy, stop="x")
    [call] = runtime_calls(simulator)
    assert call.body["inferenceConfig"]["stopSequences"] == ["x"]


@pytest.mark.parametrize(
    "message",
    [
        "This model doesn't support the guardrailConfig field. Remove guardrailConfig.",
        "This model doesn't support tool use.",
        "This model doesn't support the image content block that you provided.",
        "1 validation error detected: Value 'This model doesn't support system messages' failed to "
        "satisfy constraint",
        NO_SYSTEM,  # there is none in the request: nothing to change
    ],
)
def test_what_may_not_be_repaired_is_told(
    simulator: Simulator, proxy: Running, message: str
) -> None:
    refuse(simulator, message)
    answer = ask(proxy, tools=[tool()])
    assert answer.response.status_code == 400
    assert len(runtime_calls(simulator)) == 1
    assert repairs(proxy, "learned") == {}


def test_what_the_caller_wrote_in_bedrocks_words_is_left_alone(
    simulator: Simulator, proxy: Running
) -> None:
    refuse(simulator, "The model returned the following errors: thinking: Extra inputs are not "
                      "permitted")  # fmt: skip
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    answer = ask(proxy, additionalModelRequestFields=thinking)
    assert answer.response.status_code == 400
    assert len(runtime_calls(simulator)) == 1


def test_strict_mode_names_the_parameter_instead(simulator: Simulator, proxy: Running) -> None:
    refuse(simulator, NO_TEMPERATURE)
    answer = ask(proxy, temperature=0.5, headers={"x-bedrock-proxy-strict": "true"})
    assert answer.response.status_code == 400
    assert answer.error["param"] == "temperature"
    assert len(runtime_calls(simulator)) == 1


def test_a_schema_that_cannot_be_compiled_is_asked_for_otherwise(
    simulator: Simulator, proxy: Running
) -> None:
    refuse(simulator, "The model returned the following errors: Schema is too complex.")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wish = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = ask(proxy, response_format=wish)
    assert '"a"' in answer.text
    first, second = (body_of(one) for one in runtime_calls(simulator))
    assert "textFormat" in first["outputConfig"]
    assert second["toolConfig"]["toolChoice"]
    # Of this schema only: the next one is asked for natively again.
    simulator.reset()
    ask(proxy, response_format=wish)
    assert "textFormat" in runtime_calls(simulator)[0].body["outputConfig"]


def test_strict_tools_that_cannot_be_compiled_are_offered_otherwise(
    simulator: Simulator, proxy: Running
) -> None:
    refuse(
        simulator,
        "The model returned the following errors: Schemas contains too many optional parameters "
        "(28), which would make grammar compilation inefficient. Reduce the number of optional "
        "parameters in your tool schemas (limit: 24).",
    )
    answer = ask(proxy, tools=[tool(strict=True)])
    assert answer.response.status_code == 200
    assert {"schemas:repaired", "tools.strict:dropped"} <= set(answer.notes)
    first, second = (body_of(one) for one in runtime_calls(simulator))
    assert first["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    assert "strict" not in second["toolConfig"]["tools"][0]["toolSpec"]


def test_one_who_thinks_takes_no_forced_tool_from_the_others(
    simulator: Simulator, proxy: Running
) -> None:
    """Thinking in the model's own words beside a demand: put right for whoever asked so."""
    forced: Any = {"tools": [tool()], "tool_choice": "required", "max_tokens": 4000}
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    answer = ask(proxy, **forced, additionalModelRequestFields=thinking)
    assert answer.response.status_code == 200
    assert "tool_choice:repaired" in answer.notes
    simulator.reset()
    answer = ask(proxy, **forced)
    assert answer.notes == [""]
    [call] = runtime_calls(simulator)
    assert body_of(call)["toolConfig"]["toolChoice"] == {"any": {}}


def test_several_choices_are_reworded_once(simulator: Simulator, proxy: Running) -> None:
    refuse(simulator, NO_STOP)
    answer = ask(proxy, stop="three", n=3)
    texts = [choice["message"]["content"] for choice in answer.response.json()["choices"]]
    assert texts == ["one two "] * 3
    assert [one.status for one in runtime_calls(simulator)] == [400, 200, 200, 200]


def test_a_stream_that_has_spoken_its_role_is_reworded_too(simulator: Simulator) -> None:
    """The refusal comes late, after heartbeats: still one role, and the stop sequence holds."""
    simulator.reset()
    with serving(
        simulator.url,
        access_key=simulator.access_key,
        secret_key=simulator.secret_key,
        settings={"grace": 0.05, "heartbeat_interval": 0.05, "keepalive_interval": 0.05},
    ) as proxy:
        simulator.control(
            "error", error="ValidationException", message=NO_STOP, delay=0.4, model="."
        )
        answer = ask(proxy, stop="three", stream=True)
    assert answer.response.status_code == 200
    assert answer.response.text.count('"role":"assistant"') == 1
    assert streamed_text(answer) == "one two "
    assert answer.response.text.endswith("data: [DONE]\n\n")
    assert [one.status for one in runtime_calls(simulator)] == [400, 200]


def test_caching_that_is_refused_with_403(simulator: Simulator, proxy: Running) -> None:
    simulator.control(
        "error",
        error="AccessDeniedException",
        model=".",
        message="You invoked an unsupported model or your request did not allow prompt caching.",
    )
    marked = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    answer = ask(proxy, messages=[{"role": "user", "content": [marked]}])
    assert answer.response.status_code == 200
    assert {"cache_control:dropped", "cache_control:repaired"} <= set(answer.notes)
