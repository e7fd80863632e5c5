"""A catalog's entries as OpenAI's model objects.

OpenAI's object says no more than id, date and owner. What agents and chat front ends want to know
besides (limits, modalities, reasoning) is known to them by several names, none of them standard;
the usual ones are all written. What is not known is left out: clients have defaults of their own,
and a wrong limit is worse than none. Sources: OpenAI API reference, *Models*; the extra names as
OpenRouter, vLLM and LiteLLM write them and agents read them.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import orjson

# An entry's member, and under which names clients look for it.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "name": ("name", "display_name"),
        "description": ("description",),
        "context_window": ("context_window", "context_length", "max_model_len"),
        "max_output_tokens": ("max_output_tokens", "max_completion_tokens"),
        "input_modalities": ("input_modalities",),
        "output_modalities": ("output_modalities",),
        "reasoning": ("reasoning", "supports_reasoning"),
        "tools": ("supports_tools",),
        "streaming": ("supports_streaming",),
        "lifecycle": ("lifecycle",),
        "profile": ("profile",),
    }
)
_SHAPE: Final = frozenset({"id", "created", "owned_by"})
_PARAMETERS: Final = (
    ("tools", ("tools", "tool_choice")),
    ("reasoning", ("reasoning", "reasoning_effort", "include_reasoning")),
)


def render_list(entries: Iterable[Mapping[str, object]]) -> bytes:
    """``GET /v1/models``."""
    return orjson.dumps({"object": "list", "data": [_model(entry) for entry in entries]})


def render_one(entry: Mapping[str, object]) -> bytes:
    """``GET /v1/models/{id}``."""
    return orjson.dumps(_model(entry))


def _model(entry: Mapping[str, object]) -> dict[str, object]:
    """``entry``: ``id``, ``created`` (unix seconds), ``owned_by``, and any of ``_NAMES``.

    Members of other names go out as they are, so a listing can show more without a change here.
    """
    model: dict[str, object] = {
        "id": entry["id"],
        "object": "model",
        "created": entry.get("created") or 0,
        "owned_by": entry.get("owned_by") or "amazon-bedrock",
    }
    for member, value in entry.items():
        if member not in _SHAPE and value is not None:
            for name in _NAMES.get(member, (member,)):
                model[name] = _plain(value)
    architecture = {
        name: model[name] for name in ("input_modalities", "output_modalities") if name in model
    }
    if architecture:
        model["architecture"] = architecture
    parameters = [p for member, names in _PARAMETERS if entry.get(member) for p in names]
    if parameters:
        model["supported_parameters"] = parameters
    return model


def _plain(value: object) -> object:
    """Sets and tuples as lists, in a stable order; read-only mappings as plain ones."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value
