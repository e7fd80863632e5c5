"""Inline media as Converse wants it: base64 text in the standard alphabet, padded, else untouched.

A data URL's payload goes to AWS as it came; decoding it would cost more than the whole rest of the
translation. Line breaks, missing padding and the URL-safe alphabet are put right on the text, and a
payload that is already clean is passed on as the same object. Sources: RFC 2397 (data URLs),
RFC 4648 (base64); AWS's blobs are standard base64.
"""

import base64
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from proxy.errors import invalid
from proxy.media.sniff import HEAD

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SPACE: Final = b" \t\r\n\v\f"
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_ESCAPED: Final = (
    (b"%2B", b"+"),
    (b"%2b", b"+"),
    (b"%2F", b"/"),
    (b"%2f", b"/"),
    (b"%3D", b"="),
    (b"%3d", b"="),
    (b"%0A", b""),
    (b"%0a", b""),
    (b"%0D", b""),
    (b"%0d", b""),
)
"""What a URL encoder makes of base64's own signs and line breaks."""
MAX_PERCENT_ENCODED: Final = 1_000_000
"""Characters of data that is not base64: its decoding is slow, and no client sends more so."""
_HEAD_TEXT: Final = (HEAD + 2) // 3 * 4


class Inline(NamedTuple):
    """``mime`` in lower case without parameters, "" if unsaid; ``data`` is clean base64."""

    mime: str
    data: str

    @property
    def head(self) -> bytes:
        """The first bytes, for sniffing."""
        return base64.b64decode(self.data[:_HEAD_TEXT])

    @property
    def size(self) -> int:
        """Decoded bytes."""
        return len(self.data) // 4 * 3 - self.data[-2:].count("=")


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def parse_data_url(url: str, path: str, code: str = "invalid_value") -> Inline:
    """Raises ``ProxyError`` 400 with ``code`` when it holds no (or no valid) data."""
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise invalid("The data URL has no comma before its data.", path, code)
    mime, *parameters = (piece.strip().lower() for piece in head.split(";"))
    if "base64" in parameters:
        return Inline(mime, clean_base64(data, path, code))
    if len(data) > MAX_PERCENT_ENCODED:
        raise invalid("A data URL of this size must be base64.", path, code)
    raw = unquote_to_bytes(data)
    if not raw:
        raise invalid("The data URL holds no data.", path, code)
    return Inline(mime or "text/plain", base64.b64encode(raw).decode("ascii"))


def clean_base64(text: str, path: str, code: str = "invalid_value") -> str:
    """Standard, padded base64 of the same bytes. Raises ``ProxyError`` 400 if it is none."""
    try:
        raw = text.encode("ascii")
    except UnicodeEncodeError:
        raise invalid("The data is not valid base64.", path, code) from None
    if b"%" in raw:
        for escaped, sign in _ESCAPED:
            raw = raw.replace(escaped, sign)
        return _repair(raw, path, code)
    strange = raw.translate(None, _ALPHABET)
    padded = strange in (b"", b"=", b"==") and raw.endswith(strange)
    return text if padded and raw and len(raw) % 4 == 0 else _repair(raw, path, code)


def _repair(raw: bytes, path: str, code: str) -> str:
    raw = raw.translate(_STANDARD, _SPACE).rstrip(b"=")
    if not raw:
        raise invalid("The data is empty.", path, code)
    if raw.translate(None, _ALPHABET) or len(raw) % 4 == 1:
        raise invalid("The data is not valid base64.", path, code)
    return (raw + b"=" * (-len(raw) % 4)).decode("ascii")
