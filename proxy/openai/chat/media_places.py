"""Where in a chat request the media of a kind stand, for a refusal that only tells the kind.

Bedrock says that a model takes no image, not which one; the first part that can have become such a
block is named. A file becomes whichever block its bytes are, and an ``image_url`` may bring a PDF:
both are looked at only where no part says the kind itself.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from proxy.converse.types import Json
from proxy.openai.chat.request_shape import ChatRequest

_PICTURES: Final = ("image_url", "input_image", "image")
_FILES: Final = ("file", "input_file")
_TYPES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = MappingProxyType(
    {
        "image": (_PICTURES, _FILES),
        "document": (("document",), _FILES, _PICTURES),
        "video": (("video_url", "input_video", "video"), _FILES),
        "audio": (("input_audio", "audio_url"), _FILES),
    }
)


def locate(request: ChatRequest, kind: str) -> str | None:
    """``messages[0].content[1].type`` of the first part of this kind; ``None``: there is none."""
    parts = list(_parts(request))
    for types in _TYPES.get(kind, ()):
        for path, name in parts:
            if name in types:
                return f"{path}.type"
    return None


def _parts(request: ChatRequest) -> Iterator[tuple[str, Json]]:
    """The path and type of every part that is an object."""
    for index, message in enumerate(request.messages):
        content, at = message.get("content"), f"messages[{index}].content"
        if isinstance(content, dict):
            yield at, content.get("type")
        elif isinstance(content, list):
            for inner, part in enumerate(content):
                if isinstance(part, dict):
                    yield f"{at}[{inner}]", part.get("type")
