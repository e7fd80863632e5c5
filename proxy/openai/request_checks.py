"""Typed reads of a JSON object: the value, ``None`` for unset or null, or a 400 that names it.

Every reader takes the object, the key and the object's own path (``""`` at the top), so that a
fault is told as ``messages[2].content[0].type``. ``true`` is no number here, ``3.0`` is an integer
(as JSON Schema has it), and nothing is coerced otherwise. Codes are OpenAI's: ``invalid_type``,
``invalid_value``, ``missing_required_parameter``.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import orjson

from proxy.converse.types import Json
from proxy.errors import ProxyError, invalid

_SPARE_LEVELS: Final = 16
"""Deeper than any place in a Converse body where free JSON stands."""
_MOST_MARKS: Final = 2_000_000
"""Commas and opening brackets of a body, those in its texts included: each may begin a value that
takes 90 to 250 bytes of memory. A prompt with as many is longer than what models take."""
MAX_INTEGER: Final = 2**31 - 1
MAX_NAME: Final = 1_024
MAX_TEXT: Final = 32 * 1024 * 1024
"""Longer than any body that is let in; short strings pass a limit of their own."""

_TYPES: Final = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a number"),
    (list, "an array"),
    (dict, "an object"),
)


def load_object(body: bytes) -> dict[str, Json]:
    """A request body. Raises ``ProxyError``: 400 for bytes that are no JSON object (also invalid
    UTF-8, NaN, lone surrogates, nesting beyond a thousand levels), 413 for too many values."""
    if len(body) > _MOST_MARKS and sum(map(body.count, (b",", b"{", b"["))) > _MOST_MARKS:
        raise invalid(
            f"The request body holds more than {_MOST_MARKS:,} commas and opening brackets.",
            code="request_too_large",
            status=413,
        )
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The request body is not valid JSON: {error}.", None, None) from None
    if not isinstance(fields, dict):
        raise invalid("The request body must be a JSON object.", None, None)
    return fields


def join(at: str, key: str) -> str:
    """The path of ``key`` inside the object at ``at``."""
    return f"{at}.{key}" if at else key


def wrong_type(path: str, expected: str, value: Json) -> ProxyError:
    got = next((word for kind, word in _TYPES if isinstance(value, kind)), "null")
    return invalid(
        f"Invalid type for '{path}': expected {expected}, got {got}.", path, "invalid_type"
    )


def missing(path: str) -> ProxyError:
    return invalid(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")


def bad_value(path: str, message: str) -> ProxyError:
    return invalid(f"Invalid value for '{path}': {message}", path)


def read_text(
    source: Mapping[str, Json], key: str, at: str = "", limit: int = MAX_TEXT
) -> str | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type(join(at, key), "a string", value)
    if len(value) > limit:
        raise bad_value(join(at, key), f"longer than {limit} characters.")
    return value


def require_text(source: Mapping[str, Json], key: str, at: str = "", limit: int = MAX_NAME) -> str:
    """A string that holds more than white space."""
    value = read_text(source, key, at, limit)
    if value is None:
        raise missing(join(at, key))
    if not value or value.isspace():
        raise bad_value(join(at, key), "it must not be blank.")
    return value


def read_model(fields: Mapping[str, Json], limit: int) -> str:
    """``""`` where none is named: the catalog knows whether one stands in for it."""
    if fields.get("model") is None:
        return ""
    return require_text(fields, "model", limit=limit)


def read_number(
    source: Mapping[str, Json], key: str, low: float, high: float, at: str = ""
) -> float | None:
    value = source.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(join(at, key), "a number", value)
    if not low <= value <= high:
        raise bad_value(join(at, key), f"it must lie between {low:g} and {high:g}.")
    return value


def read_integer(
    source: Mapping[str, Json], key: str, low: int, high: int = MAX_INTEGER, at: str = ""
) -> int | None:
    value = source.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(join(at, key), "an integer", value)
    if not low <= value <= high:
        raise bad_value(join(at, key), f"it must lie between {low} and {high}.")
    return value


def read_boolean(source: Mapping[str, Json], key: str, at: str = "") -> bool | None:
    value = source.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(join(at, key), "a boolean", value)
    return value


def read_object(source: Mapping[str, Json], key: str, at: str = "") -> Mapping[str, Json] | None:
    value = source.get(key)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(join(at, key), "an object", value)
    return value


def read_array(
    source: Mapping[str, Json], key: str, limit: int, at: str = ""
) -> Sequence[Json] | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, list):
        raise wrong_type(join(at, key), "an array", value)
    if len(value) > limit:
        raise bad_value(
            join(at, key), f"it holds {len(value)} entries, at most {limit} may be sent."
        )
    return value


def read_choice(
    source: Mapping[str, Json], key: str, allowed: Collection[str], at: str = ""
) -> str | None:
    value = read_text(source, key, at)
    if value is not None and value not in allowed:
        words = ", ".join(sorted(allowed))
        raise bad_value(join(at, key), f"supported values are: {words}.")
    return value


def as_object(value: Json, path: str) -> Mapping[str, Json]:
    """An entry of an array that must be an object."""
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    return value


def check_depth(value: Json, path: str) -> None:
    """Refuse free JSON that could not be written again inside a body: what loads does not always
    dump (orjson reads some four times deeper than it writes)."""
    if not is_shallow(value):
        raise bad_value(path, "it is nested too deeply.")


def is_shallow(value: Json) -> bool:
    """Whether it can be written inside a body. One pass in C, levels to spare."""
    for _ in range(_SPARE_LEVELS):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
