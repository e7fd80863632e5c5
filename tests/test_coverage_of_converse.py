"""Is every member of Converse mapped, or left out for a reason? botocore's service model asks.

The answers stand in ``coverage_of_converse.toml``. A mapped member's name must occur, as a string
of the code, in the file that is said to map it; a new botocore with a new member fails here and
names it. ``ConverseStreamRequest`` has the members of ``ConverseRequest`` and shares its answers.
"""

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from proxy.converse.exceptions import EXCEPTIONS, from_exception

ROOT = Path(__file__).parents[1]
PROXY = ROOT / "proxy"
TABLE: dict[str, Any] = tomllib.loads((ROOT / "tests" / "coverage_of_converse.toml").read_text())
MAPPED = {member: file for file, members in TABLE["mapped"].items() for member in members}
OPERATIONS = ("Converse", "ConverseStream")


@functools.cache
def operations() -> tuple[Any, ...]:
    model = botocore.session.Session().get_service_model("bedrock-runtime")
    return tuple(model.operation_model(name) for name in OPERATIONS)


@functools.cache
def shapes() -> dict[str, Any]:
    """Every shape below the requests and answers, by name."""
    found: dict[str, Any] = {}
    for operation in operations():
        for root in (operation.input_shape, operation.output_shape):
            gather(root, found)
    return found


def gather(shape: Any, found: dict[str, Any]) -> None:
    if shape.name in found:
        return
    found[shape.name] = shape
    if shape.type_name == "structure":
        for member in shape.members.values():
            gather(member, found)
    elif shape.type_name == "list":
        gather(shape.member, found)
    elif shape.type_name == "map":
        gather(shape.key, found)
        gather(shape.value, found)


def structures() -> Iterator[tuple[str, Any]]:
    for name, shape in shapes().items():
        if shape.type_name == "structure":
            yield name, shape


def is_exception(shape_name: str, member: str) -> bool:
    """Exceptions are members of the stream's union; their table is checked below."""
    return shape_name == "ConverseStreamOutput" and member.endswith("Exception")


def members() -> Iterator[str]:
    for name, shape in structures():
        alias = "ConverseRequest" if name == "ConverseStreamRequest" else name
        for member in shape.members:
            if name not in TABLE["carried_whole"] and not is_exception(name, member):
                yield f"{alias}.{member}"


@functools.cache
def strings(file: str) -> frozenset[str]:
    """The strings of a file's code (not its docstrings), its keyword arguments and fields."""
    found: set[str] = set()
    tree = ast.parse((PROXY / file).read_text())
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found.add(node.value)
        elif isinstance(node, ast.keyword) and node.arg:
            found.add(node.arg)
    return frozenset(found)


def names(file: str, word: str) -> bool:
    return (PROXY / file).exists() and word in strings(file)


def test_every_member_has_an_answer() -> None:
    answered = MAPPED.keys() | TABLE["left_out"].keys() | TABLE["not_yet"].keys()
    missing = sorted(set(members()) - answered)
    assert not missing, f"new in botocore {botocore.__version__}: mapped where, left out why?"


def test_no_answer_is_stale() -> None:
    answered = {*MAPPED, *TABLE["left_out"], *TABLE["not_yet"]}
    assert not sorted(answered - set(members()))
    assert not sorted(TABLE["carried_whole"].keys() - dict(structures()).keys())


def test_no_member_has_two_answers() -> None:
    listed = [m for group in TABLE["mapped"].values() for m in group]
    listed += [*TABLE["left_out"], *TABLE["not_yet"]]
    assert sorted(listed) == sorted(set(listed))


def test_mapped_members_are_named_where_they_are_said_to_be() -> None:
    absent = [
        f"{member}: not in proxy/{file}"
        for member, file in MAPPED.items()
        if not names(file, member.split(".")[1])
    ]
    assert not absent, "\n".join(absent)


def test_what_is_not_yet_names_its_file() -> None:
    for member, file in TABLE["not_yet"].items():
        assert file.endswith(".py"), member
        assert not names(file, member.split(".")[1]), f"{member} is there now: move it to [mapped]"


def test_reasons_are_reasons() -> None:
    for table in ("left_out", "carried_whole", "values_left_out"):
        for member, reason in TABLE[table].items():
            assert len(reason) > 12, member


def test_streams_ask_with_the_same_members() -> None:
    one, other = (operation.input_shape.members.keys() for operation in operations())
    assert one == other


@pytest.mark.parametrize("name", TABLE["enums"])
def test_every_value_of_an_enum_is_known(name: str) -> None:
    file = TABLE["enums"][name]
    named = [value for value in shapes()[name].enum if names(file, value)]
    left_out = [v for v in shapes()[name].enum if f"{name}.{v}" in TABLE["values_left_out"]]
    missing = sorted(set(shapes()[name].enum) - {*named, *left_out})
    assert not missing, f"not in proxy/{file}"


def test_every_enum_that_matters_is_listed() -> None:
    """Those of the guardrail's trace travel whole; a guarded image is left out."""
    whole = {
        member.name
        for shape in TABLE["carried_whole"]
        for member in shapes()[shape].members.values()
    }
    inner = {shapes()[n].member.name for n in whole if shapes()[n].type_name == "list"}
    enums = {name for name, shape in shapes().items() if getattr(shape, "enum", None)}
    assert enums - whole - inner - TABLE["enums"].keys() == {"GuardrailConverseImageFormat"}


def exception_names() -> list[str]:
    found = {shape.name for operation in operations() for shape in operation.error_shapes}
    stream = shapes()["ConverseStreamOutput"].members
    found |= {name for name in stream if name.endswith("Exception")}
    return sorted(found)


@pytest.mark.parametrize("name", exception_names())
def test_every_exception_has_a_row(name: str) -> None:
    """A row of its own, not the fallback for unknown names."""
    assert name.lower().removesuffix("exception") in EXCEPTIONS
    error = from_exception(name, "m")
    assert error.reason == name[0].upper() + name[1:]


def test_exceptions_keep_their_native_status_or_say_why() -> None:
    """Where ours differs from the model's status, mapping.md section 14 has the reason."""
    differs = {
        "ModelTimeoutException": (408, 504),  # SDKs would repeat a 408
        "ModelErrorException": (424, 502),
        "ModelNotReadyException": (429, 503),  # no rate of the caller's
    }
    for operation in operations():
        for shape in operation.error_shapes:
            native = shape.metadata["error"]["httpStatusCode"]
            ours = from_exception(shape.name, "m").status
            assert (native, ours) == differs.get(shape.name, (native, native)), shape.name
