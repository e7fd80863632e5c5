"""An estimate of a chat request's tokens: what limits reserve before usage is known.

Four bytes of text count as one token (a little less in English, more in code), an image or a file
as what Claude charges for a full-size image, and the answer as long as it may be. Actual usage is
booked at the end. Cheap: one walk, no encoding, no recursion. Sources: OpenAI and Anthropic, *Token
counting* (rules of thumb); Anthropic, *Vision* (1,600 tokens at most).
"""

from typing import Final

from proxy.catalog.model import Model
from proxy.converse.types import Json
from proxy.dialect import Weight
from proxy.openai.chat.request_shape import ChatRequest

BYTES_A_TOKEN: Final = 4
MEDIA_TOKENS: Final = 1_600
UNSAID_OUTPUT: Final = 4_096
"""Tokens of an answer whose length nobody bounded: models may answer with 100 times as many, and
hardly ever do."""
_MEDIA_KEYS: Final = frozenset({"url", "image_url", "video_url", "audio_url", "file_data", "data"})


def weigh(request: ChatRequest, model: Model) -> Weight:
    """Each choice is a call of its own, with the whole input."""
    limit = model.traits.max_output_tokens
    output = UNSAID_OUTPUT if request.max_tokens is None else request.max_tokens
    if limit is not None:
        output = min(output, limit)
    tools = [(tool.name, tool.description, tool.parameters) for tool in request.tools]
    held = _weight([*request.messages, *tools, request.response_format.schema])
    return Weight(held * request.n, output * request.n)


def text_tokens(text: str) -> int:
    """Of one text, at least one token."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return size // BYTES_A_TOKEN + 1


def _weight(values: list[Json]) -> int:
    tokens = 0
    while values:
        value = values.pop()
        if isinstance(value, str):
            tokens += text_tokens(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if isinstance(inner, str) and key in _MEDIA_KEYS and value.get("type") != "text":
                    tokens += MEDIA_TOKENS
                else:
                    values.append(inner)
        elif isinstance(value, list | tuple):
            values.extend(value)
        else:
            tokens += 1
    return tokens
