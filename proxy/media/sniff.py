"""What a file is, told by its first bytes; clients' MIME types are often wrong.

Pure and cheap: 32 bytes are enough for every kind told here, so nobody has to decode a whole
attachment. Kinds are Converse's format words where it has one (png, jpeg, gif, webp, pdf, mp4, …)
and the common name where it has none, so that a refusal can say what was sent. Sources: the
formats' own specifications (PNG 5.2, JFIF, GIF89a, RFC 9649 for WebP, ISO/IEC 14496-12 for the
``ftyp`` brands, RFC 9559 for Matroska, RIFF, ID3v2, Ogg and FLAC).
"""

from typing import Final

HEAD: Final = 32
"""Bytes that ``sniff`` looks at."""

IMAGES: Final = frozenset({"png", "jpeg", "gif", "webp"})
"""The image formats Bedrock takes."""

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"FLV\x01", "flv"),
)
_RIFF: Final = ((b"WEBP", "webp"), (b"WAVE", "wav"), (b"AVI ", "avi"))
_BRANDS: Final = (
    (b"avif", "avif"),
    (b"avis", "avif"),
    (b"heic", "heic"),
    (b"heix", "heic"),
    (b"heif", "heic"),
    (b"mif1", "heic"),
    (b"M4A ", "m4a"),
    (b"qt  ", "mov"),
    (b"3gp", "three_gp"),
)


def sniff(head: bytes) -> str | None:
    """The kind of a file that begins with ``head``; ``None`` if these bytes do not tell."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"RIFF"):
        return next((kind for form, kind in _RIFF if head[8:12] == form), None)
    if head[4:8] == b"ftyp":
        return next((kind for brand, kind in _BRANDS if head.startswith(brand, 8)), "mp4")
    if head.lstrip()[:5].lower() in (b"<svg ", b"<?xml"):
        return "svg" if b"<svg" in head.lower() else "xml"
    return None
