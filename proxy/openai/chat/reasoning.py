"""Reasoning (deepened below)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest


@dataclass(frozen=True, slots=True)
class ReasoningTranslation:
    fields: dict[str, Json] = field(default_factory=dict)
    output_config: dict[str, Json] | None = None
    max_tokens: int | None = None
    drop_sampling: frozenset[str] = frozenset()
    on: bool = False
    drop_forced_choice: bool = False


def apply_reasoning(
    request: ChatRequest,
    traits: Traits,
    max_tokens: int | None,
    forced: bool,
    has_schema_tool: bool,
    notes: Notes,
) -> ReasoningTranslation:
    raise NotImplementedError


def replay_blocks(message: Mapping[str, Json], traits: Traits, path: str) -> list[dict[str, Json]]:
    raise NotImplementedError


def pack(blocks: list[dict[str, Json]], family: str) -> str:
    raise NotImplementedError


def unpack(data: str) -> tuple[str, list[dict[str, Json]]] | None:
    raise NotImplementedError
