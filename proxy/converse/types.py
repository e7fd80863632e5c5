"""Converse's shapes, spelled as AWS writes them on the wire.

Source: the service model of bedrock-runtime 2023-09-30 (botocore's data); members that real traffic
carries beyond it are marked. Unions are ``TypedDict``s with every member optional; exactly one is
set. Blobs are base64 text. Every enum is open.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

Json = Any
"""Any JSON value, as ``orjson.loads`` returns it; ``Any`` is welcome at this border."""

Operation = Literal["converse-stream", "converse", "invoke"]
"""The last path segment of the call; ``invoke`` (InvokeModel) speaks a model's native JSON."""


class ConverseRequest(TypedDict, total=False):
    """The body of Converse and ConverseStream (``modelId`` travels in the path)."""

    messages: list["Message"]
    system: list[Mapping[str, Json]]
    inferenceConfig: dict[str, Json]
    toolConfig: dict[str, Json]
    guardrailConfig: dict[str, Json]
    additionalModelRequestFields: dict[str, Json]
    promptVariables: dict[str, Json]
    additionalModelResponseFieldPaths: list[str]
    requestMetadata: dict[str, str]
    performanceConfig: dict[str, Json]
    serviceTier: dict[str, Json]
    outputConfig: dict[str, Json]
    projectIdentifier: str


class Message(TypedDict):
    role: str
    content: list[dict[str, Json]]


class Usage(TypedDict):
    """Token counts. ``inputTokens`` excludes cached ones; ``totalTokens`` is the sum of all four
    (held in every recording). Cache members may be zero, one-sided or absent."""

    inputTokens: int
    outputTokens: int
    totalTokens: NotRequired[int]
    cacheReadInputTokens: NotRequired[int]
    cacheWriteInputTokens: NotRequired[int]
    cacheDetails: NotRequired[Sequence[Mapping[str, Json]]]


Event = tuple[str, dict[str, Json]]
"""One ConverseStream event: its kind, from the header, and the payload's JSON object.

Kinds: messageStart, contentBlockStart, contentBlockDelta, contentBlockStop, messageStop,
metadata; ``native`` is the whole answer of an ``invoke`` (``native.py``). Unknown kinds are
passed on too; a reader skips what it does not know. A plain pair, because a NamedTuple takes
several times as long to make and to unpack.
"""
