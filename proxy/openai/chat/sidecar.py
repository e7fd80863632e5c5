"""What travels beside the conversation: metadata, tier, and the fields nothing here can apply.

``requestMetadata`` ends up in AWS's invocation logs: its charset and sizes are AWS's, so a value is
mended (and noted) rather than refused, and a person's id goes in only where the operator has said
so. Source: *Converse* (``requestMetadata``, ``serviceTier``).
"""

import re
from types import MappingProxyType
from typing import Final

import orjson

from proxy.converse.types import Json
from proxy.dialect import Options
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request_shape import ChatRequest

MAX_PAIRS: Final = 16
MAX_LENGTH: Final = 256
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9\s:_@$#=/+,\-.]", re.ASCII)
_TIERS: Final = MappingProxyType(
    {"flex": "flex", "priority": "priority", "fast": "priority", "reserved": "reserved"}
)
_HINTS: Final = frozenset({"store", "prompt_cache_key"})
"""Asks that change nothing about the answer: told when not applied, never refused."""


def note_unsupported(request: ChatRequest, options: Options, notes: Notes) -> None:
    for name in request.unsupported:
        if name in _HINTS:
            notes.tell(f"{name}:dropped")
        else:
            notes.add(f"{name}:dropped", name, f"Converse has no counterpart of '{name}'.")
    # Of two ids only the first is forwarded.
    for name in request.user_fields[1:] if options.forward_user else request.user_fields:
        notes.tell(f"{name}:dropped")


def service_tier(request: ChatRequest, options: Options, notes: Notes) -> Json:
    """Converse's object: the operator's tier, else the caller's in Bedrock's words or OpenAI's."""
    asked: Json = request.native.get("serviceTier")
    if asked is None and (tier := _TIERS.get(request.service_tier or "")) is not None:
        asked = {"type": tier}
    if options.service_tier is not None:
        if asked not in (None, {"type": options.service_tier}):
            notes.add(
                "service_tier:dropped", "service_tier", "The operator's service tier applies."
            )
        return {"type": options.service_tier}
    if request.service_tier == "scale":
        notes.add("service_tier:dropped", "service_tier", "Bedrock has no scale tier.")
    return asked


def request_metadata(request: ChatRequest, options: Options, notes: Notes) -> dict[str, str]:
    """The operator's pairs, the caller's native ones, ``metadata``, and the user's id where it may
    travel. Whichever comes first stays."""
    pairs = dict(options.request_metadata)
    for key, value in request.native.get("requestMetadata", {}).items():
        if key in pairs or len(pairs) >= MAX_PAIRS:
            _note_dropped(notes, key)
        else:
            pairs[key] = value
    for key, value in request.metadata.items():
        text = _as_text(value)
        if text is None or _mended(key) in options.request_metadata:
            _note_dropped(notes, key)
        else:
            _put(pairs, key, text, f"metadata.{key}", notes)
    if request.user is not None and options.forward_user:
        _put(pairs, "user", request.user, "user", notes)
    return pairs


def _as_text(value: Json) -> str | None:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, bool | int | float) else None


def _put(pairs: dict[str, str], key: str, value: str, param: str, notes: Notes) -> None:
    name, text = _mended(key) or "_", _mended(value)
    if name in pairs or len(pairs) >= MAX_PAIRS:
        if pairs.get(name) != text:
            _note_dropped(notes, key)
        return
    if name != key or text != value:
        notes.add("metadata:clamped", param, "AWS allows fewer characters in request metadata.")
    pairs[name] = text


def _mended(text: str) -> str:
    return _FOREIGN.sub("_", text[:MAX_LENGTH])


def _note_dropped(notes: Notes, key: str) -> None:
    notes.add("metadata:dropped", f"metadata.{key}", "It cannot travel as request metadata.")
