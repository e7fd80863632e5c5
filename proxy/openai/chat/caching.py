"""Cache points (deepened below)."""

from collections.abc import Mapping

from proxy.catalog.model import Traits
from proxy.converse.types import ConverseRequest, Json
from proxy.openai.chat.notes import Notes


def cache_mark(obj: Mapping[str, Json], path: str) -> dict[str, Json] | None:
    raise NotImplementedError


def legalise(
    body: ConverseRequest,
    traits: Traits,
    *,
    ttl: str | None,
    automatic: bool,
    anchors: tuple[int, ...],
    notes: Notes,
) -> None:
    raise NotImplementedError
