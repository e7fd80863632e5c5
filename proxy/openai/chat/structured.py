"""response_format (deepened below)."""

from dataclasses import dataclass
from typing import Literal

from proxy.catalog.model import Traits
from proxy.converse.types import Json
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.request import ChatRequest
from proxy.openai.chat.tools import ToolTranslation


@dataclass(frozen=True, slots=True)
class FormatTranslation:
    tools: ToolTranslation
    output_config: dict[str, Json] | None = None
    system_hint: str | None = None
    json_tool: str | None = None
    json_mode: Literal["none", "native", "tool", "prompt"] = "none"


def apply_format(
    request: ChatRequest, traits: Traits, tools: ToolTranslation, notes: Notes
) -> FormatTranslation:
    raise NotImplementedError
