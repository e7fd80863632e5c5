"""Keys and their hashes: generating keys, hashing them, and verifying a presented key.

A generated key has 256 random bits, so one SHA-256 is a sufficient hash: it cannot be guessed. A
key chosen by a person can be, so its hash is scrypt, at 50 ms and 32 MB per guess. The scrypt
parameters are part of the hash, within bounds, so that a keys file cannot make this process do
unbounded work.
Source: RFC 7914 (scrypt); OWASP *Password Storage* (N = 2^15, r = 8).
"""

import hashlib
import hmac
import os
import re
import secrets
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

PREFIX: Final = "bop_"
"""What a minted key begins with, so that leak scanners and people know it."""
CHOSEN_MIN: Final = 12
_COST: Final = (1 << 15, 8, 1)
_MEMORY_CEILING: Final = 64 * 1024 * 1024
_CHOSEN: Final = re.compile(
    r"scrypt:n=(\d{1,7}),r=(\d{1,2}),p=(\d):([A-Za-z0-9+/=]{16,88}):([A-Za-z0-9+/=]{40,88})"
)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


class MintedHash(NamedTuple):
    """SHA-256 of a key with 256 random bits."""

    digest: bytes


class ChosenHash(NamedTuple):
    """scrypt of a key that a person chose."""

    cost: tuple[int, int, int]
    """N, r and p."""
    salt: bytes
    digest: bytes

    def fits(self, shown: bytes) -> bool:
        """Whether ``shown`` is the key. Takes about 50 ms, without the interpreter's lock."""
        return hmac.compare_digest(_scrypt(shown, self.salt, self.cost), self.digest)


def mint_key() -> str:
    """A new key: ``bop_`` and 43 characters."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_minted(key: str) -> str:
    """``sha256:<hex>`` of a minted key."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def hash_chosen(key: str) -> str:
    """``scrypt:n=…,r=…,p=…:<salt>:<hash>``. Raises ``ValueError`` for a key that is too weak, or
    that no HTTP header can carry."""
    if len(key) < CHOSEN_MIN:
        raise ValueError(f"a chosen key needs at least {CHOSEN_MIN} characters")
    if not _VISIBLE.fullmatch(key) or len(key) > 512:
        raise ValueError("a chosen key may contain only visible ASCII characters, at most 512")
    if key.startswith(PREFIX):
        raise ValueError(f"only generated keys begin with {PREFIX}")
    salt = os.urandom(16)
    n, r, p = _COST
    digest = _scrypt(key.encode(), salt, _COST)
    return f"scrypt:n={n},r={r},p={p}:{b64encode(salt).decode()}:{b64encode(digest).decode()}"


def parse_hash(text: str) -> MintedHash | ChosenHash:
    """A hash as ``hash_minted`` and ``hash_chosen`` write it. Raises ``ValueError``."""
    if re.fullmatch(r"sha256:[0-9a-fA-F]{64}", text):
        return MintedHash(bytes.fromhex(text.removeprefix("sha256:")))
    match = _CHOSEN.fullmatch(text)
    if match is None:
        raise ValueError(
            "`hash` must be sha256:<64 hex digits> or scrypt:n=…,r=…,p=…:<salt>:<hash>"
        )
    n, r, p = (int(number) for number in match.groups()[:3])
    if n < 1 << 14 or n & (n - 1) or r < 1 or p < 1 or 128 * n * r * p > _MEMORY_CEILING:
        raise ValueError("scrypt parameters must be a power of two from 16384 on, within 64 MB")
    try:
        salt, digest = (b64decode(part, validate=True) for part in match.groups()[3:])
    except ValueError:
        raise ValueError("the scrypt salt and hash must be base64") from None
    if len(digest) != 32:
        raise ValueError("a scrypt hash has 32 bytes")
    return ChosenHash((n, r, p), salt, digest)


def _scrypt(key: bytes, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return hashlib.scrypt(key, salt=salt, n=n, r=r, p=p, dklen=32, maxmem=2 * _MEMORY_CEILING)
