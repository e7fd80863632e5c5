"""Names and ids of tools, made legal for Bedrock and undone for the client.

Bedrock takes tool names of ``[a-zA-Z0-9_-]{1,64}`` and tool-use ids of ``[a-zA-Z0-9_.:-]{1,64}``,
but only Kimi has dots and colons in its own, and Anthropic refuses them;
clients send dots, slashes, blanks and any length, and some cut or clean ids on their side. Every
mapping here is a function of the string (and of the family), never of an earlier request: calls and
results agree without state, and the same history yields the same bytes.

A changed name carries a hash, so two names that look alike once cleaned stay two. Source: the
service model (``ToolName``, ``ToolUseId``); the family rules are field reports, see ``Traits``.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from proxy.catalog.model import Traits

MAX_NAME: Final = 64
MAX_CLIENT_ID: Final = 40
"""Some clients cut ids here; a longer one would come back as another."""

_LEGAL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ID: Final = (re.compile(r"[a-zA-Z0-9_-]{1,64}"), re.compile(r"[^a-zA-Z0-9_-]"))
_MARKED_ID: Final = (re.compile(r"[a-zA-Z0-9_.:-]{1,64}"), re.compile(r"[^a-zA-Z0-9_.:-]"))
"""What a tool-use id may be, and what is foreign in one."""
_NINE: Final = re.compile(r"[a-zA-Z0-9]{9}")
_BEDROCK_ID: Final = re.compile(r"tooluse_[a-zA-Z0-9_-]{22}")
_BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class ToolNames:
    """The two-way map of one request's tool names: those offered and those in its history."""

    def __init__(
        self, names: Iterable[str], traits: Traits, legal: frozenset[str] = frozenset()
    ) -> None:
        """``legal`` are known to be so."""
        self._hyphens = traits.tool_hyphens
        self._to_bedrock: dict[str, str] = {}
        known = tuple(dict.fromkeys(names))
        taken = {name for name in known if name in legal or self._legal(name)}
        for name in known:
            if name not in taken:
                self._to_bedrock[name] = safe = self._free(name, taken)
                taken.add(safe)
        self._taken = frozenset(taken)
        self.to_client: Mapping[str, str] = MappingProxyType(
            {safe: name for name, safe in self._to_bedrock.items()}
        )

    def to_bedrock(self, client_name: str) -> str:
        """The legal name; a legal one is itself. A name never announced gets one as well."""
        known = self._to_bedrock.get(client_name)
        if known is not None:
            return known
        return client_name if self._legal(client_name) else self._free(client_name, self._taken)

    def fresh(self, wanted: str) -> str:
        """A legal name like ``wanted`` that stands for none of the request's own tools."""
        if self._legal(wanted) and wanted not in self._taken:
            return wanted
        return self._free(wanted, self._taken, salt="fresh")

    def _legal(self, name: str) -> bool:
        return _LEGAL_NAME.fullmatch(name) is not None and (self._hyphens or "-" not in name)

    def _free(self, name: str, taken: Iterable[str], salt: str = "") -> str:
        if not salt and _LEGAL_NAME.fullmatch(name):  # only hyphens stand in the way
            plain = name.replace("-", "_")
            if plain not in taken:
                return plain
        stem = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
        stem = re.sub(r"^[^a-zA-Z]+", "", stem if self._hyphens else stem.replace("-", "_"))
        turn = 0
        while True:
            mark = _digest(f"{salt}{turn or ''}{name}", 8)
            safe = f"{stem[: MAX_NAME - 9] or 'tool'}_{mark}"
            if safe not in taken:
                return safe
            turn += 1


def safe_id(client_id: str, traits: Traits) -> str:
    """The tool-use id that Bedrock is sent for a client's ``tool_call_id``; legal ids are kept.

    Where a family wants nine letters or digits, Bedrock's own ids are exempt (recorded: accepted
    back by Pixtral Large) and all others are hashed.
    """
    if traits.nine_char_ids:
        if _NINE.fullmatch(client_id) or _BEDROCK_ID.fullmatch(client_id):
            return client_id
        return _short(client_id)
    legal, foreign = _MARKED_ID if traits.id_marks else _ID
    if legal.fullmatch(client_id):
        return client_id
    stem = foreign.sub("_", client_id)[:47] or "call"
    return f"{stem}_{_digest(client_id, 16)}"


def client_id(bedrock_id: str) -> str:
    """The id a client is shown: Bedrock's own up to 40 characters, a longer one hashed.

    A hashed id is legal at Bedrock too, so one that comes back needs no undoing: call and result
    carry it alike.
    """
    if len(bedrock_id) <= MAX_CLIENT_ID:
        return bedrock_id
    return f"call_{_digest(bedrock_id, 32)}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def _short(text: str) -> str:
    number = int(_digest(text, 16), 16)
    digits = ""
    for _ in range(9):
        number, rest = divmod(number, 36)
        digits += _BASE36[rest]
    return digits
