"""Edits to the text of ``keys.toml``: add, revoke or delete a key.

Only the affected lines change, so comments and order are preserved. The result is parsed again and
must mean exactly what was intended; where it does not (keys written as inline tables, for example),
the file is rendered from its parsed tree instead. The file is then replaced atomically, readable by
its owner only: a proxy that reloads it sees the old keys or the new ones.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

from proxy.access.keyfile import KeysError, Tree, check_name, parse_keys, read_tree


def add_key(text: str, name: str, table: Mapping[str, Any]) -> str:
    """``text`` with ``[keys.<name>]`` at its end. Raises ``KeysError`` if the name is taken."""
    check_name(name)
    tree = read_tree(text)
    if name in tree:
        raise KeysError(f"there is a key named {name!r} already; revoke it or choose another name")
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return _checked(text + gap + _render(name, table), tree | {name: dict(table)})


def revoke_key(text: str, name: str, when: datetime) -> str:
    """``text`` with the key marked as revoked at ``when``; its name stays taken."""
    tree = read_tree(text)
    _require(tree, name)
    if "revoked" in tree[name]:
        raise KeysError(f"{name!r} is revoked already")
    _, start, _ = _span(text, name)
    line = f"revoked = {_value(when)}\n"
    wanted = tree | {name: {**tree[name], "revoked": when}}
    return _checked(text[:start] + line + text[start:], wanted)


def drop_key(text: str, name: str) -> str:
    """``text`` without the key: its name may be given again."""
    tree = read_tree(text)
    _require(tree, name)
    rest = {other: table for other, table in tree.items() if other != name}
    head, _, end = _span(text, name)
    return _checked(text[:head] + text[end:], rest)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold off other edits of ``file`` meanwhile (its folder is locked, so nothing is left)."""
    folder = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write_safely(file: Path, text: str) -> None:
    """Replace ``file`` in one step, mode 0600, its owner kept where we may. Raises ``OSError``."""
    file = file.resolve()  # the file behind a symbolic link is meant, and not the link
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            if file.exists():
                with suppress(PermissionError):
                    before = file.stat()
                    os.fchown(new.fileno(), before.st_uid, before.st_gid)
            os.fsync(new.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise


def _require(tree: Tree, name: str) -> None:
    if name not in tree:
        known = ", ".join(sorted(tree)) or "none"
        raise KeysError(f"there is no key named {name!r}; there are: {known}")


def _checked(text: str, wanted: Tree) -> str:
    """``text`` if it means ``wanted``, else ``wanted`` rendered. Raises ``KeysError``."""
    try:
        right = read_tree(text) == wanted
    except KeysError:
        right = False
    if not right:
        text = "\n".join(_render(name, table) for name, table in wanted.items())
    parse_keys(text)
    return text


def _span(text: str, name: str) -> tuple[int, int, int]:
    """Where ``[keys.<name>]`` begins, where its body does, and where the next key's table does;
    the end of the text for what is not found."""
    quoted = re.escape(name)
    spelled = rf"(?:{quoted}|\"{quoted}\"|'{quoted}')"
    head = re.search(rf"^[ \t]*\[[ \t]*keys[ \t]*\.[ \t]*{spelled}[ \t]*\][^\n]*\n?", text, re.M)
    if head is None:
        return len(text), len(text), len(text)
    other = re.compile(rf"^[ \t]*\[(?![ \t]*keys[ \t]*\.[ \t]*{spelled}[ \t]*\.)", re.M)
    following = other.search(text, head.end())
    return head.start(), head.end(), following.start() if following else len(text)


def _render(name: str, table: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    nested = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"[keys.{_key(name)}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, inner in nested.items():
        pairs = ", ".join(f"{_key(one)} = {_value(value)}" for one, value in inner.items())
        lines.append(f"{_key(key)} = {{ {pairs} }}")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return _text(str(value))


def _text(text: str) -> str:
    """A TOML basic string: what must be escaped is, as ``\\uXXXX``."""

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04x}"

    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', escape, text) + '"'
