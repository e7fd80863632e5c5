"""Chunk framing: constant bytes around one value, on one line whatever the value."""

import json

import orjson
import pytest

from proxy.dialect import Stamp, Translation
from proxy.openai.chat.chunks import HOLE, Frame
from proxy.openai.chat.from_converse import ChatEncoder
from proxy.openai.chat.plan import Plan
from proxy.openai.lines import dumps

STAMP = Stamp("id", 7, "modèle\u2028\0")

AWKWARD = [
    "",
    "plain",
    'quote " backslash \\ slash /',
    "line\nbreak\r\n\ttab\0nul\x7f",
    "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e",
    "👩‍👩‍👧‍👦 e\u0301 \ufeff \U0010ffff",
    "<hole>\\u0000",
    HOLE,
]


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize(
    "delta",
    [
        {"content": HOLE},
        {"tool_calls": [{"index": 3, "function": {"arguments": HOLE}}]},
        {"function_call": {"arguments": HOLE}},
    ],
)
def test_a_filled_slot_is_the_chunk_that_json_would_write(text: str, delta: object) -> None:
    frame = Frame(STAMP, 2, usage_null=True)
    assert isinstance(delta, dict)
    chunks: list[bytes] = []
    frame.slot(delta).fill([text, text], chunks)
    chunk, again = chunks
    assert again == chunk
    assert len(chunk.decode().splitlines()) == 2  # the line, and the empty one that ends it
    assert chunk.endswith(b"}\n\n")
    expected = json.loads(json.dumps(delta).replace(json.dumps(HOLE), json.dumps(text)))
    assert orjson.loads(chunk[6:]) == {
        "id": "chatcmpl-id",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": STAMP.model,
        "choices": [{"index": 2, "delta": expected, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }


def test_the_chunk_of_text_is_the_slot_that_any_delta_has() -> None:
    for frame in (Frame(STAMP, 0, usage_null=False), Frame(STAMP, 2, usage_null=True)):
        assert frame.text() == frame.slot({"content": HOLE})


@pytest.mark.parametrize(
    "value", ["\ud800", "a\udfffb", ["\ud83d"], {"k": {"\udc00": ("\ud83d",)}}]
)
def test_half_a_surrogate_pair_cannot_break_a_stream(value: object) -> None:
    assert "\N{REPLACEMENT CHARACTER}" in str(orjson.loads(dumps(value)))


def test_a_pair_in_two_halves_of_one_text_is_a_character() -> None:
    assert orjson.loads(dumps("\ud83d\ude00")) == "😀"


def test_a_megabyte_delta_passes_intact() -> None:
    text = "ß\u2028x" * 350_000
    encoder = ChatEncoder(Translation({}, "converse-stream", Plan()), STAMP, 0)
    body = {"contentBlockIndex": 0, "delta": {"text": text}}
    role, chunk, _ = encoder.encode([("contentBlockDelta", body)]).split(b"\n\n")
    assert orjson.loads(role[6:])["choices"][0]["delta"]["role"] == "assistant"
    assert orjson.loads(chunk[6:])["choices"][0]["delta"] == {"content": text}
