"""What goes out when nothing comes in: head after the grace, comments, empty chunks, deadlines."""

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx
import openai
import orjson
import pytest

from tests.relay.answers import EVENTS, MODEL, ask, event, question
from tests.support.raw_upstream import STREAM_HEAD, Line, RawUpstream, Script, chunked, json_answer
from tests.support.running import serving

QUICK: dict[str, object] = {
    "grace": 0.2, "keepalive_interval": 0.15, "heartbeat_interval": 0.4, "stall_timeout": 5,
}  # fmt: skip


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream() as one:
        yield one
        assert one.faults == []


def late(seconds: float, then: bytes) -> Script:
    async def script(line: Line) -> None:
        await asyncio.sleep(seconds)
        await line.send(then)

    return script


def slow(seconds: float) -> Script:
    """Begin at once, pause before the text, end well."""

    async def script(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        await asyncio.sleep(seconds)
        await line.send(b"".join(map(chunked, EVENTS[1:])) + b"0\r\n\r\n")

    return script


GOOD = STREAM_HEAD + b"".join(map(chunked, EVENTS)) + b"0\r\n\r\n"
REFUSAL = json_answer(
    "400 X", b'{"message":"no"}', b"x-amzn-errortype: ValidationException:http://x/"
)


def test_a_refusal_within_the_grace_is_a_status(upstream: RawUpstream) -> None:
    upstream.scripts = [late(0.1, REFUSAL)]
    with serving(upstream.url, settings={**QUICK, "grace": 1}) as proxy:
        assert ask(proxy).status == 400


def test_a_refusal_after_the_grace_is_told_in_the_stream(upstream: RawUpstream) -> None:
    upstream.scripts = [late(0.5, REFUSAL)]
    with serving(upstream.url, settings=QUICK) as proxy:
        told = ask(proxy)
        assert told.status == 200
        assert told.text.startswith(": ping\n\n")
        assert told.error["code"] == "invalid_value"
        assert not told.done


def test_an_answer_that_has_begun_speaks_its_role_before_its_first_word(
    upstream: RawUpstream,
) -> None:
    heard = threading.Event()

    async def until_heard(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        assert await asyncio.to_thread(heard.wait, 10)
        await line.send(b"".join(map(chunked, EVENTS[1:])) + b"0\r\n\r\n")

    upstream.scripts = [until_heard]
    with (
        serving(upstream.url) as proxy,
        httpx.stream("POST", f"{proxy.url}/v1/chat/completions", json=question()) as response,
    ):
        lines = response.iter_lines()
        assert '"delta":{"role":"assistant","content":""}' in next(lines)
        heard.set()
        assert "data: [DONE]" in list(lines)


def test_comments_and_empty_chunks_fill_the_silence(upstream: RawUpstream) -> None:
    upstream.scripts = [slow(1.5)]
    with serving(upstream.url, settings=QUICK) as proxy:
        told = ask(proxy)
    assert (told.content, told.finishes, told.done) == ("Hello, sea", ["stop"], True)
    assert told.text.count(": ping\n\n") >= 3
    empty = [one for one in told.data if one["choices"] and one["choices"][0]["delta"] == {}]
    assert 2 <= len(empty) - 1 <= 4  # the finish chunk is one of them
    roles = [one for one in told.data if one["choices"] and "role" in one["choices"][0]["delta"]]
    assert len(roles) == 1
    assert roles[0] is told.data[0]


def test_before_the_first_event_too_and_the_first_chunk_carries_the_role(
    upstream: RawUpstream,
) -> None:
    upstream.scripts = [late(1.2, GOOD)]
    with serving(upstream.url, settings=QUICK) as proxy:
        told = ask(proxy)
        with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="x") as client:
            upstream.scripts = [late(1.2, GOOD)]
            with client.chat.completions.stream(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}]
            ) as stream:
                message = stream.get_final_completion().choices[0].message
    assert told.text.startswith(": ping\n\n")
    first, second = told.data[:2]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] in ({}, {"content": "Hello"})
    assert told.content == "Hello, sea"
    assert (message.role, message.content) == ("assistant", "Hello, sea")


def test_nothing_is_said_while_chunks_flow(upstream: RawUpstream) -> None:
    async def flowing(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        for number in range(20):
            text = {"text": str(number)}
            await line.send(chunked(event("contentBlockDelta", contentBlockIndex=0, delta=text)))
            await asyncio.sleep(0.05)
        await line.send(b"".join(map(chunked, EVENTS[3:])) + b"0\r\n\r\n")

    upstream.scripts = [flowing]
    with serving(upstream.url, settings=QUICK) as proxy:
        told = ask(proxy)
    assert ": ping" not in told.text
    assert all(one["choices"][0]["delta"] for one in told.data[:-1])


def test_the_total_deadline_ends_a_lively_stream(upstream: RawUpstream) -> None:
    async def endless(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        while not line.writer.transport.is_closing():
            await line.send(chunked(EVENTS[1]))
            await asyncio.sleep(0.02)

    upstream.scripts = [endless]
    with serving(upstream.url, settings={**QUICK, "total_timeout": 0.8}) as proxy:
        began = time.monotonic()
        told = ask(proxy)
    assert 0.7 < time.monotonic() - began < 10
    assert told.error["code"] == "upstream_timeout"
    assert not told.done
    assert told.finishes == []


def test_converse_knows_only_the_total(upstream: RawUpstream) -> None:
    """A model that cannot stream tools is silent until it is done: no first-byte deadline."""
    answer = {
        "output": {"message": {"role": "assistant", "content": [{"text": "late"}]}},
        "stopReason": "end_turn", "metrics": {"latencyMs": 1},
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    }  # fmt: skip
    upstream.scripts = [late(0.8, json_answer("200 OK", orjson.dumps(answer)))]
    settings = {**QUICK, "first_byte_timeout": 0.3, "stall_timeout": 0.3}
    body = question(stream=True) | {
        "model": "us.meta.llama3-3-70b-instruct-v1:0",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    }
    with serving(upstream.url, settings=settings) as proxy:
        response = httpx.post(f"{proxy.url}/v1/chat/completions", json=body)
    assert upstream.calls()[0].path.endswith("/converse")
    assert ": ping" in response.text
    assert '"late"' in response.text
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("header", ["x-stainless-read-timeout", "x-stainless-timeout"])
def test_the_clients_own_deadline_is_kept(upstream: RawUpstream, header: str) -> None:
    async def stalling(line: Line) -> None:
        await line.send(STREAM_HEAD + chunked(EVENTS[0]))
        await line.until_closed()

    upstream.scripts = [stalling]
    with serving(upstream.url, settings=QUICK) as proxy:
        began = time.monotonic()
        response = httpx.post(
            f"{proxy.url}/v1/chat/completions", json=question(stream=False), headers={header: "0.5"}
        )
    assert response.status_code == 504
    assert time.monotonic() - began < 4  # and not after stall_timeout
