"""Values as TOML: what ``config`` prints. Only what our settings are made of, as TOML 1.0 wants it.

The standard library reads TOML and does not write it. Source: toml.io, *TOML v1.0.0*.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def write(tree: Mapping[str, object]) -> str:
    """``tree`` as a document: plain keys first, then tables, then arrays of tables."""
    return "\n".join(_lines(tree, ())).strip("\n") + "\n"


def value(one: object) -> str:
    """One value on one line; mappings become inline tables. ``TypeError`` for what TOML lacks."""
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, int):
        return str(one)
    if isinstance(one, float):
        return str(int(one)) if one.is_integer() and abs(one) < 1e15 else repr(one)
    if isinstance(one, str):
        return _string(one)
    if isinstance(one, Mapping):
        inner = ", ".join(f"{key(name)} = {value(item)}" for name, item in one.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(one, list | tuple):
        return f"[{', '.join(value(item) for item in one)}]"
    raise TypeError(f"{type(one).__name__} has no form in TOML")


def key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    """A basic string. JSON's escapes are TOML's, but for DEL and for pairs beyond the BMP."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _lines(tree: Mapping[str, object], above: tuple[str, ...]) -> list[str]:
    plain = {name: one for name, one in tree.items() if not _is_table(one) and not _is_rows(one)}
    lines = [f"{key(name)} = {value(one)}" for name, one in plain.items()]
    for name, one in tree.items():
        path = (*above, name)
        head = ".".join(map(key, path))
        if isinstance(one, Mapping):
            inner = _lines(one, path)
            lines += ["", f"[{head}]", *inner] if _has_plain(one) else inner
        elif _is_rows(one):
            for row in one:  # type: ignore[attr-defined]  # a list, as _is_rows says
                lines += ["", f"[[{head}]]", *(f"{key(n)} = {value(v)}" for n, v in row.items())]
    return lines


def _is_table(one: object) -> bool:
    return isinstance(one, Mapping)


def _is_rows(one: object) -> bool:
    return isinstance(one, list | tuple) and bool(one) and all(map(_is_table, one))


def _has_plain(tree: Mapping[str, object]) -> bool:
    return any(not _is_table(one) and not _is_rows(one) for one in tree.values())
