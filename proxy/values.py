"""A setting's value as its type: from the text of a variable or flag, or already typed in TOML.

Nothing is coerced but text: ``1.5`` is no whole number, ``1`` no list, and ``nan`` no number. All
raise ``ValueError`` with what was expected, to be put behind the name of the place.
"""


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
