"""Names and values as they leave the process: a keyed hash, and AES-256-GCM.

The server that holds them (and whoever reads its disk or its wire) learns neither whose a value is,
nor of which call, nor what it says; and cannot hand one owner's value to another, for a value opens
under its own name only. Both keys come from the operator's one secret. A value that does not open
(another secret, tampered, another version) is treated as absent.

Source: NIST SP 800-38D (random 96-bit nonces; far below 2^32 values per key). Needs the
``cryptography`` package (extra ``valkey``).
"""

import hmac
import os
from importlib import import_module
from typing import Any, Final

LEAST_SECRET: Final = 16
"""Characters. A secret is meant to be random: ``openssl rand -hex 32``."""
_NONCE: Final = 12
_VERSION: Final = b"\x01"


class Sealer:
    """Raises ``ImportError`` where the ``cryptography`` package is not installed, ``ValueError``
    for a secret that is too short to be one."""

    def __init__(self, secret: str) -> None:
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"the secret must have at least {LEAST_SECRET} characters")
        ciphers: Any = import_module("cryptography.hazmat.primitives.ciphers.aead")
        self._invalid = import_module("cryptography.exceptions").InvalidTag
        self._naming = _derived(secret, b"names")
        self._cipher = ciphers.AESGCM(_derived(secret, b"values"))

    def name(self, owner: str, key: str) -> str:
        """What a value is stored under: 64 hexadecimal digits."""
        said = f"{len(owner)}:{owner}{key}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._naming, said, "sha256").hex()

    def seal(self, name: str, value: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed: bytes = self._cipher.encrypt(nonce, value, _VERSION + name.encode())
        return _VERSION + nonce + sealed

    def open(self, name: str, sealed: bytes) -> bytes | None:
        """The value; ``None`` if it is not one of ours, or not of this name."""
        if not sealed.startswith(_VERSION) or len(sealed) <= _NONCE:
            return None
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            value: bytes = self._cipher.decrypt(nonce, rest, _VERSION + name.encode())
        except self._invalid:
            return None
        return value


def _derived(secret: str, purpose: bytes) -> bytes:
    return hmac.digest(secret.encode(), b"bedrock-openai-proxy memory " + purpose, "sha256")
