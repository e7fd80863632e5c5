"""One Converse call under judgement: who is asked, and the request body in easy reach.

`Call` is what the rules and the model read. Its body has already passed `shapes.py`, so members
have their types; everything else about it is still to be judged. `estimate_tokens` is the
simulator's tokenizer: four characters a token, and flat prices for media.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import orjson

from proxy.simulator.estate import Foundation, Target
from proxy.simulator.family import Family

Block = dict[str, Any]
Message = dict[str, Any]

_MEDIA_TOKENS = MappingProxyType({"image": 1000, "video": 2500, "audio": 500})


@dataclass(frozen=True)
class Call:
    """A Converse or ConverseStream request. `model_id` is the caller's string."""

    model_id: str
    target: Target
    body: dict[str, Any]
    streaming: bool = False

    @property
    def model(self) -> Foundation:
        return self.target.model

    @property
    def family(self) -> Family:
        return self.target.family

    @cached_property
    def messages(self) -> list[Message]:
        return self.body.get("messages") or []

    @cached_property
    def system(self) -> list[Block]:
        return self.body.get("system") or []

    @cached_property
    def inference(self) -> dict[str, Any]:
        return self.body.get("inferenceConfig") or {}

    @cached_property
    def fields(self) -> dict[str, Any]:
        return self.body.get("additionalModelRequestFields") or {}

    @cached_property
    def specs(self) -> list[dict[str, Any]]:
        """The toolSpecs offered, in order."""
        tools = (self.body.get("toolConfig") or {}).get("tools", [])
        return [tool["toolSpec"] for tool in tools if "toolSpec" in tool]

    @cached_property
    def choice(self) -> str:
        """`auto`, `any`, `tool`, or "" when no choice was sent."""
        return next(iter((self.body.get("toolConfig") or {}).get("toolChoice") or {}), "")

    @cached_property
    def input_tokens(self) -> int:
        return estimate_tokens(self.body)

    @cached_property
    def output_schema(self) -> dict[str, Any] | None:
        """The JSON schema that outputConfig asks for, parsed; None without one."""
        text_format = (self.body.get("outputConfig") or {}).get("textFormat")
        if text_format is None:
            return None
        parsed: dict[str, Any] = orjson.loads(text_format["structure"]["jsonSchema"]["schema"])
        return parsed

    def blocks(self) -> Iterator[tuple[int, int, str, Block]]:
        """Every content block: message index, block index, role, block."""
        for at, message in enumerate(self.messages):
            for index, block in enumerate(message["content"]):
                yield at, index, message["role"], block


def kind_of(block: Block) -> str:
    """The one member that a union block sets."""
    return next(iter(block))


def tool_uses(message: Message) -> list[Block]:
    return [block["toolUse"] for block in message["content"] if "toolUse" in block]


def tool_results(message: Message) -> list[Block]:
    """The client's results: those of server tools stand in assistant messages and do not count."""
    if message["role"] != "user":
        return []
    return [block["toolResult"] for block in message["content"] if "toolResult" in block]


def estimate_tokens(value: Any) -> int:
    """Tokens of a request part, at least 1."""
    return max(1, _characters(value) // 4)


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_characters, value))
    if isinstance(value, dict):
        return sum(_member_characters(name, inner) for name, inner in value.items())
    return 2


def _member_characters(name: str, value: Any) -> int:
    if name in _MEDIA_TOKENS:
        return 4 * _MEDIA_TOKENS[name]
    if name == "bytes":
        return len(value) // 4
    if name in ("type", "role", "cachePoint", "toolUseId", "signature", "format", "toolChoice"):
        return 0
    return _characters(value)
