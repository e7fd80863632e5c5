"""Images and sound that a model answers with.

Images go out as OpenRouter's ``images`` list (chat completions have no place of their own for
them), sound as OpenAI's ``audio``. Base64 stays the text that Bedrock sent.
Sources: Bedrock API reference, *ImageBlockDelta*, *AudioBlock*; OpenAI API reference, *Audio*.
"""

from collections.abc import Mapping
from typing import Final

from proxy.converse.types import Json
from proxy.errors import ProxyError
from proxy.openai.chat.blobs import join_blobs

_AUDIO_KEPT: Final = 3600
"""Seconds until ``expires_at``. Nothing is kept here: a client must not expect to refer back."""


class Attachment:
    """One image or audio block; ``kind`` and ``format`` as Converse names them."""

    def __init__(self, kind: str, format: str) -> None:
        self.kind: Final = kind
        self._format: Final = format
        self._pieces: list[str] = []
        self._uri: str | None = None

    def add(self, delta: Mapping[str, Json]) -> None:
        """An ``ImageBlockDelta`` (or its like). Raises ``ProxyError`` if generating it failed."""
        if (error := delta.get("error")) is not None:
            reason = error.get("message") if isinstance(error, Mapping) else None
            raise ProxyError(
                502,
                f"The model failed to produce the {self.kind}: {reason or 'no reason given'}.",
                code="model_error",
                retry="once",
            )
        source = delta["source"]
        if "bytes" in source:
            self._pieces.append(source["bytes"])
        elif "s3Location" in source:
            self._uri = str(source["s3Location"]["uri"])

    def image(self) -> dict[str, Json]:
        """OpenRouter's entry of ``images``, without an index."""
        media = f"image/{self._format}" if self._format else "application/octet-stream"
        url = self._uri or f"data:{media};base64,{join_blobs(self._pieces)}"
        return {"type": "image_url", "image_url": {"url": url}}

    def audio(self, id: str, created: int) -> dict[str, Json]:
        """OpenAI's ``audio`` object; ``format`` is beyond it, since no request named one."""
        return {
            "id": f"audio_{id}",
            "data": join_blobs(self._pieces),
            "transcript": "",
            "expires_at": created + _AUDIO_KEPT,
            "format": self._format,
        }
