"""Settings that are more than one value: manual models, fail-over targets, aliases, regions.

Each reader takes what TOML gave (tables, lists) or a text (a variable, a flag) and returns a frozen
value, or raises ``ValueError`` with what is wrong and what was probably meant. A text that begins
with ``[`` or ``{`` is JSON of the same shape; otherwise it is the short form that fits in a line:
``name=id,name=id`` for aliases, ``us-west-2,eu-west-1`` for targets and regions. Keys are accepted
in camelCase too, which OpenClaw's documentation uses.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

PRICES: Final = ("input", "output", "cache_read", "cache_write")
"""What a manual model's ``cost`` may name; USD per million tokens."""
MODALITIES: Final = frozenset({"text", "image", "video", "audio", "document"})

_REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,20}){1,4}")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ManualModel:
    """One ``[[models.manual]]``. What is given wins over discovery and our own tables.

    ``cost`` is per million tokens (input, output, cache_read, cache_write). ``foundation`` tells
    the family of an opaque ARN.
    """

    id: str
    name: str | None = None
    reasoning: bool | None = None
    input: tuple[str, ...] | None = None
    cost: Mapping[str, float] | None = None
    context_window: int | None = None
    max_tokens: int | None = None
    tools: bool | None = None
    region: str | None = None
    foundation: str | None = None


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One ``[[targets]]``: where a call goes next when Bedrock throttles it or cannot be reached.

    Without ``profile`` and ``role_arn`` it is called as ourselves. ``endpoint`` is the runtime's
    URL there, where it is not AWS's public one.
    """

    region: str
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    endpoint: str | None = None


def snake(name: str) -> str:
    """``contextWindow`` as ``context_window``."""
    return _HUMP.sub(r"_\1", name).lower()


def read_manual(value: object) -> tuple[ManualModel, ...]:
    rows = tuple(
        _row(ManualModel, one, f"[{place}]") for place, one in enumerate(_list(_plain(value)))
    )
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise ValueError(f"`{row.id}` is listed twice")
        seen.add(row.id)
    return rows


def read_targets(value: object) -> tuple[TargetRow, ...]:
    found = _plain(value)
    if isinstance(found, str):
        found = _words(found)
    rows = []
    for place, one in enumerate(_list(found)):
        tree = {"region": one} if isinstance(one, str) else one
        row = _row(TargetRow, tree, f"[{place}]")
        if row.external_id and not row.role_arn:
            raise ValueError(f"[{place}]: `external_id` needs a `role_arn`")
        rows.append(row)
    return tuple(rows)


def read_aliases(value: object) -> tuple[tuple[str, str], ...]:
    """Pairs of a name and the model it stands for."""
    found = _plain(value)
    if isinstance(found, str):
        pairs = [word.partition("=") for word in _words(found)]
        if any(not (name.strip() and sign and target.strip()) for name, sign, target in pairs):
            raise ValueError("must look like name=model,name=model")
        found = {name.strip(): target.strip() for name, _, target in pairs}
    if not isinstance(found, Mapping):
        raise ValueError("must be a table of names to models")
    for name, target in found.items():
        if not isinstance(target, str) or not target.strip() or not name.strip():
            raise ValueError(f"`{name}` must name a model")
        if target in found:
            raise ValueError(f"`{name}` is an alias of `{target}`, which is an alias too")
    return tuple(found.items())


def read_pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Pairs of a name and a text."""
    found = _plain(value)
    if isinstance(found, str):
        pairs = [word.partition("=") for word in _words(found)]
        if any(not (name.strip() and sign) for name, sign, _ in pairs):
            raise ValueError("must look like name=text,name=text")
        found = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(found, Mapping) or not all(isinstance(one, str) for one in found.values()):
        raise ValueError("must be a table of names to texts")
    return tuple(found.items())


def read_regions(value: object) -> tuple[str, ...]:
    """One region, or a list of them."""
    found = _plain(value)
    words = _words(found) if isinstance(found, str) else found
    if not isinstance(words, list | tuple) or not all(isinstance(one, str) for one in words):
        raise ValueError("must be a region or a list of regions")
    return tuple(dict.fromkeys(check_region(one) for one in words))


def check_region(text: str) -> str:
    """``text`` if it can be a region's name: it becomes part of a host. ``ValueError`` else."""
    if not _REGION.fullmatch(text):
        raise ValueError(f"{text!r} is not an AWS region")
    return text


def read_region(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return check_region(value.strip())


def read_prefix(value: object) -> str:
    """A path such as ``/api/v1``, without a trailing slash."""
    text = value.strip().strip("/") if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*", text):
        raise ValueError("must be a path, as /api/v1")
    return f"/{text}"


def read_role(value: object) -> str:
    if not isinstance(value, str) or not _ROLE.fullmatch(value.strip()):
        raise ValueError("must be a role's ARN, as arn:aws:iam::123456789012:role/name")
    return value.strip()


def read_endpoint(value: object) -> str:
    """An http(s) URL without a trailing slash."""
    text = value.strip().rstrip("/") if isinstance(value, str) else ""
    try:
        whole = re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text) and urlsplit(text)
        known = whole and whole.hostname and whole.port != 0
    except ValueError:  # a bracket without its other, a port that is none
        known = None
    if not known:
        raise ValueError("must be an http(s) URL, as https://host or https://host/path")
    return text


def _row(kind: type[Row], tree: object, where: str) -> Row:
    """``tree`` as a row. Raises ``ValueError`` that names the key."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"{where}: must be a table")
    # mypy knows no bound for "a dataclass", which ``kind`` always is.
    known: Mapping[str, Any] = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for key, value in tree.items():
        name = snake(key)
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"{where}: `{key}` is not a known key{hint}")
        if value is not None:
            given[name] = _member(name, value, f"{where}: `{key}`")
    for name, one in known.items():
        if one.default is MISSING and not given.get(name):
            raise ValueError(f"{where}: `{name}` is missing")
    return kind(**given)


def _member(name: str, value: object, where: str) -> object:
    readers = {
        "reasoning": _switch, "tools": _switch, "input": _modalities, "cost": _prices,
        "context_window": _count, "max_tokens": _count, "region": read_region,
        "role_arn": read_role, "endpoint": read_endpoint,
    }  # fmt: skip
    try:
        return readers.get(name, _text)(value)
    except ValueError as fault:
        raise ValueError(f"{where} {fault}") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be text")
    return value.strip()


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number, at least 1")
    return value


def _modalities(value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list | tuple) else [value]
    if not words or not all(isinstance(one, str) and one in MODALITIES for one in words):
        raise ValueError(f"must be a list of {', '.join(sorted(MODALITIES))}")
    return tuple(dict.fromkeys(words))


def _prices(value: object) -> Mapping[str, float]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a table of {', '.join(PRICES)}")
    prices = {snake(key): price for key, price in value.items()}
    for key, price in prices.items():
        if key not in PRICES:
            near = get_close_matches(key, PRICES, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise ValueError(f"has no `{key}`{hint}")
        number = isinstance(price, int | float) and not isinstance(price, bool)
        if not number or not 0 <= price < 1e9:
            raise ValueError(f"`{key}` must be a price per million tokens, in USD")
    return MappingProxyType({key: float(price) for key, price in prices.items()})


def _plain(value: object) -> object:
    """``value``, parsed if it is a text of JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError as fault:
            raise ValueError(f"is not valid JSON: {fault}") from None
    return value


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _list(value: object) -> list[object]:
    if isinstance(value, str):
        raise ValueError("must be a list of tables, or JSON of one")
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of tables")
    return list(value)
