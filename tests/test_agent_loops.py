"""Agent loops on every family, in three client styles, with nothing refused that we could avoid.

The simulator enforces what families demand of reasoning (budgets, signatures returned intact, every
turn of a running loop beginning with its thinking); the clients lose what real ones lose. A loop
has interleaved thinking and parallel tools, its history is cut in the middle, the model is switched
and switched back, two proxy processes behind one Valkey take turns. The whole matrix, of 50 turns
each, is ``long``.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy.simulator import Simulator
from tests.support.agents import STYLES, Agent, Style
from tests.support.commands import started
from tests.support.running import Running, serving
from tests.support.valkey import ValkeyServer, needs_server

# What is asked of each: a name for the table, the model, and whether it signs its reasoning.
FAMILIES: tuple[tuple[str, str, bool], ...] = (
    ("Claude 3.7", "us.anthropic.claude-3-7-sonnet-20250219-v1:0", True),
    ("Claude 4", "us.anthropic.claude-sonnet-4-20250514-v1:0", True),
    ("Claude 4.5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
    ("Claude Opus 4.5", "us.anthropic.claude-opus-4-5-20251101-v1:0", True),
    ("Claude 4.6", "us.anthropic.claude-sonnet-4-6", True),
    ("Claude Opus 4.7", "us.anthropic.claude-opus-4-7", True),
    ("Claude 5", "us.anthropic.claude-sonnet-5", True),
    ("Claude Opus 5", "us.anthropic.claude-opus-5", True),
    ("Claude Opus 5.5", "us.anthropic.claude-opus-5-5", True),
    ("Claude Sonnet 5.5", "us.anthropic.claude-sonnet-5-5", True),
    ("Claude Fable 5.1", "us.anthropic.claude-fable-5-1", True),
    ("GPT 6", "us.openai.gpt-6-sol", True),
    ("Nova 2", "us.amazon.nova-2-lite-v1:0", False),
    ("Nova 1", "us.amazon.nova-pro-v1:0", False),
    ("gpt-oss", "openai.gpt-oss-120b-1:0", False),
    ("DeepSeek R1", "us.deepseek.r1-v1:0", False),
    ("DeepSeek V3", "deepseek.v3-v1:0", False),
    ("Qwen3", "qwen.qwen3-32b-v1:0", False),
    ("Kimi K2", "moonshot.kimi-k2-thinking", False),
    ("Llama 3.3", "us.meta.llama3-3-70b-instruct-v1:0", False),
    ("Llama 4", "us.meta.llama4-maverick-17b-instruct-v1:0", False),
    ("Mistral", "mistral.mistral-large-2407-v1:0", False),
    ("Mistral 3", "mistral.mistral-large-3-675b-instruct", False),
    ("MiniMax", "minimax.minimax-m2", False),
    ("GLM", "zai.glm-4.7", False),
    ("Palmyra", "us.writer.palmyra-x5-v1:0", False),
    ("Nemotron", "nvidia.nemotron-nano-12b-v2", False),
    ("Command R", "cohere.command-r-plus-v1:0", False),
)
SIGNED = tuple(row for row in FAMILIES if row[2])
QUICK = ("Claude 3.7", "Claude 4.5", "Claude 4.6", "Claude Opus 5.5", "GPT 6", "Nova 2",
         "gpt-oss", "DeepSeek R1", "Qwen3", "Kimi K2", "Llama 3.3", "Mistral")  # fmt: skip
NO_TOOLS = {"DeepSeek R1"}
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET_46 = "us.anthropic.claude-sonnet-4-6"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
SECRET = "0123456789abcdef0123456789abcdef"


@contextmanager
def proxy(simulator: Simulator, **settings: object) -> Iterator[Running]:
    with serving(
        simulator.url,
        settings=settings,
        access_key=simulator.access_key,
        secret_key=simulator.secret_key,
        mode="simulator",
    ) as running:
        yield running


def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[openai.OpenAI]:
    with proxy(simulator) as running, sdk(running.url) as one:
        yield one


@pytest.fixture(autouse=True)
def clean(simulator: Simulator) -> Iterator[None]:
    """Whatever a loop did, the simulator refused none of it."""
    simulator.reset()
    yield
    refused = [(r.model, r.error, r.status) for r in simulator.requests if r.status >= 400]
    assert not refused


def last_body(simulator: Simulator) -> dict[str, Any]:
    body = simulator.requests[-1].body
    assert isinstance(body, dict)
    return body


def kinds(message: dict[str, Any]) -> list[str]:
    return [next(iter(block)) for block in message["content"]]


def check_reasoning(simulator: Simulator) -> int:
    """How many tool turns the last request carries; each begins with the reasoning it had."""
    turns = [m for m in last_body(simulator)["messages"] if "toolUse" in kinds(m)]
    for turn in turns:
        assert kinds(turn)[0] == "reasoningContent"
    return len(turns)


def fields_of(family: str) -> dict[str, Any]:
    """A model without tools is offered none: a request that needs them is refused, and told so."""
    return {"tools": openai.omit} if family in NO_TOOLS else {}


def run(agent: Agent, turns: int, compact_at: int, keep: int) -> None:
    for number in range(turns):
        if number == compact_at:
            agent.compact(keep)
        agent.turn()


def quick(*names: str) -> Any:
    rows = [row for row in FAMILIES if row[0] in (names or QUICK)]
    return pytest.mark.parametrize(("family", "model", "signs"), rows, ids=[r[0] for r in rows])


@quick()
@pytest.mark.parametrize("style", STYLES)
def test_a_loop(
    simulator: Simulator, client: openai.OpenAI, family: str, model: str, signs: bool, style: Style
) -> None:
    """Eight turns, cut in the middle of a turn."""
    agent = Agent([client], model, style, **fields_of(family))
    run(agent, 8, compact_at=5, keep=5)
    assert agent.tool_turns == (0 if family in NO_TOOLS else 8)
    if signs:
        assert check_reasoning(simulator) >= 3
        assert "reasoning:missing" not in agent.notes
        assert ("reasoning:restored" in agent.notes) is (style == "standard")


@pytest.mark.long
@pytest.mark.parametrize(("family", "model", "signs"), FAMILIES, ids=[row[0] for row in FAMILIES])
@pytest.mark.parametrize("style", STYLES)
def test_fifty_turns(
    simulator: Simulator, client: openai.OpenAI, family: str, model: str, signs: bool, style: Style
) -> None:
    agent = Agent([client], model, style, **fields_of(family))
    run(agent, 50, compact_at=30, keep=20)
    assert agent.tool_turns == (0 if family in NO_TOOLS else 50)
    if signs:
        assert check_reasoning(simulator) >= 20
        assert "reasoning:missing" not in agent.notes


@quick("Claude 4.5", "Claude 4.6", "Claude Opus 5.5")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("redacted", [False, True], ids=["signed", "redacted"])
def test_thinking_keeps_its_order_and_bytes(
    simulator: Simulator,
    client: openai.OpenAI,
    family: str,
    model: str,
    signs: bool,
    style: Style,
    redacted: bool,
) -> None:
    """Interleaved blocks and redacted ones come back exactly as they were given out."""
    agent = Agent([client], model, style)
    if redacted:
        agent.messages[1]["content"] += " Please redact."
    told = [agent.turn() for _ in range(4)]
    sent = [m["content"] for m in last_body(simulator)["messages"] if m["role"] == "assistant"]
    order = ["reasoningContent", "text", "reasoningContent", "toolUse", "toolUse"]
    if redacted:
        order = ["reasoningContent"] * 2 + order[1:2] + ["reasoningContent"] * 2 + order[3:]
    for content in sent:
        # The text of a turn is one field for a client; its thoughts stand where they stood all the
        # same.
        assert [next(iter(block)) for block in content] == order
    entries = [message["reasoning_details"] for message in told]
    for message, entry in zip(told, entries, strict=True):
        assert [one["type"] for one in entry] == ["reasoning.encrypted"]
        assert entry[0]["id"] == message["tool_calls"][0]["id"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "other", [SONNET_46, LLAMA, "us.openai.gpt-6-sol", "us.amazon.nova-2-lite-v1:0"]
)
def test_the_model_is_switched_and_switched_back(
    simulator: Simulator, client: openai.OpenAI, style: Style, other: str
) -> None:
    agent = Agent([client], SONNET, style)
    for model in (SONNET, SONNET, other, other, SONNET, SONNET):
        agent.model = model
        agent.turn()
    assert agent.tool_turns == 6


def test_a_signature_that_is_good_for_one_model_only(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    """Where a switch of models makes signatures invalid, the conversation goes on without them."""
    simulator.control(signature_scope="model")
    agent = Agent([client], SONNET, "everything")
    agent.turn()
    agent.model = SONNET_46
    agent.turn()
    statuses = [request.status for request in simulator.requests]
    assert statuses == [200, 400, 200]
    assert "reasoning_replay:repaired" in agent.notes
    assert not any("reasoningContent" in kinds(m) for m in last_body(simulator)["messages"])
    # Nothing is remembered of it for the model: its own reasoning is sent back from now on.
    simulator.reset()
    agent = Agent([client], SONNET_46, "everything")
    agent.turn()
    agent.turn()
    assert check_reasoning(simulator) == 1


def test_what_was_remembered_and_proved_invalid_is_forgotten(
    simulator: Simulator, client: openai.OpenAI
) -> None:
    """One refusal for the whole conversation, not one for each of its turns."""
    simulator.control(signature_scope="model")
    agent = Agent([client], SONNET, "standard")
    agent.turn()
    agent.model = SONNET_46
    for _ in range(4):
        agent.turn()
    assert [request.status for request in simulator.requests] == [200, 400, 200, 200, 200, 200]
    turns = [kinds(m)[0] for m in last_body(simulator)["messages"] if "toolUse" in kinds(m)]
    assert turns == ["text", "reasoningContent", "reasoningContent", "reasoningContent"]
    simulator.reset()


def test_reasoning_that_was_altered_on_its_way(simulator: Simulator, client: openai.OpenAI) -> None:
    agent = Agent([client], SONNET, "everything")
    agent.turn()
    signed = {"type": "thinking", "thinking": "not what it thought", "signature": "c2lnbmVk"}
    message = agent.messages[2]
    message.pop("reasoning_details")
    message["thinking_blocks"] = [signed]
    agent.turn()
    assert [request.status for request in simulator.requests] == [200, 400, 200]
    assert "thinking" not in last_body(simulator).get("additionalModelRequestFields", {})
    simulator.reset()


@quick("Claude 3.7", "Claude 4.5", "Claude 4.6", "Claude Opus 5.5", "GPT 6")
def test_reasoning_that_nobody_remembers(
    simulator: Simulator, family: str, model: str, signs: bool
) -> None:
    """A restart, an eviction, a proxy without memory: never a 400, and told."""
    with proxy(simulator, memory=False) as running, sdk(running.url) as one:
        agent = Agent([one], model, "standard")
        run(agent, 4, compact_at=9, keep=0)
    assert "reasoning:missing" in agent.notes
    fields = last_body(simulator).get("additionalModelRequestFields", {})
    if family in ("Claude 3.7", "Claude 4.5"):
        assert "thinking" not in fields
        assert "reasoning_effort:dropped" in agent.notes
    elif family != "GPT 6":
        assert fields["thinking"]["type"] == "adaptive"


def test_thinking_returns_with_the_next_question(simulator: Simulator) -> None:
    """Off for the loop whose reasoning was lost, on again after it."""
    with proxy(simulator, memory=False) as running, sdk(running.url) as one:
        agent = Agent([one], SONNET, "standard")
        agent.turn()
        agent.turn()
        assert "thinking" not in last_body(simulator).get("additionalModelRequestFields", {})
        agent.messages += [
            {"role": "assistant", "content": "Done."},
            {"role": "user", "content": "And look_up once more."},
        ]
        agent.turn()
        assert "thinking" in last_body(simulator)["additionalModelRequestFields"]


def test_one_turn_of_a_loop_was_forgotten(simulator: Simulator, client: openai.OpenAI) -> None:
    """Every turn of a running loop must begin with its thinking, not only the last one."""
    agent = Agent([client], SONNET, "details")
    agent.turn()
    agent.turn()
    del agent.messages[2]["reasoning_details"]
    for call in agent.messages[2]["tool_calls"]:
        call["function"]["arguments"] = '{"what": "something else"}'
    agent.turn()
    assert "thinking" not in last_body(simulator).get("additionalModelRequestFields", {})


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    one = ValkeyServer(tmp_path_factory.mktemp("valkey")).start()
    yield one
    one.stop()


@contextmanager
def replicas(simulator: Simulator, url: str) -> Iterator[list[openai.OpenAI]]:
    """Clients of two processes that have nothing in common but the Valkey at ``url``."""
    environment = {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": simulator.access_key,
        "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
        "AWS_ENDPOINT_URL_BEDROCK": simulator.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": simulator.url,
        "BEDROCK_PROXY_VALKEY_URL": url,
        "BEDROCK_PROXY_VALKEY_KEY": SECRET,
    }
    with ExitStack() as stack:
        served = [
            stack.enter_context(started("serve", "--port", "0", **environment)) for _ in range(2)
        ]
        assert len({process.pid for process, _ in served}) == 2
        yield [stack.enter_context(sdk(url)) for _, url in served]


@pytest.fixture(scope="module")
def two(simulator: Simulator, valkey: ValkeyServer) -> Iterator[list[openai.OpenAI]]:
    with replicas(simulator, valkey.url) as clients:
        yield clients


@needs_server
@quick("Claude 3.7", "Claude 4.5", "Claude 4.6", "Claude Opus 5.5", "GPT 6")
def test_two_replicas_take_turns(
    simulator: Simulator, two: list[openai.OpenAI], family: str, model: str, signs: bool
) -> None:
    agent = Agent(two, model, "standard")
    run(agent, 6, compact_at=4, keep=5)
    assert check_reasoning(simulator) >= 2
    assert "reasoning:restored" in agent.notes
    assert "reasoning:missing" not in agent.notes


@needs_server
@pytest.mark.long
@pytest.mark.parametrize(("family", "model", "signs"), SIGNED, ids=[row[0] for row in SIGNED])
def test_two_replicas_take_fifty_turns(
    simulator: Simulator, two: list[openai.OpenAI], family: str, model: str, signs: bool
) -> None:
    agent = Agent(two, model, "standard")
    run(agent, 50, compact_at=30, keep=20)
    assert check_reasoning(simulator) >= 20
    assert "reasoning:missing" not in agent.notes


@needs_server
def test_replicas_whose_valkey_is_gone_lose_no_conversation(
    simulator: Simulator, tmp_path: Path
) -> None:
    server = ValkeyServer(tmp_path).start()
    with replicas(simulator, server.url) as clients:
        agent = Agent(clients, SONNET, "standard")
        agent.turn()
        server.stop()
        agent.turn()
        agent.turn()
    assert "reasoning:missing" in agent.notes


@pytest.mark.parametrize("way", ["reasoning", "thinking_blocks", "tags"])
def test_a_loop_whichever_way_reasoning_is_shown(simulator: Simulator, way: str) -> None:
    with proxy(simulator, reasoning_as=way, memory=False) as running, sdk(running.url) as one:
        agent = Agent([one], SONNET, "everything")
        told = [agent.turn() for _ in range(4)]
    assert check_reasoning(simulator) == 3
    assert "reasoning:missing" not in agent.notes
    field = {"reasoning": "reasoning", "thinking_blocks": "thinking_blocks", "tags": "content"}[way]
    assert all(message[field] for message in told)
