"""Sizes, counts, depths and encodings: what is too much is a 400 with a name, never a 500."""

import base64
import json
import time
import tracemalloc
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Options, Translation
from proxy.errors import ProxyError
from proxy.openai.chat.data_urls import clean_base64, parse_data_url
from proxy.openai.chat.media_parts import MAX_DOCUMENT_BYTES, MAX_IMAGE_BYTES
from proxy.openai.chat.request import _SELDOM, parse_request
from proxy.openai.chat.to_converse import translate

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PNG = b"\x89PNG\r\n\x1a\n"


def translated(content: Any) -> Translation:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": content}]})
    model = Model("m", CLAUDE, CLAUDE, CLAUDE, traits_for(CLAUDE))
    return translate(parse_request(body, {}), model, Options())


def refusal(body: bytes) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        parse_request(body, {})
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def data_url(mime: str, raw: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(raw).decode()}"


def image(size: int) -> list[Any]:
    raw = PNG + b"\0" * (size - len(PNG))
    return [{"type": "image_url", "image_url": {"url": data_url("image/png", raw)}}]


def file(size: int, name: str) -> list[Any]:
    raw = b"a" * size
    url = data_url("application/octet-stream", raw)
    return [{"type": "file", "file": {"file_data": url, "filename": name}}]


@pytest.mark.parametrize("over", [0, 1, 2, 3])
def test_an_image_is_measured_to_the_byte_by_its_base64(over: int) -> None:
    if not over:
        translated(image(MAX_IMAGE_BYTES))
        return
    with pytest.raises(ProxyError) as caught:
        translated(image(MAX_IMAGE_BYTES + over))
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert caught.value.code == "image_too_large"
    assert str(MAX_IMAGE_BYTES + over) in caught.value.message


def test_documents_are_measured_but_not_pdfs() -> None:
    translated(file(MAX_DOCUMENT_BYTES, "a.txt"))
    translated(file(MAX_DOCUMENT_BYTES + 1, "a.pdf"))
    with pytest.raises(ProxyError) as caught:
        translated(file(MAX_DOCUMENT_BYTES + 1, "a.txt"))
    assert caught.value.code == "document_too_large"


def test_clean_base64_passes_as_the_same_object() -> None:
    for raw in (b"abc", b"ab", b"a", PNG * 100):
        text = base64.b64encode(raw).decode()
        assert clean_base64(text, "p") is text


@pytest.mark.parametrize("raw", [b"a", b"ab", b"abc", bytes(range(256)), b"\xff\xfe\xfd" * 9])
def test_every_spelling_of_base64_gives_the_same_bytes(raw: bytes) -> None:
    plain = base64.b64encode(raw).decode()
    spellings = (
        plain,
        plain.rstrip("="),
        base64.urlsafe_b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "\n".join(plain[at : at + 5] for at in range(0, len(plain), 5)),
        f" {plain}\r\n",
        plain.replace("=", "%3D").replace("+", "%2B"),
    )
    for spelling in spellings:
        assert clean_base64(spelling, "p") == plain


@pytest.mark.parametrize(
    "text", ["", "=", "====", "A", "AAAAA", "AA=A", "A===", "AAA*", "ÅAAA", "%41"]
)
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ProxyError) as caught:
        clean_base64(text, "p")
    assert caught.value.param == "p"


def test_data_urls() -> None:
    inline = parse_data_url("DATA:Image/PNG;charset=x;BASE64,aGk=", "p")
    assert inline == ("image/png", "aGk=")
    assert inline.head == b"hi"
    assert inline.size == 2
    assert parse_data_url("data:,hi%20you", "p") == ("text/plain", "aGkgeW91")
    for bad in ("data:", "data:image/png;base64", "data:text/plain,"):
        with pytest.raises(ProxyError):
            parse_data_url(bad, "p")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"\xff\xfe",
        b'{"model":"m\xff"}',
        b'{"model":"m"' + b" " * 100,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"model":"m","messages":[{"role":"user","content":' + b"[" * 10_000,
        b'{"temperature":1e999}',
        b'{"temperature":-Infinity}',
        b'\xef\xbb\xbf{"model":"m"}',
    ],
    ids=range(11),
)
def test_bytes_that_are_no_request(body: bytes) -> None:
    error = refusal(body)
    assert error.param is None
    assert error.message


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "user", "content": "x"}] * 10_001}, "messages"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 513}, "tools"),
        ({"stop": ["a"] * 2_501}, "stop"),
        ({"messages": [{"role": "user", "content": ["x"] * 10_001}]}, "messages[0].content"),
        ({"model": "m" * 2_049}, "model"),
        ({"user": "u" * 1_025}, "user"),
        ({"additionalModelRequestFields": nested(300)}, "additionalModelRequestFields"),
        ({"thinking": {"type": "enabled", "x": nested(300)}}, "thinking"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": nested(300)}}]},
            "tools[0].function.parameters",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": nested(300)},
                }
            },
            "response_format.json_schema.schema",
        ),
        ({"top_k": 2**31}, "top_k"),
        ({"max_completion_tokens": 2**63}, "max_completion_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_too_much_of_it(fields: dict[str, Any], param: str) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    assert refusal(json.dumps(request).encode()).param == param


@pytest.mark.parametrize("value", [b"{}", b"[]", b'{"a":1}', b"1000", b'"ab"'])
def test_a_body_of_nothing_but_values_is_refused_before_it_is_read(value: bytes) -> None:
    """24 MB of them took 400 to 850 MB of memory, and for up to 2 s the interpreter."""
    values = b",".join([value] * (24_000_000 // (len(value) + 1)))
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}], "x": [%b]}' % values
    tracemalloc.start()
    try:
        with pytest.raises(ProxyError) as caught:
            parse_request(body, {})
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


def test_a_long_text_of_many_commas_is_none_of_it() -> None:
    text = "0.25,-1.5,3,4,5\n" * 250_000  # 4 MB of figures, four marks in sixteen characters
    messages = [{"role": "user", "content": text}]
    assert parse_request(orjson.dumps({"model": "m", "messages": messages}), {}).messages


def test_a_deep_but_bounded_schema_still_travels() -> None:
    request = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "additionalModelRequestFields": nested(200),
    }
    model = Model("m", CLAUDE, CLAUDE, CLAUDE, traits_for(CLAUDE))
    body = translate(parse_request(orjson.dumps(request), {}), model, Options()).body
    assert orjson.loads(orjson.dumps(body))["additionalModelRequestFields"] == nested(200)


MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
CALL = {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BROKEN = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}" * 500_000}}
LOOP = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_0", "content": "r"},
]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [MARKED] * 10_000}],
        [{"role": "user", "content": [MARKED]}] * 10_000,
        LOOP * 3_300,
        [LOOP[0], {"role": "assistant", "tool_calls": [CALL] * 1_000}, *[LOOP[2]] * 9_000],
        [LOOP[0], {"role": "assistant", "tool_calls": [BROKEN]}],
    ],
    ids=["marked-parts", "marked-messages", "one-id", "twins", "objects-run-together"],
)
def test_hostile_shapes_take_time_by_their_size_only(messages: list[Any]) -> None:
    body = orjson.dumps({"model": "m", "messages": messages})
    model = Model("m", CLAUDE, CLAUDE, CLAUDE, traits_for(CLAUDE))
    start = time.process_time()
    translate(parse_request(body, {}), model, Options())
    assert time.process_time() - start < 1.5, "quadratic: it takes a tenth of that"


def test_percent_encoded_data_has_a_limit() -> None:
    url = "data:text/plain," + "%41" * 400_000
    with pytest.raises(ProxyError) as caught:
        translated([{"type": "file", "file": {"file_data": url, "filename": "a.txt"}}])
    assert "base64" in caught.value.message


@pytest.mark.parametrize("name", sorted(_SELDOM))
def test_what_few_requests_hold_is_checked_where_it_stands_alone(name: str) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert refusal(orjson.dumps({"model": "m", "messages": messages, name: [1]})).param == name
