"""Chat completions as a ``Dialect``: the one value that the rest of the house knows of this room.

Source: OpenAI API reference, *Chat completions*.
"""

from dataclasses import replace
from typing import Final

from proxy.dialect import Dialect
from proxy.openai.chat.from_converse import ChatCollector, ChatEncoder, end, render
from proxy.openai.chat.links import linked, links
from proxy.openai.chat.media_places import locate
from proxy.openai.chat.recollection import lacking, restored
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate
from proxy.openai.chat.tool_memory import ToolMemory
from proxy.openai.chat.weight import weigh
from proxy.openai.errors import error_body, error_event

CHAT: Final = Dialect(
    name="chat",
    parse=parse_request,
    lacking=lacking,
    restored=restored,
    translate=translate,
    encoder=ChatEncoder,
    end=end,
    collector=ChatCollector,
    render=render,
    error_body=error_body,
    error_event=error_event,
    weigh=weigh,
    links=links,
    linked=linked,
    locate=locate,
)


def chat() -> Dialect:
    """The same with a cache: tools that were sent before are not parsed again."""
    return replace(CHAT, parse=ToolMemory().parse)
