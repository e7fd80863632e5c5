"""File and document parts as Converse document blocks, each with a legal name of its own.

The format comes from the MIME type, then from the file name, then from the first bytes. Names are
what the model reads, so they stay close to the client's: extension off, foreign characters to
hyphens, and a counter where two would be the same. A file may also be an image or a video, then it
is one; text files go as text where a family takes no documents. Source: *DocumentBlock* in the
Converse reference (formats, name rules); the uniqueness of names is a field report.
"""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.converse.types import Json
from proxy.errors import invalid, unsupported
from proxy.media.sniff import IMAGES, sniff
from proxy.openai.chat.data_urls import Inline, clean_base64, is_data_url, parse_data_url
from proxy.openai.chat.media_parts import (
    Block,
    Intake,
    check_document_size,
    image_block,
    inline_image,
    inline_video,
    remote,
    s3_source,
)
from proxy.openai.request_checks import (
    as_object,
    bad_value,
    join,
    missing,
    read_array,
    read_boolean,
    read_object,
    read_text,
    require_text,
)

MAX_NAME: Final = 200
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
_FOREIGN_BUT_UNDERSCORES: Final = re.compile(r"[^A-Za-z0-9_\s\-()\[\]]+")
_SPACE: Final = re.compile(r"\s+")
"""Also the no-break spaces of a Mac's file names: Bedrock takes plain ones."""
_TEXT_FORMATS: Final = frozenset({"txt", "md", "csv", "html"})
_GENERIC: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_BY_MIME: Final = MappingProxyType(
    {
        "application/pdf": "pdf",
        "application/x-pdf": "pdf",
        "text/csv": "csv",
        "application/csv": "csv",
        "text/html": "html",
        "application/xhtml+xml": "html",
        "text/markdown": "md",
        "text/x-markdown": "md",
        "application/msword": "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
        "application/vnd.ms-excel": "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
        "application/json": "txt",
        "application/ld+json": "txt",
        "application/x-ndjson": "txt",
        "application/xml": "txt",
        "application/yaml": "txt",
        "application/x-yaml": "txt",
        "application/toml": "txt",
        "application/javascript": "txt",
        "application/x-javascript": "txt",
        "application/typescript": "txt",
        "application/x-sh": "txt",
        "application/x-python": "txt",
        "application/sql": "txt",
    }
)
_BY_ENDING: Final = MappingProxyType({
    "pdf": "pdf",
    "csv": "csv",
    "doc": "doc",
    "docx": "docx",
    "xls": "xls",
    "xlsx": "xlsx",
    "html": "html",
    "htm": "html",
    "md": "md",
    "markdown": "md",
    **dict.fromkeys(
        (
            "txt", "text", "log", "json", "jsonl", "ndjson", "xml", "yaml", "yml", "toml", "ini",
            "cfg", "conf", "env", "tsv", "rst", "tex", "sql", "sh", "py", "js", "mjs", "ts", "tsx",
            "jsx", "css", "java", "kt", "go", "rs", "rb", "php", "c", "h", "cc", "cpp", "hpp", "cs",
            "swift", "scala", "lua", "r", "pl", "diff", "patch", "srt", "vtt",
        ),
        "txt",
    ),
})  # fmt: skip


def file_blocks(file: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """OpenAI's ``file`` (or the Responses API's ``input_file``): ``{file_data, filename}``."""
    if read_text(file, "file_id", at):
        raise unsupported("This proxy has no stored files; send 'file_data'.", join(at, "file_id"))
    if url := read_text(file, "file_url", at):
        raise remote(url, join(at, "file_url"), "invalid_value")
    data, path = read_text(file, "file_data", at), f"{at}.file_data"
    if not data:
        raise missing(path)
    filename = read_text(file, "filename", at) or ""
    if data[:5].lower() == "s3://":
        return [_s3_document(data, path, filename, file, intake)]
    if data[:8].lower().startswith(("http://", "https://")):
        raise remote(data, path, "invalid_value")
    if is_data_url(data):
        inline = parse_data_url(data, path)
    else:
        inline = Inline("", clean_base64(data, path))
    return inline_file(inline, filename, path, intake)


def inline_file(inline: Inline, filename: str, path: str, intake: Intake) -> list[Block]:
    """A document, image or video by what it is; ``filename`` may be empty."""
    kind = sniff(inline.head)
    if inline.mime.startswith("image/") or (kind in IMAGES and inline.mime in _GENERIC):
        intake.count_image(path)
        return [inline_image(inline, path)]
    if inline.mime.startswith("video/"):
        return [inline_video(inline, path)]
    form = document_format(inline.mime, filename) or ("pdf" if kind == "pdf" else None)
    if form is None:
        told = (inline.mime or filename.rpartition(".")[2] or "unknown")[:64]
        raise invalid(
            f"Unsupported file type: {told}. Documents may be pdf, csv, doc, docx, xls, xlsx, "
            "html, txt or md.",
            path,
            "unsupported_file_type",
        )
    if form in _TEXT_FORMATS and not intake.traits.documents:
        intake.notes.tell("file:emulated")
        return [_as_text(inline, filename, path)]
    check_document_size(inline, form, path)
    return [_document(form, {"bytes": inline.data}, filename, path, intake)]


def document_format(mime: str, filename: str) -> str | None:
    """Converse's format word; a MIME type of any text stands for txt."""
    if mime not in _GENERIC and mime in _BY_MIME:
        return _BY_MIME[mime]
    ending = _BY_ENDING.get(filename.rpartition(".")[2].lower()) if "." in filename else None
    if mime.startswith("text/"):
        return ending if ending in _TEXT_FORMATS else "txt"
    return ending


def document_block(part: Mapping[str, Json], at: str, intake: Intake) -> list[Block]:
    """Anthropic's ``document``: source base64, text, content or url; title, context, citations."""
    source = read_object(part, "source", at)
    if source is None:
        raise missing(f"{at}.source")
    title = read_text(part, "title", at) or ""
    path, kind = f"{at}.source", require_text(source, "type", f"{at}.source")
    match kind:
        case "base64":
            data = require_text(source, "data", path, limit=10**9)
            inline = Inline(
                (read_text(source, "media_type", path) or "").lower(),
                clean_base64(data, f"{path}.data"),
            )
            blocks = inline_file(inline, title, f"{path}.data", intake)
        case "text":
            text = require_text(source, "data", path, limit=10**9)
            blocks = [_document("txt", {"text": text}, title, path, intake)]
        case "content":
            pieces = _content_pieces(source, path)
            blocks = [_document("txt", {"content": pieces}, title, path, intake)]
        case "url":
            url = require_text(source, "url", path, limit=10**9)
            blocks = _document_url(url, f"{path}.url", title, source, intake)
        case _:
            raise bad_value(f"{path}.type", "supported values are: base64, content, text, url.")
    _describe(blocks[0], part, at)
    return blocks


def _document_url(
    url: str, path: str, title: str, source: Mapping[str, Json], intake: Intake
) -> list[Block]:
    if is_data_url(url):
        return inline_file(parse_data_url(url, path), title, path, intake)
    if url[:5].lower() == "s3://":
        return [_s3_document(url, path, title, source, intake)]
    raise remote(url, path, "invalid_value")


def _content_pieces(source: Mapping[str, Json], path: str) -> list[Block]:
    content = source.get("content")
    if isinstance(content, str):
        return [{"text": content}]
    pieces: list[Block] = []
    for index, entry in enumerate(read_array(source, "content", 10_000, path) or ()):
        at = f"{path}.content[{index}]"
        pieces.append({"text": require_text(as_object(entry, at), "text", at, limit=10**9)})
    if not pieces:
        raise missing(f"{path}.content")
    return pieces


def _describe(block: Block, part: Mapping[str, Json], at: str) -> None:
    document = block.get("document")
    if document is None:
        return
    context = read_text(part, "context", at)
    if context and not context.isspace():
        document["context"] = context
    citations = read_object(part, "citations", at)
    if citations is not None:
        document["citations"] = {
            "enabled": bool(read_boolean(citations, "enabled", f"{at}.citations"))
        }


def _s3_document(
    uri: str, path: str, filename: str, source: Mapping[str, Json], intake: Intake
) -> Block:
    key = uri.rpartition("/")[2]
    ending = key.rpartition(".")[2].lower()
    if ending in ("png", "jpg", "jpeg", "gif", "webp"):
        return image_block(uri, path, intake, bucket_owner(source))
    form = document_format("", filename) or document_format("", key)
    if form is None:
        raise bad_value(path, "neither 'filename' nor the S3 key's ending names a document format.")
    return _document(
        form, s3_source(uri, path, bucket_owner(source)), filename or key, path, intake
    )


def bucket_owner(source: Mapping[str, Json]) -> Json:
    """The extension that names an S3 bucket's account, in either spelling."""
    snake = source.get("bucket_owner")
    return source.get("bucketOwner") if snake is None else snake


def _document(form: str, source: Block, filename: str, path: str, intake: Intake) -> Block:
    intake.count_document(path)
    name = document_name(filename, intake.names, underscores=intake.traits.document_underscores)
    if filename and name not in (filename, filename.rpartition(".")[0]):
        intake.notes.tell("file.filename:renamed")
    return {"document": {"format": form, "name": name, "source": source}}


def document_name(filename: str, taken: set[str], *, underscores: bool = False) -> str:
    """A legal name, unlike all those ``taken`` (it joins them)."""
    foreign = _FOREIGN_BUT_UNDERSCORES if underscores else _FOREIGN
    stem = filename.replace("\\", "/").rpartition("/")[2]
    if stem.rpartition(".")[2].lower() in _BY_ENDING:
        stem = stem.rpartition(".")[0]
    plain = _SPACE.sub(" ", foreign.sub("-", stem)).strip(" -") or "document"
    name, turn = plain[:MAX_NAME].rstrip(), 1
    while name in taken:
        turn += 1
        mark = f"-{turn}"
        name = plain[: MAX_NAME - len(mark)].rstrip() + mark
    taken.add(name)
    return name


def _as_text(inline: Inline, filename: str, path: str) -> Block:
    try:
        text = base64.b64decode(inline.data).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise bad_value(path, "the file is not UTF-8 text.") from None
    return {"text": f"{filename}:\n{text}" if filename else text}
