"""Tools of a chat request as a Converse ``toolConfig`` (deepened below)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest
from proxy.openai.chat.tool_names import ToolNames, client_id, safe_id

__all__ = [
    "HistoryCall",
    "ToolNames",
    "ToolTranslation",
    "arguments_to_input",
    "client_id",
    "safe_id",
    "translate_tools",
]


class HistoryCall(NamedTuple):
    name: str
    input: dict[str, Json]


@dataclass(frozen=True, slots=True)
class ToolTranslation:
    names: ToolNames
    config: dict[str, Json] | None = None
    custom: frozenset[str] = frozenset()
    offered: frozenset[str] | None = None
    one_call: bool = False
    fields: dict[str, Json] = field(default_factory=dict)
    system_hint: str | None = None
    forced: bool = False


def arguments_to_input(arguments: Json, path: str, notes: Notes) -> dict[str, Json]:
    raise NotImplementedError


def translate_tools(
    request: ChatRequest, history: Sequence[HistoryCall], traits: Traits, notes: Notes
) -> ToolTranslation:
    raise NotImplementedError
