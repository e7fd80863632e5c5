"""Tools that were sent before: read once, and translated once for the family that is asked.

An agent sends the same tools with each of its turns, and thirty of them are most of what there is
to read in its request. They are told again by their JSON, byte for byte, so nothing that could
make a difference is overlooked; what comes back is the same value that reading would give. It is
never written to, and what is faulty is never kept.
"""

from collections.abc import Mapping
from typing import Final

import orjson

from proxy.converse.types import Json
from proxy.openai.chat.request import ChatRequest, parse_request
from proxy.openai.chat.request_shape import Tools, ToolSpec
from proxy.openai.chat.request_tools import read_tools

ROOM: Final = 1_000_000
"""Bytes of JSON that are kept, some fifty agents' tools; as objects they take several times that.
When it is full all are forgotten: those still in use are back with their next turn."""


class ToolMemory:
    """Keeps the tools of at most ``room`` bytes of JSON."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._held = 0
        self._known: dict[bytes, Tools] = {}

    def parse(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """``parse_request``. Raises ``ProxyError`` 400 as that does."""
        return parse_request(body, headers, self._tools)

    def _tools(self, fields: Mapping[str, Json]) -> tuple[ToolSpec, ...]:
        tools = fields.get("tools")
        if not tools or fields.get("functions") is not None:
            return read_tools(fields)
        try:
            said = orjson.dumps(tools)
        except orjson.JSONEncodeError:  # nested too deeply
            return read_tools(fields)
        known = self._known.get(said)
        return self._keep(said, Tools(read_tools(fields))) if known is None else known

    def _keep(self, said: bytes, tools: Tools) -> Tools:
        size = len(said)
        if self._held + size > self._room:
            self._known.clear()
            self._held = 0
        if size <= self._room:
            self._known[said] = tools
            self._held += size
        return tools
