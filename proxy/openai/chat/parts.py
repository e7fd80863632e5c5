"""Content parts as Converse blocks: one table of part types for users, one for each other role.

OpenAI's own parts, the Responses API's (``input_text``, ``input_image``, ``input_file``) and
Anthropic's (``image``, ``document``, ``search_result``) are read, and the extensions
``guarded_text`` and ``video_url``. A part of any other type is a 400: nothing is dropped in
silence. Blank text is left out (told in the notes): Bedrock refuses it, and it says nothing.

A part that carries a cache mark is followed by its cache point. Sources: OpenAI API reference
(content parts); *ContentBlock*, *ToolResultContentBlock*, *SystemContentBlock* of Converse.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from proxy.converse.types import Json
from proxy.errors import unsupported
from proxy.openai.chat.caching import cache_mark
from proxy.openai.chat.data_urls import Inline, clean_base64, is_data_url, parse_data_url
from proxy.openai.chat.documents import bucket_owner, document_block, file_blocks, inline_file
from proxy.openai.chat.media_parts import (
    Block,
    Intake,
    audio_block,
    image_block,
    inline_audio,
    inline_image,
    read_url,
    remote,
    tell_detail,
    video_block,
)
from proxy.openai.request_checks import (
    as_object,
    bad_value,
    missing,
    read_array,
    read_boolean,
    read_object,
    read_text,
    require_text,
)

Reader = Callable[[Mapping[str, Json], str, Intake], list[Block]]

BLANK_RESULT: Final = "(empty)"
ATTACHED: Final = "The {} is attached."
MOVED: Final = "The {} follows after the tool results."
_QUALIFIERS: Final = ("grounding_source", "query", "guard_content")
_REASONING: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
_MEDIA: Final = ("image", "document", "video", "audio")
_NO_POINT_BEHIND: Final = ("document", "video")


class Result(NamedTuple):
    """One tool message: what stands in its ``toolResult``, what must follow it, its cache point."""

    content: list[Block]
    moved: list[Block]
    mark: Block | None


def is_blank(text: str) -> bool:
    return not text or text.isspace()


def user_blocks(message: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """A user message; empty if all of it is blank. A document gets the text Bedrock wants there."""
    blocks = _content(message["content"], at, intake, _USER)
    if any("document" in block for block in blocks):
        add_document_text(blocks)
    return blocks + closing_mark(message, at, blocks)


def system_blocks(message: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """A system or developer message: text, guarded text and cache points."""
    blocks = _content(message["content"], at, intake, _SYSTEM)
    return blocks + closing_mark(message, at, blocks)


def assistant_blocks(message: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """The text of an assistant message: content, else its audio's transcript, and a refusal."""
    content = message.get("content")
    blocks = [] if content is None else _content(content, at, intake, _ASSISTANT)
    audio = message.get("audio")
    if audio is not None and not blocks:
        transcript = audio.get("transcript") or ""
        if is_blank(transcript):
            intake.notes.add(
                "audio:dropped", f"{at}.audio", "Stored audio cannot be looked up by its id."
            )
        blocks = _text(transcript, intake)
    if message.get("refusal"):
        blocks += _text(message["refusal"], intake)
    if message.get("images"):
        intake.notes.add(
            "images:dropped", f"{at}.images", "Images are accepted in user messages only."
        )
    return blocks


def result_blocks(message: Mapping[str, Json], at: str, intake: Intake) -> Result:
    """A tool (or function) message. Media the family refuses beside results move behind them."""
    blocks: list[Block] = []
    mark = cache_mark(message, at)
    for part, path in _parts(message.get("content") or "", f"{at}.content"):
        for block in _read(part, path, intake, _RESULT):
            if "cachePoint" in block:
                mark = block
            else:
                blocks.append(block)
    content: list[Block] = []
    moved: list[Block] = []
    for block in blocks:
        kind = next((kind for kind in _MEDIA if kind in block), None)
        if kind is None or kind in intake.traits.result_media:
            content.append(block)
        else:
            intake.notes.tell(f"tool_results.{kind}:moved")
            content.append({"text": MOVED.format(kind)})
            moved.append(block)
    if any("document" in block for block in moved):
        add_document_text(moved)
    if not content:
        intake.notes.tell("blank_text:emulated")
        content = [{"text": BLANK_RESULT}]
    return Result(content, moved, mark)


def add_document_text(blocks: list[Block]) -> None:
    """A message that holds a document must hold text (*DocumentBlock*); a point at the end comes
    behind that."""
    if not any("text" in block or "guardContent" in block for block in blocks):
        end = len(blocks) - ("cachePoint" in blocks[-1])
        blocks.insert(end, {"text": ATTACHED.format("document")})


def closing_mark(message: Mapping[str, Json], at: str, blocks: list[Block]) -> list[Block]:
    """The cache point of a marked message, unless its last part has just set one."""
    mark = cache_mark(message, at)
    return [] if mark is None or not blocks or "cachePoint" in blocks[-1] else [mark]


def _content(content: Json, at: str, intake: Intake, table: Mapping[str, Reader]) -> list[Block]:
    if isinstance(content, str) and not intake.guard_tag:  # as most of a history is
        return _text(content, intake)
    blocks: list[Block] = []
    for part, path in _parts(content, f"{at}.content"):
        read = _read(part, path, intake, table)
        if read and blocks:
            _seat_point(blocks, intake)
        elif read and "cachePoint" in read[0]:  # of a blank part, with nothing before it to mark
            intake.notes.tell("cache_control:dropped")
            continue
        blocks += read
    return blocks


def _seat_point(blocks: list[Block], intake: Intake) -> None:
    """A point may not directly follow a document or a video: where more follows, a text goes in
    between (recorded), so that what was marked is what is cached."""
    if "cachePoint" in blocks[-1] and "messages" in intake.traits.cache_places:
        kind = next((kind for kind in _NO_POINT_BEHIND if kind in blocks[-2]), None)
        if kind is not None:
            blocks.insert(-1, {"text": ATTACHED.format(kind)})


def _parts(content: Json, at: str) -> Iterator[tuple[Mapping[str, Json], str]]:
    """Each part with its path; a bare string or object counts as the only part."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}, at
    elif isinstance(content, dict):
        yield content, at
    else:
        for index, part in enumerate(content):
            path = f"{at}[{index}]"
            yield ({"type": "text", "text": part} if isinstance(part, str) else part), path


def _read(
    part: Mapping[str, Json], at: str, intake: Intake, table: Mapping[str, Reader]
) -> list[Block]:
    kind = read_text(part, "type", at) or ("text" if "text" in part else "")
    reader = table.get(kind)
    if reader is None:
        if not kind:
            raise missing(f"{at}.type")
        raise bad_value(f"{at}.type", f"supported here are: {', '.join(table)}.")
    blocks = reader(part, at, intake)
    mark = cache_mark(part, at)
    return blocks if mark is None else [*blocks, mark]


def _text(text: str, intake: Intake) -> list[Block]:
    if is_blank(text):
        if text:
            intake.notes.tell("blank_text:dropped")
        return []
    return [{"text": text}]


def _read_plain(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    text = read_text(part, "text", at)
    if text is None:
        raise missing(f"{at}.text")
    return _text(text, intake)


def _read_text(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """Text that may hold stretches tagged for the guardrail."""
    if not intake.guard_tag:
        return _read_plain(part, at, intake)
    text = read_text(part, "text", at)
    if text is None:
        raise missing(f"{at}.text")
    blocks: list[Block] = []
    for piece, guarded in _tagged(text, intake.guard_tag):
        blocks += _to_guard(piece, [], at, intake) if guarded else _text(piece, intake)
    return blocks


def _tagged(text: str, suffix: str) -> Iterator[tuple[str, bool]]:
    """Pieces of a text, and whether each stood inside the guardrail's tags. An open tag that is
    never closed is plain text."""
    tag = f"amazon-bedrock-guardrails-guardContent_{suffix}>"
    opening, closing = f"<{tag}", f"</{tag}"
    rest = 0
    while (start := text.find(opening, rest)) >= 0:
        end = text.find(closing, start)
        if end < 0:
            break
        yield text[rest:start], False
        yield text[start + len(opening) : end], True
        rest = end + len(closing)
    yield text[rest:], False


def _read_guarded(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    text = read_text(part, "text", at)
    if text is None:
        raise missing(f"{at}.text")
    qualifiers = list(read_array(part, "qualifiers", len(_QUALIFIERS), at) or ())
    for index, word in enumerate(qualifiers):
        if word not in _QUALIFIERS:
            path = f"{at}.qualifiers[{index}]"
            raise bad_value(path, f"supported values are: {', '.join(_QUALIFIERS)}.")
    return _to_guard(text, qualifiers, at, intake)


def _to_guard(text: str, qualifiers: list[Json], at: str, intake: Intake) -> list[Block]:
    """Text for the caller's guardrail; without a mark where the operator's own is in force."""
    if is_blank(text):
        return _text(text, intake)
    if not intake.guard:
        intake.notes.add(
            "guarded_text:dropped", at, "The operator's guardrail assesses all of the content."
        )
        return [{"text": text}]
    inner = {"text": text, "qualifiers": qualifiers} if qualifiers else {"text": text}
    return [{"guardContent": {"text": inner}}]


def _read_refusal(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    text = read_text(part, "refusal", at)
    if text is None:
        raise missing(f"{at}.refusal")
    return _text(text, intake)


def _read_nothing(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """Reasoning, replayed or dropped by ``reasoning.py``; tool blocks (``request_blocks.py``)."""
    return []


def _read_image_url(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    if part.get("image_url") is None and read_text(part, "file_id", at):
        raise unsupported("This proxy has no stored files; send a data: URL.", f"{at}.file_id")
    url, path = read_url(part, "image_url", at)
    if url[:21].lower() == "data:application/pdf;":  # as LiteLLM's and Gemini's users send it
        return inline_file(parse_data_url(url, path), "", path, intake)
    tell_detail(part, at, intake)
    return [image_block(url, path, intake, _owner(part, "image_url"))]


def _owner(part: Mapping[str, Json], key: str) -> Json:
    inner = part.get(key)
    return bucket_owner(inner) if isinstance(inner, dict) else bucket_owner(part)


def _read_image(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """Anthropic's image: ``{source: {type: base64 | url, …}}``."""
    source = read_object(part, "source", at)
    if source is None:
        raise missing(f"{at}.source")
    path = f"{at}.source"
    kind = require_text(source, "type", path)
    if kind == "base64":
        data = require_text(source, "data", path, limit=10**9)
        intake.count_image(f"{path}.data")
        inline = Inline("", clean_base64(data, f"{path}.data", "invalid_image"))
        return [inline_image(inline, f"{path}.data")]
    if kind == "url":
        url = require_text(source, "url", path, limit=10**9)
        return [image_block(url, f"{path}.url", intake, bucket_owner(source))]
    raise bad_value(f"{path}.type", "supported values are: base64, url.")


def _read_video(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    key = "video_url" if part.get("video_url") is not None else "video"
    url, path = read_url(part, key, at)
    return [video_block(url, path, intake, _owner(part, key))]


def _read_audio(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    audio = read_object(part, "input_audio", at)
    if audio is None:
        raise missing(f"{at}.input_audio")
    return [audio_block(audio, f"{at}.input_audio")]


def _read_audio_url(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    url, path = read_url(part, "audio_url", at)
    if not is_data_url(url):
        raise remote(url, path, "invalid_value")
    return [inline_audio(parse_data_url(url, path), "", path)]


def _read_file(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    nested = read_object(part, "file", at)
    if nested is None and part.get("type") == "file" and part.get("file_data") is None:
        raise missing(f"{at}.file")
    return (
        file_blocks(part, at, intake)
        if nested is None
        else file_blocks(nested, f"{at}.file", intake)
    )


def _read_search_result(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """Anthropic's search result: ``{source, title, content: [text], citations?}``."""
    content: list[Block] = []
    for index, entry in enumerate(read_array(part, "content", 10_000, at) or ()):
        path = f"{at}.content[{index}]"
        content.append({"text": require_text(as_object(entry, path), "text", path, limit=10**9)})
    if not content:
        raise missing(f"{at}.content")
    block: Block = {
        "source": require_text(part, "source", at, limit=10_000),
        "title": require_text(part, "title", at, limit=10_000),
        "content": content,
    }
    citations = read_object(part, "citations", at)
    if citations is not None:
        enabled = bool(read_boolean(citations, "enabled", f"{at}.citations"))
        block["citations"] = {"enabled": enabled}
    return [{"searchResult": block}]


_WORDS: Final[Mapping[str, Reader]] = MappingProxyType(
    {"text": _read_text, "input_text": _read_text}
)
_PICTURES: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "image_url": _read_image_url,
        "input_image": _read_image_url,
        "image": _read_image,
        "file": _read_file,
        "input_file": _read_file,
        "document": document_block,
        "video_url": _read_video,
        "input_video": _read_video,
        "video": _read_video,
        "search_result": _read_search_result,
    }
)
_USER: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        **_WORDS,
        **_PICTURES,
        "input_audio": _read_audio,
        "audio_url": _read_audio_url,
        "guarded_text": _read_guarded,
        "refusal": _read_refusal,
        "tool_result": _read_nothing,
    }
)
_SYSTEM: Final[Mapping[str, Reader]] = MappingProxyType({**_WORDS, "guarded_text": _read_guarded})
_ASSISTANT: Final[Mapping[str, Reader]] = MappingProxyType(
    {"text": _read_plain, "output_text": _read_plain, "refusal": _read_refusal}
    | dict.fromkeys((*sorted(_REASONING), "tool_use"), _read_nothing)
)
_RESULT: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "text": _read_plain,
        "input_text": _read_plain,
        "output_text": _read_plain,
        **_PICTURES,
    }
)
