"""Blobs of a stream: base64 text that may come in pieces.

A piece that was encoded by itself ends in padding, and padding in the middle ends the whole for a
strict reader and garbles it for a lax one. Source: RFC 4648, 3.2.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence


def join_blobs(pieces: Sequence[str]) -> str:
    """The pieces as one base64 text; decoded only if they cannot simply be strung together."""
    if any(piece.endswith("=") for piece in pieces[:-1]):
        return b64encode(b"".join(map(b64decode, pieces))).decode()
    return "".join(pieces)
