"""A tool call's ``arguments`` (a JSON string, as models wrote it) as Converse's ``input`` object.

Clients echo a model's arguments back verbatim, broken ones too: cut off at a token limit, two
objects run together, prose after the brace. Converse takes nothing but an object, so what can be
read is repaired and what cannot is carried as text; the conversation goes on and the note says so.
Source: OpenAI API reference (``arguments`` "may not always be valid JSON"); service model,
``ToolUseBlock.input``.
"""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import orjson

from proxy.converse.types import Json
from proxy.errors import invalid
from proxy.openai.chat.notes import Notes

WRAPPED: Final = "input"
"""The key under which a value that is no object travels; a custom tool's text too."""
UNREADABLE: Final = "_raw"

_CUT_ESCAPE: Final = r"\\(?:u[0-9a-fA-F]{0,3})?\Z"
_TOKENS: Final = re.compile(
    rf"""
    " [^"\\]* (?: (?!{_CUT_ESCAPE}) \\. [^"\\]* )*     # a string, read to
    (?: " | (?P<open> (?:{_CUT_ESCAPE})? ) \Z )           # its end or the text's
    | [\]\[{{}}]
    """,
    re.VERBOSE | re.DOTALL,
)
"""Brackets, and strings as wholes. ``open`` is set for a string that the text ends in: the escape
sequence that was cut off there, or nothing."""
_SAFE_DEPTH: Final = 200
_RUN_TOGETHER: Final = 16
"""Objects in a row that are looked through; more are no model's, and looking costs time."""
_TOKEN: Final = "tool_calls.arguments:emulated"
_CLOSERS: Final[Mapping[str, str]] = MappingProxyType({"{": "}", "[": "]"})


def arguments_to_input(arguments: Json, path: str, notes: Notes) -> dict[str, Json]:
    """The arguments as an object. Nothing sent, null and blank mean ``{}``.

    Raises ``ProxyError`` 400 naming ``path`` in strict mode, where a repair was needed, and for an
    object (some clients send one) that is too deep to be written again.
    """
    if isinstance(arguments, str):
        if not arguments or arguments.isspace():
            return {}
        try:
            value = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return _repaired(arguments, path, notes)
    else:
        value = arguments
        if not _encodable(value):
            raise invalid("The arguments are nested too deeply.", path)
    if value is None:
        return {}
    if isinstance(arguments, str) and _is_deep(arguments) and not _encodable(value):
        notes.add(_TOKEN, path, "The arguments are nested too deeply.")
        return {UNREADABLE: arguments}
    if isinstance(value, dict):
        return value
    notes.add(_TOKEN, path, "The arguments are not a JSON object.")
    return {WRAPPED: value}


def _repaired(text: str, path: str, notes: Notes) -> dict[str, Json]:
    notes.add(_TOKEN, path, "The arguments are not valid JSON.")
    found = _leading_object(text)
    if found is None:
        found = _closed(text)
    return {UNREADABLE: text} if found is None else found


def _leading_object(text: str) -> dict[str, Json] | None:
    """The first object in front of whatever follows; of ``{}{"a":1}`` the one with content."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    found: dict[str, Json] | None = None
    rest = text.lstrip()
    for _ in range(_RUN_TOGETHER):
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            return found
        if not isinstance(value, dict) or not _encodable(value):
            return found
        if value:
            return value
        found, rest = value, rest[end:].lstrip()
    return found


def _closed(text: str) -> dict[str, Json] | None:
    """An object that was cut off, its open string and brackets closed."""
    stem = text.rstrip()
    closers: list[str] = []
    for token in _TOKENS.finditer(text):
        mark = token[0]
        if mark in _CLOSERS:
            closers.append(_CLOSERS[mark])
        elif closers and mark == closers[-1]:
            closers.pop()
        elif token["open"] is not None:
            stem = text[: len(text) - len(token["open"])] + '"'
    if not closers:
        return None
    ends = "".join(reversed(closers))
    for attempt in (stem, stem.rstrip(","), f"{stem}null", f"{stem}:null"):
        try:
            value = orjson.loads(attempt + ends)
        except orjson.JSONDecodeError:
            continue
        return value if isinstance(value, dict) and _encodable(value) else None
    return None


def _is_deep(text: str) -> bool:
    """Perhaps nested beyond what orjson writes (254 levels; it reads a thousand)."""
    return text.count("{") + text.count("[") > _SAFE_DEPTH


def _encodable(value: Json) -> bool:
    """Whether orjson will write it inside a request: no lone surrogate, no integer beyond 64 bits,
    not too deep (the lists stand for the levels of the request around it)."""
    try:
        orjson.dumps([[[[[[[[[[value]]]]]]]]]])
    except orjson.JSONEncodeError:
        return False
    return True


def _refuse(word: str) -> Json:
    raise ValueError(f"{word} is no JSON")
