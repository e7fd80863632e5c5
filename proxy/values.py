"""A setting's value as its type: from the text of a variable or flag, or already typed in TOML.

Only text is coerced: in TOML ``1.5`` is not an integer, ``1`` not a list, and ``nan`` not a number.
All functions raise ``ValueError`` with what was expected, to be appended to the setting's name.
"""

import re
from typing import Final

_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9._-]+|[0-9A-Fa-f:]+")
"""A name, an IPv4 address, or an IPv6 address without brackets."""


def typed(kind: str, value: object) -> object:
    kind = kind.replace(" | None", "").removeprefix("<class '").removesuffix("'>")
    if kind == "bool":
        return _boolean(value)
    if kind.startswith("tuple"):
        return _words(value)
    if kind == "str":
        if not isinstance(value, str):
            raise ValueError("must be text")
        return value
    number = _number(value)
    if kind == "float":
        return number
    if number != int(number):
        raise ValueError("must be a whole number")
    return int(number)


def read_key(value: object) -> str:
    """A key. A header's value never ends in white space, as a file's text and a Secret often do."""
    return str(typed("str", value)).strip()


def read_port(value: object) -> int:
    """A TCP port. The system takes any number, and listens on what is left of it in 16 bits."""
    number = typed("int", value)
    if not isinstance(number, int) or number > 65535:
        raise ValueError("must be at most 65535")
    return number


def read_host(value: object) -> str:
    """A name or an address to listen on. An IPv6 address may stand in brackets, as in a URL."""
    host = str(typed("str", value))
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def read_hosts(value: object) -> tuple[str, ...]:
    """Host names, each perhaps as ``*.`` and what it ends in."""
    for word in _words(value):
        if not _HOST.fullmatch(word):
            raise ValueError(f"{word!r} is not a host; write only its name, or *.example.com")
    return _words(value)


def _words(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(one, str) for one in items):
        raise ValueError("must be a list of words")
    return tuple(one.strip() for one in items if one.strip())


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"must be a number, not {value!r}") from None
    if not -1e12 < number < 1e12:  # also refuses nan
        raise ValueError("is out of range")
    return number


def _boolean(value: object) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError("must be true or false")
