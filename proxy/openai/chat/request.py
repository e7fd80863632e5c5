"""The chat request body: its shape, its checks, its named faults.

``parse_request`` is the border: what passes is trusted inside. Explicit ``null`` is unset, unknown
fields are ignored (SDK and framework noise), wrong types are 400s whose ``param`` is a path such as
``messages[2].content[0].type``. Of a key sent twice the last one counts (orjson's rule, the same at
every level). Source: OpenAI API reference, *Create chat completion*; the extensions are those of
Bedrock gateways and of Bedrock's own OpenAI-shaped endpoint.

The pieces: ``request_shape`` (the value), ``request_messages``, ``request_blocks`` (Anthropic's
tool blocks), ``request_tools``, ``request_wishes`` (reasoning, caching) and ``request_native``
(Bedrock's own members and headers); the typed reads are ``openai/request_checks``, which all
dialects share.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from proxy.converse.types import Json
from proxy.errors import unsupported
from proxy.openai.chat.request_blocks import with_tool_blocks
from proxy.openai.chat.request_extra import unfold
from proxy.openai.chat.request_messages import check_messages
from proxy.openai.chat.request_native import read_guard_tag, read_native
from proxy.openai.chat.request_shape import (
    ChatRequest,
    ReasoningAsk,
    ResponseFormat,
    ToolChoice,
    Tools,
    ToolSpec,
)
from proxy.openai.chat.request_tools import (
    check_choice,
    read_choice_of_tool,
    read_response_format,
    read_tools,
)
from proxy.openai.chat.request_wishes import read_cache_wish, read_reasoning
from proxy.openai.request_checks import (
    MAX_NAME,
    bad_value,
    load_object,
    read_array,
    read_boolean,
    read_choice,
    read_integer,
    read_model,
    read_number,
    read_object,
    read_text,
    wrong_type,
)

__all__ = [
    "ChatRequest",
    "ReasoningAsk",
    "ResponseFormat",
    "ToolChoice",
    "ToolSpec",
    "Tools",
    "parse_request",
]

ToolReader = Callable[[Mapping[str, Json]], tuple[ToolSpec, ...]]
"""Of a body's tools, checked, or a 400."""

MAX_MODEL: Final = 2_048
MAX_STOP: Final = 2_500
MAX_CHOICES: Final = 128
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "reserved"})
_SELDOM: Final = frozenset(
    {
        "frequency_penalty", "metadata", "n", "parallel_tool_calls", "presence_penalty",
        "safety_identifier", "service_tier", "top_k", "user", "web_search_options",
    }
)  # fmt: skip
"""What ``_seldom`` reads."""
_STRICT_HEADER: Final = "x-bedrock-proxy-strict"


def parse_request(
    body: bytes, headers: Mapping[str, str], tools_of: ToolReader = read_tools
) -> ChatRequest:
    """A body and its (lower-case) headers as a checked request; its tools as ``tools_of`` reads
    them.

    Raises ``ProxyError`` 400 for bytes that are no JSON object (also invalid UTF-8, NaN, lone
    surrogates, nesting beyond a thousand levels) and for each fault of a field, naming it.
    """
    fields = unfold(load_object(body))
    tools = tools_of(fields)
    legacy = fields.get("tools") is None and fields.get("functions") is not None
    choice = read_choice_of_tool(fields)
    check_choice(choice, fields, bool(tools))
    cache_ttl, auto_cache = read_cache_wish(fields)
    _refuse_unanswerable(fields)
    return ChatRequest(
        model=read_model(fields, MAX_MODEL),
        messages=with_tool_blocks(check_messages(fields)),
        stream=bool(read_boolean(fields, "stream")),
        include_usage=_include_usage(fields),
        **_max_tokens(fields),
        temperature=read_number(fields, "temperature", 0, 2),
        top_p=read_number(fields, "top_p", 0, 1),
        stop=_stop(fields),
        tools=tools,
        legacy_functions=legacy,
        tool_choice=choice,
        response_format=read_response_format(fields),
        reasoning=read_reasoning(fields),
        cache_ttl=cache_ttl,
        auto_cache=auto_cache,
        unsupported=_unsupported(fields),
        native=read_native(fields, headers),
        guard_tag=read_guard_tag(fields),
        strict=_strict(headers),
        **({} if _SELDOM.isdisjoint(fields) else _seldom(fields)),
    )


def _seldom(fields: Mapping[str, Json]) -> dict[str, Any]:
    """What few requests hold; the members are those of ``ChatRequest``."""
    return {
        "top_k": _top_k(fields),
        "n": read_integer(fields, "n", 1, MAX_CHOICES) or 1,
        "parallel_tool_calls": read_boolean(fields, "parallel_tool_calls"),
        "frequency_penalty": read_number(fields, "frequency_penalty", -2, 2),
        "presence_penalty": read_number(fields, "presence_penalty", -2, 2),
        "service_tier": read_choice(fields, "service_tier", _TIERS),
        "metadata": read_object(fields, "metadata") or {},
        **_user(fields),
        "web_search": read_object(fields, "web_search_options") is not None,
    }


def _refuse_unanswerable(fields: Mapping[str, Json]) -> None:
    """Asks whose loss would change the answer's shape."""
    if read_boolean(fields, "logprobs"):
        raise unsupported("Bedrock's Converse API returns no log probabilities.", "logprobs")
    if read_object(fields, "audio") is not None:
        raise unsupported("Audio output is not available over Converse.", "audio")
    for index, mode in enumerate(read_array(fields, "modalities", 16) or ()):
        if not isinstance(mode, str):
            raise wrong_type(f"modalities[{index}]", "a string", mode)
        if mode != "text":
            raise unsupported("Only text output is available over Converse.", "modalities")


def _include_usage(fields: Mapping[str, Json]) -> bool:
    """``stream_options`` ask for it, or OpenRouter's ``usage: {include: true}``."""
    options = read_object(fields, "stream_options") or {}
    usage = fields.get("usage")
    wider = isinstance(usage, dict) and usage.get("include") is True
    asked = read_boolean(options, "include_usage", "stream_options")
    return wider if asked is None else asked


def _max_tokens(fields: Mapping[str, Json]) -> dict[str, Any]:
    older = read_integer(fields, "max_tokens", 1)
    newer = read_integer(fields, "max_completion_tokens", 1)
    if newer is None:
        return {} if older is None else {"max_tokens": older}
    outdone = older if older != newer else None
    return {
        "max_tokens": newer,
        "max_tokens_field": "max_completion_tokens",
        "outdone_max_tokens": outdone,
    }


def _top_k(fields: Mapping[str, Json]) -> int | None:
    """0 and -1 are other servers' words for "off"."""
    value = read_integer(fields, "top_k", -1)
    return value if value is not None and value > 0 else None


def _stop(fields: Mapping[str, Json]) -> tuple[str, ...]:
    value = fields.get("stop")
    if isinstance(value, str):
        return (value,)
    if value is not None and not isinstance(value, list):
        raise wrong_type("stop", "a string or an array of strings", value)
    entries = read_array(fields, "stop", MAX_STOP) or ()
    for index, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise wrong_type(f"stop[{index}]", "a string", entry)
    return tuple(entries)


def _user(fields: Mapping[str, Json]) -> dict[str, Any]:
    ids = {name: read_text(fields, name, limit=MAX_NAME) for name in ("safety_identifier", "user")}
    sent = {name: value for name, value in ids.items() if value}
    return {"user": next(iter(sent.values()), None), "user_fields": tuple(sent)}


def _unsupported(fields: Mapping[str, Json]) -> tuple[str, ...]:
    """Known fields that ask for something and are not applied, in a fixed order."""
    names = [name for name, asks in _UNAPPLIED.items() if name in fields and asks(fields)]
    if (options := read_object(fields, "web_search_options")) is not None:
        names += _search_directions(options, "web_search_options")
    return tuple(names)


def _search_directions(options: Mapping[str, Json], at: str) -> Iterator[str]:
    """Bedrock's web search can be asked for, but told neither how much nor where to look."""
    size = read_choice(options, "search_context_size", ("low", "medium", "high"), at)
    if size not in (None, "medium"):
        yield f"{at}.search_context_size"
    if read_object(options, "user_location", at) is not None:
        yield f"{at}.user_location"


_UNAPPLIED: Final[Mapping[str, Callable[[Mapping[str, Json]], bool]]] = MappingProxyType(
    {
        "seed": lambda sent: read_integer(sent, "seed", -(2**63), 2**63 - 1) is not None,
        "logit_bias": lambda sent: bool(read_object(sent, "logit_bias")),
        "top_logprobs": lambda sent: bool(read_integer(sent, "top_logprobs", 0, 20)),
        "verbosity": lambda sent: (
            read_choice(sent, "verbosity", ("low", "medium", "high")) not in (None, "medium")
        ),
        "prediction": lambda sent: read_object(sent, "prediction") is not None,
        "moderation": lambda sent: read_object(sent, "moderation") is not None,
        "min_p": lambda sent: bool(read_number(sent, "min_p", 0, 1)),
        "repetition_penalty": lambda sent: (
            read_number(sent, "repetition_penalty", 0, 100) not in (None, 1)
        ),
        "store": lambda sent: bool(read_boolean(sent, "store")),
        "prompt_cache_key": lambda sent: bool(read_text(sent, "prompt_cache_key", limit=MAX_NAME)),
    }
)
"""What each asks for; a wrong type is a 400 here, too."""


def _strict(headers: Mapping[str, str]) -> bool | None:
    match headers.get(_STRICT_HEADER, "").strip().lower():
        case "":
            return None
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise bad_value(_STRICT_HEADER, "supported values are: true, false.")
