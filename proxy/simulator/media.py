"""The rules of images, documents, video and audio.

Limits are those of the Converse user guide (20 images of 3.75 MB and 8000 pixels a side, 5
documents of 4.5 MB, 25 MB of video) with a document's naming rules; PDFs have no size limit on
Claude 4 and Nova. Claude compares the declared image format with the bytes, as Anthropic does.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Iterator

from proxy.simulator.call import Block, Call
from proxy.simulator.refusals import invalid, model_says, unsupported, unsupported_block

_MEGABYTE = 1024 * 1024
_IMAGE_BYTES = int(3.75 * _MEGABYTE)
_DOCUMENT_BYTES = int(4.5 * _MEGABYTE)
_VIDEO_BYTES = 25 * _MEGABYTE
_MOST_IMAGES = 20
_MOST_DOCUMENTS = 5
_MOST_PIXELS = 8000
# The user guide leaves out the underscore; Claude Sonnet 4.5 and 5 were recorded taking it.
_NAME = re.compile(r"[a-zA-Z0-9_\-()\[\]]+(?:\s[a-zA-Z0-9_\-()\[\]]+)*")
_MEDIA = ("image", "document", "video", "audio", "searchResult")


def check_media(call: Call) -> None:
    """Raise `Refusal` for media that the family or the service does not take."""
    images = documents = 0
    names: set[str] = set()
    for where, kind, block, in_result in _media(call):
        if not in_result and kind not in call.family.media:
            raise unsupported_block(kind)
        _check_source(call, where, kind, block, in_result)
        if kind == "image":
            images += 1
            _check_image(call, where, block)
        elif kind == "document":
            documents += 1
            _check_document(where, block, names)
        elif kind == "video" and _size(block) > _VIDEO_BYTES:
            raise invalid(f"The video at {where} exceeds the maximum size of 25 MB.")
    if images > _MOST_IMAGES:
        raise invalid(f"The request contains {images} images, more than the maximum of 20.")
    if documents > _MOST_DOCUMENTS:
        raise invalid(f"The request contains {documents} documents, more than the maximum of 5.")
    _check_beside_text(call)


def _media(call: Call) -> Iterator[tuple[str, str, Block, bool]]:
    """Each media block: where, kind, block, whether inside a tool result."""
    for at, index, _, block in call.blocks():
        where = f"messages.{at}.content.{index}"
        for kind in _MEDIA:
            if kind in block:
                yield where, kind, block[kind], False
        for inner, result in enumerate((block.get("toolResult") or {}).get("content", ())):
            for kind in _MEDIA:
                if kind in result:
                    yield f"{where}.toolResult.content.{inner}", kind, result[kind], True


def _check_source(call: Call, where: str, kind: str, block: Block, in_result: bool) -> None:
    if kind == "searchResult" or "s3Location" not in block.get("source", {}):
        return
    if call.family.name == "nova-2" and in_result and kind != "image":
        at = where.split(".")[1]
        raise model_says(
            f"Malformed input request: #/messages/{at}/content/0: extraneous key [toolResult] is "
            "not permitted, please reformat your input and try again."
        )
    if call.family.s3:
        return
    if kind == "document" and call.family.is_claude:
        # Recorded on Sonnet 4.5: a text document or one in a tool result passes, a PDF does not.
        if in_result or block.get("format") != "pdf":
            return
        raise model_says(f"{where}.document.source.type: Field required")
    raise invalid("This model doesn't support the s3Uri field. Remove s3Uri and try again.")


def _check_image(call: Call, where: str, block: Block) -> None:
    encoded = block["source"].get("bytes")
    if encoded is None:
        return
    if _size(block) > _IMAGE_BYTES:
        raise model_says(
            f"{where}.image.source.base64: image exceeds 5 MB maximum: {len(encoded)} bytes > "
            "5242880 bytes"
        )
    head = binascii.a2b_base64(encoded[:64] if len(encoded) >= 64 else encoded)
    actual = _sniff(head)
    if actual is None or (actual == "png" and len(head) < 24):  # cut off before its size
        raise model_says("Could not process image")
    if call.family.sniffs_images and actual != block["format"]:
        raise model_says(
            f"{where}.image.source.base64: The image was specified using the "
            f"image/{block['format']} media type, but the image appears to be a image/{actual} "
            "image"
        )
    width, height = struct.unpack(">II", head[16:24]) if actual == "png" else (0, 0)
    if max(width, height) > _MOST_PIXELS:
        raise model_says(
            f"{where}.image.source.base64.data: At least one of the image dimensions exceed max "
            "allowed size: 8000 pixels"
        )


def _sniff(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


def _check_document(where: str, block: Block, names: set[str]) -> None:
    name = block["name"]
    if not _NAME.fullmatch(name):
        raise invalid(
            "The document file name can only contain alphanumeric characters, whitespace "
            "characters, hyphens, parentheses, and square brackets. The name can't contain more "
            "than one consecutive whitespace character."
        )
    if name in names:
        raise invalid(
            f"Messages contain duplicate document names: {name}. Use unique names and try again."
        )
    names.add(name)
    source = block["source"]
    if "bytes" in source and not block.get("format"):
        raise invalid(f"The format field in the DocumentBlock object at {where} is missing.")
    if _size(block) > _DOCUMENT_BYTES and block.get("format") != "pdf":
        raise invalid(f"The document at {where} exceeds the maximum size of 4.5 MB.")
    if "text" in source and not source["text"].strip():
        raise unsupported("document.source.text")


def _check_beside_text(call: Call) -> None:
    for at, message in enumerate(call.messages):
        kinds = {next(iter(block)) for block in message["content"]}
        if "document" in kinds and not kinds & {"text", "guardContent", "toolResult"}:
            raise invalid(
                f"The message at messages.{at} contains a document but no text. Include a text "
                "block and try again."
            )


def _size(block: Block) -> int:
    """Bytes behind the base64 of a source, without decoding it."""
    encoded = block["source"].get("bytes") or ""
    return len(encoded) * 3 // 4 - encoded[-2:].count("=")
