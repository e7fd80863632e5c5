"""Remote media of a request: every part that is read as a URL is found, and filled in its place.

The oracle is the translation itself: a part whose URL was not found would be refused as remote.
"""

import base64
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Link, Linked, Options
from proxy.openai.chat.links import linked, links
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.request_shape import ChatRequest
from proxy.openai.chat.to_converse import translate

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
PDF = b"%PDF-1.7 " + bytes(32)
URL = "https://example.org/files/a%20plan.pdf?size=2#top"
AT = "messages[0].content[1]"


def ask(*parts: Any, role: str = "user") -> ChatRequest:
    said = [{"type": "text", "text": "look"}, *parts]
    message: dict[str, Any] = {"role": role, "content": said}
    if role == "tool":
        message["tool_call_id"] = "c1"
    return parse_request(orjson.dumps({"model": "m", "messages": [message]}), {})


def blocks(request: ChatRequest, model: str = CLAUDE) -> Any:
    named = Model(name="m", id=model, foundation=model, label=model, traits=traits_for(model))
    return translate(request, named, Options()).body["messages"][0]["content"]


IMAGES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, "image_url.url"),
    ({"type": "image_url", "image_url": URL}, "image_url"),
    ({"type": "input_image", "image_url": f" {URL}\n"}, "image_url"),
    ({"type": "image", "source": {"type": "url", "url": URL}}, "source.url"),
)
FILES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"type": "file", "file": {"file_data": URL}}, "file.file_data"),
    ({"type": "file", "file": {"file_url": URL}}, "file.file_url"),
    ({"type": "input_file", "file_url": URL}, "file_url"),
    ({"type": "input_file", "file_data": URL}, "file_data"),
    ({"type": "document", "source": {"type": "url", "url": URL}}, "source.url"),
)


@pytest.mark.parametrize(("part", "at"), IMAGES)
@pytest.mark.parametrize("role", ["user", "tool"])
def test_an_image_takes_the_place_of_its_url(part: dict[str, Any], at: str, role: str) -> None:
    request = ask(part, role=role)
    assert links(request) == [Link(URL, f"{AT}.{at}", image=True)]
    filled = linked(request, {URL: Linked(PNG, "text/html")})
    assert links(filled) == []
    if role == "user":
        [_, block] = blocks(filled)
        held = {"format": "png", "source": {"bytes": base64.b64encode(PNG).decode()}}
        assert block == {"image": held}


@pytest.mark.parametrize(("part", "at"), FILES)
@pytest.mark.parametrize("said", ["application/pdf", "application/octet-stream", "", "a,b;c"])
def test_a_file_takes_the_place_of_its_url(part: dict[str, Any], at: str, said: str) -> None:
    request = ask(part)
    assert links(request) == [Link(URL, f"{AT}.{at}", image=False)]
    [_, block] = blocks(linked(request, {URL: Linked(PDF, said)}))
    assert block["document"]["format"] == "pdf"
    assert block["document"]["source"] == {"bytes": base64.b64encode(PDF).decode()}
    assert block["document"]["name"] == "a plan"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_file", "file_url": URL, "filename": "report.pdf"},
        {"type": "document", "source": {"type": "url", "url": URL}, "title": "report"},
    ],
)
def test_a_clients_own_file_name_stays(part: dict[str, Any]) -> None:
    [_, block] = blocks(linked(ask(part), {URL: Linked(PDF, "")}))
    assert block["document"]["name"] == "report"


@pytest.mark.parametrize(("part", "at"), FILES)
def test_the_url_tells_a_format_that_nothing_else_does(part: dict[str, Any], at: str) -> None:
    url = "https://example.org/table.csv"
    asked = orjson.loads(orjson.dumps(part).replace(URL.encode(), url.encode()))
    [_, block] = blocks(linked(ask(asked), {url: Linked(b"a,b", "application/octet-stream")}))
    assert (block["document"]["format"], block["document"]["name"]) == ("csv", "table")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": URL}},
        {"type": "input_video", "video_url": URL},
        {"type": "video", "video": {"url": URL}},
    ],
)
def test_a_video_too(part: dict[str, Any]) -> None:
    request = ask(part)
    assert [link.image for link in links(request)] == [False]
    [_, block] = blocks(linked(request, {URL: Linked(bytes(40), "video/mp4")}), NOVA)
    assert block["video"]["format"] == "mp4"


def test_sound_too() -> None:
    request = ask({"type": "audio_url", "audio_url": {"url": URL}})
    assert [link.url for link in links(request)] == [URL]
    filled = linked(request, {URL: Linked(b"ID3" + bytes(40), "audio/mpeg")})
    [_, block] = blocks(filled, "mistral.voxtral-mini-3b-2507")
    assert block["audio"]["format"] == "mp3"


def test_a_part_alone_and_many_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": URL}}
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "see https://example.org/a.png"},
            {"role": "user", "content": image},
            {"role": "assistant", "content": "https://example.org/b.png"},
            {"role": "user", "content": [image, "https://example.org/c.png"]},
        ],
    }
    request = parse_request(orjson.dumps(body), {})
    places = ["messages[1].content.image_url.url", "messages[3].content[0].image_url.url"]
    assert [link.param for link in links(request)] == places
    assert links(linked(request, {URL: Linked(PNG, "")})) == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "s3://bucket/a.png"}},
        {"type": "image_url", "image_url": {"url": 7}},
        {"type": "image_url", "image_url": 7},
        {"type": "image_url"},
        {"type": "image", "source": "https://example.org/a.png"},
        {"type": "image", "source": {"type": "base64", "url": URL}},
        {"type": "file", "file": {"file_data": None}},
        {"type": "text", "text": URL, "url": URL},
        {"type": "mystery", "image_url": URL},
        {"image_url": URL},
        {"type": ["image_url"], "image_url": URL},
    ],
)
def test_what_names_no_remote_file(part: dict[str, Any]) -> None:
    assert links(ask(part)) == []


def test_what_was_not_found_stays_and_nothing_is_changed_in_place() -> None:
    part = {"type": "image_url", "image_url": {"url": URL}}
    request = ask(part)
    before = orjson.dumps(request.messages)
    assert linked(request, {}).messages == request.messages
    linked(request, {URL: Linked(PNG, "")})
    assert orjson.dumps(request.messages) == before
