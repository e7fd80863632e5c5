"""Remote media of a chat request: which URLs it names, and the request with their files in it.

Only parts of user and tool messages are looked at, for only there media are read. A file takes the
place of its URL as a data URL, so that whatever follows (formats, sizes, counts, names) is one rule
for both. A file's name, where the client gave none, is the last piece of its URL: documents need
one, and their format may be told by nothing else.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple
from urllib.parse import unquote

from proxy.converse.types import Json
from proxy.dialect import Link, Linked
from proxy.openai.chat.request_shape import ChatRequest

_REMOTE: Final = re.compile(r"\s*https?://", re.IGNORECASE)
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_ROLES: Final = frozenset({"user", "tool", "function"})
_MAX_NAME: Final = 200


class _Place(NamedTuple):
    """Where in a part a URL stands: ``("image_url", "url")``."""

    keys: tuple[str, ...]
    url: str
    image: bool


def links(request: ChatRequest) -> Sequence[Link]:
    """Every remote URL, in the order of the messages."""
    return [
        Link(place.url, ".".join((path, *place.keys)), place.image)
        for index, message in enumerate(request.messages)
        if not isinstance(message.get("content"), str)  # as most of a history is
        for path, place in _places(message, f"messages[{index}].content")
    ]


def linked(request: ChatRequest, found: Mapping[str, Linked]) -> ChatRequest:
    """The request with what was ``found``, by URL, in the places of the URLs."""
    texts = {url: _data_url(one) for url, one in found.items()}
    messages = (_filled(message, texts) for message in request.messages)
    return replace(request, messages=tuple(messages))


def _filled(message: Mapping[str, Json], texts: Mapping[str, str]) -> Mapping[str, Json]:
    content = message.get("content")
    if message["role"] not in _ROLES or not isinstance(content, list | dict):
        return message
    if isinstance(content, dict):
        return {**message, "content": _filled_part(content, texts)}
    return {**message, "content": [_filled_part(part, texts) for part in content]}


def _filled_part(part: Json, texts: Mapping[str, str]) -> Json:
    place = _place(part) if isinstance(part, dict) else None
    if place is None or place.url not in texts:
        return part
    filled = _put(part, place.keys, place.url, texts[place.url])
    if part.get("type") == "document" and not part.get("title"):
        filled["title"] = _name_in(place.url)  # what such a part calls its name
    return filled


def _put(holder: Mapping[str, Json], keys: Sequence[str], url: str, text: str) -> dict[str, Json]:
    key, *rest = keys
    if rest:
        return {**holder, key: _put(holder[key], rest, url, text)}
    if key not in ("file_url", "file_data"):
        return {**holder, key: text}
    kept = {name: value for name, value in holder.items() if name != "file_url"}
    return {**kept, "file_data": text, "filename": holder.get("filename") or _name_in(url)}


def _places(message: Mapping[str, Json], at: str) -> Iterator[tuple[str, _Place]]:
    content = message.get("content")
    if message["role"] not in _ROLES or content is None:
        return
    parts = [(at, content)]
    if isinstance(content, list):
        parts = [(f"{at}[{index}]", part) for index, part in enumerate(content)]
    for path, part in parts:
        place = _place(part) if isinstance(part, dict) else None
        if place is not None:
            yield path, place


def _place(part: Mapping[str, Json]) -> _Place | None:
    """The remote URL of a part, read as leniently as the part itself is read (``parts.py``)."""
    match part.get("type"):
        case "image_url" | "input_image":
            return _read(part, ("image_url",), True)
        case "image":
            return _read_source(part, True)
        case "document":
            return _read_source(part, False)
        case "video_url" | "input_video" | "video":
            key = "video_url" if part.get("video_url") is not None else "video"
            return _read(part, (key,), False)
        case "audio_url":
            return _read(part, ("audio_url",), False)
        case "file" | "input_file":
            above = ("file",) if isinstance(part.get("file"), dict) else ()
            holder = part["file"] if above else part
            key = "file_url" if holder.get("file_url") else "file_data"
            return _read(part, (*above, key), False)
    return None


def _read_source(part: Mapping[str, Json], image: bool) -> _Place | None:
    """Anthropic's ``source: {type: url, url}``."""
    source = part.get("source")
    if not isinstance(source, dict) or source.get("type") != "url":
        return None
    return _read(part, ("source", "url"), image)


def _read(part: Mapping[str, Json], keys: tuple[str, ...], image: bool) -> _Place | None:
    value: Json = part
    for key in keys:
        value = value.get(key)
    if isinstance(value, dict):
        keys, value = (*keys, "url"), value.get("url")
    if not isinstance(value, str) or not _REMOTE.match(value):
        return None
    return _Place(keys, value.strip(), image)


def _data_url(one: Linked) -> str:
    """A type that is none would end the data URL's head too early."""
    media_type = one.media_type if _MEDIA_TYPE.fullmatch(one.media_type) else ""
    return f"data:{media_type};base64,{base64.b64encode(one.data).decode('ascii')}"


def _name_in(url: str) -> str:
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    _, _, name = path.partition("://")[2].rpartition("/")
    return unquote(name, errors="replace")[-_MAX_NAME:]
