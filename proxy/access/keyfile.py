"""``keys.toml``: the text of the keys file, parsed into entries.

One table per key, ``[keys.<name>]``, with a ``hash`` and the key's limits. Every field is checked;
an unknown one is an error, since a misspelt limit must not be silently ignored. Edits to the text
are in ``keyedit.py``.
Source: TOML 1.0; AWS *Converse* for what a guardrail, a service tier and request metadata may be.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final

from proxy.access.hashing import ChosenHash, MintedHash, parse_hash
from proxy.access.tenant import ANYONE, SINGLE, Allowance, Tenant

MAX_CHOSEN: Final = 16
"""Keys that people chose: each may cost one scrypt for a key not seen before."""
TIERS: Final = ("default", "flex", "priority", "reserved")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
_GUARDRAIL: Final = MappingProxyType(
    {
        "guardrailIdentifier": r"[a-zA-Z0-9:/_-]{1,2048}",
        "guardrailVersion": r"DRAFT|[1-9][0-9]{0,7}",
        "trace": r"enabled|disabled|enabled_full",
        "streamProcessingMode": r"sync|async",
    }
)
Tree = dict[str, dict[str, Any]]


class KeysError(Exception):
    """The keys cannot be used; the message says which, why, and never shows a hash."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key: who it is, its hash, and its times (unix seconds)."""

    tenant: Tenant
    hash: MintedHash | ChosenHash
    created: float | None = None
    expires: float | None = None
    revoked: bool = False


def parse_keys(text: str) -> tuple[Entry, ...]:
    """The entries of a keys file. Raises ``KeysError``."""
    entries = tuple(_entry(name, table) for name, table in read_tree(text).items())
    seen: dict[bytes, str] = {}
    for entry in entries:
        other = seen.setdefault(entry.hash.digest, entry.tenant.name)
        if other != entry.tenant.name:
            raise KeysError(f"[keys.{entry.tenant.name}] has the same hash as [keys.{other}]")
    if sum(isinstance(entry.hash, ChosenHash) for entry in entries) > MAX_CHOSEN:
        raise KeysError(f"at most {MAX_CHOSEN} keys may be chosen by people; generate the others")
    return entries


def read_tree(text: str) -> Tree:
    """The tables below ``keys``, by name, unchecked within. Raises ``KeysError``."""
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as fault:  # also an endless number, an endless nest
        raise KeysError(f"not valid TOML: {fault}") from None
    tables = tree.pop("keys", {})
    if tree:
        raise KeysError(
            f"`{min(tree)}` does not belong in a keys file; write each key as [keys.<name>]"
        )
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise KeysError("`keys` must hold one table per key: [keys.<name>]")
    return tables


def check_name(name: str) -> None:
    """Raises ``KeysError`` for a name that is reserved or no label."""
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r}: a key's name is 1 to 64 of letters, digits, dot, hyphen, _")
    if name in {SINGLE, ANYONE}:
        raise KeysError(f"{name!r} is reserved for requests without a key from this file")


def _entry(name: str, table: Mapping[str, Any]) -> Entry:
    check_name(name)
    try:
        unknown = table.keys() - _FIELDS.keys()
        if unknown:
            raise ValueError(f"`{min(unknown)}` is not a known field{_hint(min(unknown))}")
        read = {field: _FIELDS[field](value) for field, value in table.items()}
        if "hash" not in read:
            raise ValueError("`hash` is missing")
    except ValueError as fault:
        raise KeysError(f"[keys.{name}]: {fault}") from None
    limits = {field: read[field] for field in Allowance.__slots__ if field in read}
    fixed = {field: read[field] for field in _TENANT_FIELDS if field in read}
    return Entry(
        Tenant(name, allowance=Allowance(**limits), **fixed),
        read["hash"],
        created=read.get("created"),
        expires=read.get("expires"),
        revoked=bool(read.get("revoked", False)),
    )


def _hint(word: str) -> str:
    near = get_close_matches(word, _FIELDS, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _hash(value: object) -> MintedHash | ChosenHash:
    if not isinstance(value, str):
        raise ValueError("`hash` must be text")
    return parse_hash(value)


def _moment(value: object) -> float:
    """A TOML date-time; without an offset it is UTC, and a bare date is its first moment."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise ValueError("times are written 2027-01-31T12:00:00Z, without quotes")


def _revoked(value: object) -> bool:
    if isinstance(value, bool):
        return value
    _moment(value)
    return True


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**12:
        raise ValueError("limits are whole numbers, at least 1; leave a limit out for no limit")
    return value


def _money(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ValueError("`daily_budget_usd` must be a number above 0")
    return float(value)


def _globs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError('`models` must be a list of globs, such as ["anthropic.claude-*"]')
    if not value:
        raise ValueError("`models` is empty; leave it out to allow every model")
    return tuple(value)


def _tier(value: object) -> str:
    if value not in TIERS:
        raise ValueError(f"`service_tier` must be one of {', '.join(TIERS)}")
    return str(value)


def read_metadata(value: object) -> Mapping[str, str]:
    """``requestMetadata`` as AWS takes it. Raises ``ValueError``."""
    pairs = _texts("request_metadata", value)
    if not 1 <= len(pairs) <= 16:
        raise ValueError("`request_metadata` holds 1 to 16 pairs")
    for key, text in pairs.items():
        if not key or not _METADATA.fullmatch(key) or not _METADATA.fullmatch(text):
            raise ValueError(f"`request_metadata`: AWS does not accept the pair {key[:40]!r}")
    return pairs


def read_guardrail(value: object) -> Mapping[str, str]:
    """A ``guardrailConfig``. Raises ``ValueError``."""
    pairs = _texts("guardrail", value)
    for key, text in pairs.items():
        if key not in _GUARDRAIL:
            raise ValueError(f"`guardrail.{key}` must be one of {', '.join(_GUARDRAIL)}")
        if not re.fullmatch(_GUARDRAIL[key], text):
            raise ValueError(f"`guardrail.{key}` must match {_GUARDRAIL[key]}")
    if not {"guardrailIdentifier", "guardrailVersion"} <= pairs.keys():
        raise ValueError("`guardrail` needs guardrailIdentifier and guardrailVersion")
    return pairs


def _texts(field: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError(f"`{field}` must be a table of texts")
    return MappingProxyType(dict(value))


_TENANT_FIELDS: Final = ("models", "guardrail", "request_metadata", "service_tier")
_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "hash": _hash,
        "created": _moment,
        "expires": _moment,
        "revoked": _revoked,
        "models": _globs,
        "streams": _count,
        "requests_per_minute": _count,
        "tokens_per_minute": _count,
        "daily_budget_usd": _money,
        "service_tier": _tier,
        "request_metadata": read_metadata,
        "guardrail": read_guardrail,
    }
)
