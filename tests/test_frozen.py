"""Values that only the type checker freezes are compared, hashed and copied like frozen ones."""

from dataclasses import field, replace

import pytest

from proxy.frozen import frozen


@frozen
class Point:
    x: int
    y: int = 0
    names: tuple[str, ...] = field(default_factory=tuple)


def test_a_value_is_what_its_fields_are() -> None:
    one, other = Point(1), Point(1, 0, ())
    assert one == other
    assert one != Point(1, 2)
    assert len({one, other, replace(one, y=2)}) == 2
    assert repr(one) == "Point(x=1, y=0, names=())"


def test_nothing_else_can_be_hung_on_it() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__")


def test_the_type_checker_refuses_to_write() -> None:
    point = Point(1)
    point.x = 2  # type: ignore[misc]  # mypy would complain of a comment that is not needed
    assert point.x == 2
