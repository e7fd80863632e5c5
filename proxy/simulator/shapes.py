"""Requests held against botocore's own service model.

A shape is compiled once into nested functions (a walk over the shape tree costs ten times the
checks themselves), so that validation stays cheap under load. Checked are JSON types, required
members, unions (exactly one member), lengths, ranges, patterns (whole string), enums and members
that the model does not know. What the service is known to take beyond its model is let through:
`toolUse.type` (captures fact 15) and the video format (recorded on Nova Pro) are open enums.

Faults are collected and reported the way Coral services do: "2 validation errors detected: …".
Wrong JSON types are a SerializationException, as on every AWS JSON protocol. That unknown members
are refused is stricter than what was recorded; it is what makes this room a judge.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import Any

from proxy.simulator.refusals import Refusal, invalid

Faults = list[str]
Check = Callable[[Any, str, Faults], None]

_MEMBER = re.compile(r"\.(\d+)\.member")
_OPEN_ENUMS = frozenset({"ToolUseType", "VideoFormat"})
_JSON_TYPES = (
    (bool, "TRUE_VALUE"),
    (str, "STRING_VALUE"),
    ((int, float), "NUMBER_VALUE"),
    (dict, "START_OBJECT"),
    (list, "START_ARRAY"),
)
_EXPECTED = MappingProxyType(
    {
        "string": "String",
        "integer": "Integer",
        "long": "Long",
        "float": "Float",
        "double": "Double",
        "boolean": "Boolean",
        "blob": "ByteBuffer",
    }
)


@cache
def service_model(service: str) -> Any:
    """botocore's ServiceModel of `bedrock-runtime` or `bedrock` (0.2 s, hence cached)."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def body_check(operation: str) -> Callable[[dict[str, Any]], None]:
    """A function that raises `Refusal` unless a JSON body fits the operation's input shape."""
    shape = service_model("bedrock-runtime").operation_model(operation).input_shape
    in_body = {n: m for n, m in shape.members.items() if "location" not in m.serialization}
    required = [n for n in shape.required_members if n in in_body]
    check = _structure(in_body, required, "")

    def validate(body: dict[str, Any]) -> None:
        faults: Faults = []
        check(body, "", faults)
        if faults:
            raise _report(faults)

    return validate


@cache
def label_check(operation: str, member: str) -> Callable[[str], None]:
    """A function that raises `Refusal` unless a path label fits its shape."""
    shape = service_model("bedrock-runtime").operation_model(operation).input_shape
    check = _string(shape.members[member])

    def validate(value: str) -> None:
        faults: Faults = []
        check(value, member, faults)
        if faults:
            raise _report(faults)

    return validate


def _report(faults: Faults) -> Refusal:
    plural = "s" if len(faults) > 1 else ""
    shown = "; ".join(faults[:10])
    return invalid(f"{len(faults)} validation error{plural} detected: {shown}")


def _constraint(value: Any, where: str, rule: str) -> str:
    shown = "null" if value is None else f"'{str(value)[:200]}'"
    return f"Value {shown} at '{where}' failed to satisfy constraint: {rule}"


def _wrong_type(value: Any, kind: str) -> Refusal:
    named = next((word for types, word in _JSON_TYPES if isinstance(value, types)), "VALUE_NULL")
    if value is False:
        named = "FALSE_VALUE"
    article = "an" if kind[0] in "AEIOU" else "a"
    return Refusal("SerializationException", f"{named} can not be converted to {article} {kind}")


def _compile(shape: Any) -> Check:
    kind = shape.type_name
    if kind == "structure":
        if shape.is_document_type:
            return _document
        union = bool(shape.metadata.get("union"))
        name = shape.name if union else ""
        return _structure(dict(shape.members), list(shape.required_members), name)
    if kind == "list":
        return _list(shape)
    if kind == "map":
        return _map(shape)
    if kind == "string":
        return _string(shape)
    if kind == "blob":
        return _blob(shape)
    if kind == "boolean":
        return _boolean
    return _number(shape)


def _plain(where: str) -> str:
    """`messages.1.member.role`, as constraints name a place, to `messages.0.role`."""
    return _MEMBER.sub(lambda found: f".{int(found.group(1)) - 1}", where)


def _structure(members: dict[str, Any], required: list[str], union: str) -> Check:
    """The check of a structure; `union` is the shape's name when exactly one member may be set."""
    checks = {name: _compile(member) for name, member in members.items()}
    keys = ", ".join(members)

    def check(value: Any, where: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(value, "Object")
        prefix = f"{where}." if where else ""
        for name, inner in value.items():
            member = checks.get(name)
            if member is None:
                raise invalid(
                    f"Malformed input request: #/{_plain(where).replace('.', '/')}: extraneous key "
                    f"[{name}] is not permitted, please reformat your input and try again."
                )
            if inner is None:
                faults.append(_constraint(None, prefix + name, "Member must not be null"))
            else:
                member(inner, prefix + name, faults)
        for name in required:
            if name not in value:
                faults.append(_constraint(None, prefix + name, "Member must not be null"))
        if union and len(value) != 1:
            raise invalid(
                f"{union} object at {_plain(where)} must set one of the following keys: {keys}."
            )

    return check


def _list(shape: Any) -> Check:
    member = _compile(shape.member)
    within = _length(shape.metadata)

    def check(value: Any, where: str, faults: Faults) -> None:
        if not isinstance(value, list):
            raise _wrong_type(value, "List")
        within(len(value), value, where, faults)
        for index, inner in enumerate(value):
            if inner is None:
                spot = f"{where}.{index + 1}.member"
                faults.append(_constraint(None, spot, "Member must not be null"))
            else:
                member(inner, f"{where}.{index + 1}.member", faults)

    return check


def _map(shape: Any) -> Check:
    key, member = _compile(shape.key), _compile(shape.value)
    within = _length(shape.metadata)

    def check(value: Any, where: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(value, "Map")
        within(len(value), value, where, faults)
        for name, inner in value.items():
            key(name, where, faults)
            member(inner, f"{where}.{name}", faults)

    return check


def _string(shape: Any) -> Check:
    within = _length(shape.metadata)
    pattern = shape.metadata.get("pattern")
    matches = re.compile(pattern).fullmatch if pattern else None
    allowed = () if shape.name in _OPEN_ENUMS else tuple(shape.enum)

    def check(value: Any, where: str, faults: Faults) -> None:
        if not isinstance(value, str):
            raise _wrong_type(value, "String")
        within(len(value), value, where, faults)
        if matches and not matches(value):
            rule = f"Member must satisfy regular expression pattern: {pattern}"
            faults.append(_constraint(value, where, rule))
        if allowed and value not in allowed:
            rule = f"Member must satisfy enum value set: [{', '.join(allowed)}]"
            faults.append(_constraint(value, where, rule))

    return check


def _blob(shape: Any) -> Check:
    within = _length(shape.metadata)

    def check(value: Any, where: str, faults: Faults) -> None:
        if not isinstance(value, str):
            raise _wrong_type(value, "ByteBuffer")
        try:
            size = len(binascii.a2b_base64(value, strict_mode=True)) if value else 0
        except ValueError:
            raise Refusal("SerializationException", f"{where} is not valid Base64") from None
        within(size, f"<{size} bytes>", where, faults)

    return check


def _boolean(value: Any, where: str, faults: Faults) -> None:
    if not isinstance(value, bool):
        raise _wrong_type(value, "Boolean")


def _document(value: Any, where: str, faults: Faults) -> None:
    """Any JSON is well-formed here; which of them must be objects is a matter of `turns.py`."""


def _number(shape: Any) -> Check:
    kind = shape.type_name
    types: tuple[type, ...] = (int,) if kind in ("integer", "long") else (int, float)
    low, high = shape.metadata.get("min"), shape.metadata.get("max")

    def check(value: Any, where: str, faults: Faults) -> None:
        if isinstance(value, bool) or not isinstance(value, types):
            raise _wrong_type(value, _EXPECTED[kind])
        if low is not None and value < low:
            rule = f"Member must have value greater than or equal to {low}"
            faults.append(_constraint(value, where, rule))
        if high is not None and value > high:
            rule = f"Member must have value less than or equal to {high}"
            faults.append(_constraint(value, where, rule))

    return check


def _length(metadata: dict[str, Any]) -> Callable[[int, Any, str, Faults], None]:
    low, high = metadata.get("min"), metadata.get("max")

    def within(size: int, value: Any, where: str, faults: Faults) -> None:
        if low is not None and size < low:
            rule = f"Member must have length greater than or equal to {low}"
            faults.append(_constraint(value, where, rule))
        if high is not None and size > high:
            rule = f"Member must have length less than or equal to {high}"
            faults.append(_constraint(value, where, rule))

    return within
