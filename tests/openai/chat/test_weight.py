"""What limits reserve: near enough for text, bounded for media, and cheap for any shape."""

import time
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Weight
from proxy.openai.chat.api import CHAT
from proxy.openai.chat.weight import MEDIA_TOKENS, UNSAID_OUTPUT
from proxy.openai.completions.api import completions
from proxy.openai.embeddings.api import embeddings

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MODEL = Model(name="m", id=CLAUDE, foundation=CLAUDE, label=CLAUDE, traits=traits_for(CLAUDE))


def weigh(**fields: Any) -> Weight:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return CHAT.weigh(CHAT.parse(orjson.dumps(body), {}), MODEL)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_four_bytes_are_a_token() -> None:
    assert 1000 <= weigh(messages=said("x" * 4000)).input <= 1010
    assert 1500 <= weigh(messages=said("語" * 2000)).input <= 1510


def test_the_answer_is_as_long_as_it_may_be() -> None:
    assert weigh().output == UNSAID_OUTPUT
    assert weigh(max_tokens=7).output == 7
    assert weigh(max_completion_tokens=10**6).output == (MODEL.traits.max_output_tokens or 10**6)
    one, three = weigh(max_tokens=7), weigh(max_tokens=7, n=3)
    assert (three.input, three.output) == (3 * one.input, 21)


def test_tools_and_schemas_are_read_too() -> None:
    schema = {"type": "object", "description": "y" * 4000}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert weigh(tools=[tool]).input > 1000
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert weigh(response_format=form).input > 1000


@pytest.mark.parametrize("size", [4, 4_000_000])
def test_media_weigh_the_same_whatever_their_bytes(size: int) -> None:
    url = "data:image/png;base64," + "A" * size
    image = {"type": "image_url", "image_url": {"url": url}}
    weight = weigh(messages=[{"role": "user", "content": [image, image]}])
    assert 2 * MEDIA_TOKENS <= weight.input <= 2 * MEDIA_TOKENS + 50
    remote = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert weigh(messages=[{"role": "user", "content": [remote]}]).input >= MEDIA_TOKENS


def test_a_text_document_is_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "x" * 40_000}
    part = {"type": "document", "source": source}
    assert weigh(messages=[{"role": "user", "content": [part]}]).input > 10_000


def test_depth_costs_no_stack() -> None:
    deep = b'{"model":"m","messages":[{"role":"user","content":"x","y":' + b"[" * 900
    request = CHAT.parse(deep + b"]" * 900 + b"}]}", {})
    began = time.thread_time()
    assert CHAT.weigh(request, MODEL).input < 1000
    assert time.thread_time() - began < 0.5


def test_prompts_and_texts_add_up() -> None:
    body = {"model": "m", "prompt": ["x" * 4000, "y" * 8000], "max_tokens": 5, "n": 2}
    dialect = completions(CHAT)
    weight = dialect.weigh(dialect.parse(orjson.dumps(body), {}), MODEL)
    assert 6000 <= weight.input <= 6050
    assert weight.output == 20
    dialect = embeddings()
    texts = dialect.parse(orjson.dumps({"model": "m", "input": ["x" * 4000] * 3}), {})
    assert dialect.weigh(texts, MODEL) == Weight(3003, 0)
