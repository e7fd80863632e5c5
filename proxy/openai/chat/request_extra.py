"""``extra_body`` sent literally, and what in it is meant for the model.

The SDKs merge ``extra_body`` into the body; clients written by hand send the object as it is. Its
members are read as if they stood at the top, which wins where both speak. What no reader here knows
can only be meant for the model: it goes among ``additionalModelRequestFields``, as the archived AWS
gateway did with it (``anthropic_beta``, ``reasoning_config``, Nova's ``inferenceConfig``), and
Bedrock refuses it by name if the model does not take it.
Source: usage guide of aws-samples/bedrock-access-gateway.
"""

from collections.abc import Mapping
from typing import Final

from proxy.converse.types import Json
from proxy.openai.chat.request_native import MEMBERS
from proxy.openai.chat.request_wishes import CACHING, REASONING
from proxy.openai.request_checks import check_depth, read_object

_FIELDS: Final = "additionalModelRequestFields"
_BETA: Final = "anthropic_beta"
"""For the model wherever it stands: no API but Anthropic's has a field of this name."""
_OURS: Final = frozenset(
    {
        "amazon-bedrock-guardrailConfig", "audio", "extra_body", "frequency_penalty",
        "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "metadata", "min_p", "modalities", "model", "moderation", "n",
        "parallel_tool_calls", "prediction", "presence_penalty", "repetition_penalty",
        "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_k", "top_logprobs", "top_p",
        "usage", "user", "verbosity", "web_search_options",
    }
)  # fmt: skip
KNOWN: Final = _OURS | MEMBERS | REASONING | CACHING
"""Every member of a body that chat reads."""


def unfold(fields: Mapping[str, Json]) -> Mapping[str, Json]:
    """``fields`` with what a literal ``extra_body`` says in its place. Raises ``ProxyError`` 400
    for members that could not be written again."""
    extra = fields.get("extra_body")
    if not isinstance(extra, dict):
        extra = {}
        if _BETA not in fields:
            return fields
    merged = {**extra, **fields}
    meant = {name: value for name, value in extra.items() if name not in KNOWN}
    if fields.get(_BETA) is not None:
        meant[_BETA] = fields[_BETA]
    if meant:
        check_depth(meant, "extra_body")
        snake = "additional_model_request_fields"
        under = snake if merged.get(_FIELDS) is None and merged.get(snake) is not None else _FIELDS
        merged[under] = {**meant, **(read_object(merged, under) or {})}
    return merged
