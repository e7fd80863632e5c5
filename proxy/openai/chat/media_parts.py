"""Images, video and audio of a request as Converse blocks, and how much of them one may hold.

Bytes travel as the base64 they came in (``data_urls``); an image's format is told by its first
bytes, because MIME types lie and Claude refuses a mismatch. Remote URLs are refused here: where
they may be fetched, ``links.py`` has put data URLs in their place before.

Limits (*Message*, *ImageBlock*, *DocumentBlock* in the Converse reference): 20 images of 3.75 MB
and 5 documents of 4.5 MB a request. PDFs are exempt from the size (newer Claude and Nova take
larger ones, so the service judges them); S3 objects are never measured.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.errors import ProxyError, invalid
from proxy.media.sniff import IMAGES, sniff
from proxy.openai.chat.data_urls import Inline, clean_base64, is_data_url, parse_data_url
from proxy.openai.chat.notes import Notes
from proxy.openai.request_checks import bad_value, join, missing, read_text, wrong_type

Block = dict[str, Json]

MAX_IMAGES: Final = 20
MAX_IMAGE_BYTES: Final = 3_932_160
MAX_DOCUMENTS: Final = 5
MAX_DOCUMENT_BYTES: Final = 4_718_592

_S3_URI: Final = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_IMAGE_ENDS: Final = MappingProxyType(
    {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "gif": "gif", "webp": "webp"}
)
_VIDEO_FORMATS: Final = MappingProxyType({
    "mkv": "mkv", "x-matroska": "mkv", "matroska": "mkv", "mov": "mov", "quicktime": "mov",
    "mp4": "mp4", "m4v": "mp4", "webm": "webm", "flv": "flv", "x-flv": "flv", "mpeg": "mpeg",
    "mpg": "mpg", "wmv": "wmv", "x-ms-wmv": "wmv", "three_gp": "three_gp", "3gp": "three_gp",
    "3gpp": "three_gp",
})  # fmt: skip
_AUDIO_FORMATS: Final = MappingProxyType({
    "mp3": "mp3", "mpeg": "mp3", "opus": "opus", "wav": "wav", "x-wav": "wav", "wave": "wav",
    "vnd.wave": "wav", "aac": "aac", "x-aac": "x-aac", "flac": "flac", "x-flac": "flac",
    "mp4": "mp4", "m4a": "m4a", "x-m4a": "m4a", "ogg": "ogg", "mkv": "mkv", "mka": "mka",
    "x-matroska": "mka", "matroska": "mka", "mpga": "mpga", "pcm": "pcm", "l16": "pcm",
    "webm": "webm",
})  # fmt: skip


@dataclass(slots=True)
class Intake:
    """What the parts of one request have in common: the family, the notes, and running counts."""

    traits: Traits
    notes: Notes
    guard: bool = True
    """Content may be marked for a guardrail. Not where the operator's own guardrail assesses all:
    a mark would shrink what it sees."""
    guard_tag: str = ""
    images: int = 0
    documents: int = 0
    names: set[str] = field(default_factory=set)

    def count_image(self, path: str) -> None:
        self.images += 1
        if self.images > MAX_IMAGES:
            raise bad_value(path, f"at most {MAX_IMAGES} images may be sent in one request.")

    def count_document(self, path: str) -> None:
        self.documents += 1
        if self.documents > MAX_DOCUMENTS:
            raise bad_value(path, f"at most {MAX_DOCUMENTS} documents may be sent in one request.")


def read_url(source: Mapping[str, Json], key: str, at: str) -> tuple[str, str]:
    """``{key: {url}}`` or ``{key: url}`` as (url, its path)."""
    value, path = source.get(key), join(at, key)
    if isinstance(value, dict):
        value, path = value.get("url"), f"{path}.url"
    if value is None:
        raise missing(path)
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    return value.strip(), path


def tell_detail(part: Mapping[str, Json], at: str, intake: Intake) -> None:
    """How closely a picture is to be looked at: Bedrock's models decide that themselves."""
    inner = part.get("image_url")
    holder, path = (inner, join(at, "image_url")) if isinstance(inner, dict) else (part, at)
    if read_text(holder, "detail", path) not in (None, "", "auto"):
        intake.notes.tell("image_url.detail:dropped")


def image_block(url: str, path: str, intake: Intake, owner: Json = None) -> Block:
    """A data URL or an S3 URI as an image block."""
    intake.count_image(path)
    if url[:5].lower() == "s3://":
        if not intake.traits.s3_media:
            raise bad_value(path, "this model takes no images from S3; send a data: URL.")
        form = _IMAGE_ENDS.get(_ending(url))
        if form is None:
            raise bad_value(path, "an S3 key must end in .png, .jpg, .jpeg, .gif or .webp.")
        return {"image": {"format": form, "source": s3_source(url, path, owner)}}
    if not is_data_url(url):
        raise remote(url, path, "invalid_image_url")
    return inline_image(parse_data_url(url, path, "invalid_image_url"), path)


def inline_image(inline: Inline, path: str) -> Block:
    """Counted by the caller."""
    kind = sniff(inline.head)
    if kind not in IMAGES:
        what = f"this is {kind} data" if kind else "its first bytes are not those of an image"
        raise invalid(
            f"Unsupported image: {what}; send png, jpeg, gif or webp.", path, "invalid_image"
        )
    _check_size(inline, MAX_IMAGE_BYTES, "image", path)
    return {"image": {"format": kind, "source": {"bytes": inline.data}}}


def video_block(url: str, path: str, intake: Intake, owner: Json = None) -> Block:
    if url[:5].lower() == "s3://":
        if not intake.traits.s3_media:
            raise bad_value(path, "this model takes no video from S3; send a data: URL.")
        form = _VIDEO_FORMATS.get(_ending(url))
        if form is None:
            raise bad_value(path, "the S3 key's ending names no known video format.")
        return {"video": {"format": form, "source": s3_source(url, path, owner)}}
    if not is_data_url(url):
        raise remote(url, path, "invalid_value")
    return inline_video(parse_data_url(url, path), path)


def inline_video(inline: Inline, path: str) -> Block:
    form = _VIDEO_FORMATS.get(_subtype(inline.mime)) or _VIDEO_FORMATS.get(sniff(inline.head) or "")
    if form is None:
        raise bad_value(path, "the data URL's type names no known video format.")
    return {"video": {"format": form, "source": {"bytes": inline.data}}}


def audio_block(audio: Mapping[str, Json], at: str) -> Block:
    """``{data, format}``; ``data`` is base64 or a data URL."""
    data = read_text(audio, "data", at)
    if not data:
        raise missing(f"{at}.data")
    if is_data_url(data):
        inline = parse_data_url(data, f"{at}.data")
    else:
        inline = Inline("", clean_base64(data, f"{at}.data"))
    return inline_audio(inline, read_text(audio, "format", at) or "", f"{at}.format")


def inline_audio(inline: Inline, named: str, path: str) -> Block:
    """``named`` is the format as the client has it, "" to go by the MIME type or the bytes."""
    word = (named or _subtype(inline.mime)).lower()
    form = _AUDIO_FORMATS.get(word or sniff(inline.head) or "")
    if form is None:
        words = ", ".join(sorted(set(_AUDIO_FORMATS.values())))
        raise bad_value(path, f"supported values are: {words}.")
    return {"audio": {"format": form, "source": {"bytes": inline.data}}}


def s3_source(uri: str, path: str, owner: Json = None) -> Block:
    """``owner`` is the bucket's account id, an extension beside the URL."""
    if len(uri) > 1024 or not _S3_URI.fullmatch(uri):
        raise bad_value(path, "not an S3 URI (s3://bucket/key).")
    if owner is None:
        return {"s3Location": {"uri": uri}}
    if not isinstance(owner, str) or not _ACCOUNT.fullmatch(owner):
        raise bad_value(path, "the bucket's owner is an account id of 12 digits.")
    return {"s3Location": {"uri": uri, "bucketOwner": owner}}


def remote(url: str, path: str, code: str) -> ProxyError:
    """Why a URL that is neither data nor S3 is refused, and one that nobody fetched."""
    if re.match(r"https?://", url, re.IGNORECASE):
        message = "This proxy does not fetch remote media; send a data: URL."
    else:
        message = "Expected a data: URL (or s3:// where the model reads from S3)."
    return invalid(message, path, code)


def check_document_size(inline: Inline, form: str, path: str) -> None:
    if form != "pdf":
        _check_size(inline, MAX_DOCUMENT_BYTES, "document", path)


def _check_size(inline: Inline, limit: int, what: str, path: str) -> None:
    if inline.size > limit:
        raise invalid(
            f"The {what} has {inline.size} bytes; Bedrock takes at most {limit}.",
            path,
            f"{what}_too_large",
        )


def _ending(url: str) -> str:
    return url.rpartition("/")[2].rpartition(".")[2].lower()


def _subtype(mime: str) -> str:
    return mime.partition("/")[2]
