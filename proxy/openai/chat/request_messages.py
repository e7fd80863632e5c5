"""The skeleton of ``messages``: roles, ids, and the kinds of content each role may hold.

What a content part means is judged where it is translated (``parts.py``); here stands what every
later step relies on: each message is an object with a known role, tool calls have an id and a name,
tool messages name their call. Unknown keys pass. Source: OpenAI API reference, *Create chat
completion*, messages; leniencies (bare strings and objects as content) are field practice.
"""

from collections.abc import Mapping
from typing import Final

from proxy.converse.types import Json
from proxy.errors import invalid
from proxy.openai.request_checks import (
    as_object,
    bad_value,
    check_depth,
    join,
    missing,
    read_array,
    read_object,
    read_text,
    require_text,
    wrong_type,
)

MAX_MESSAGES: Final = 10_000
MAX_PARTS: Final = 10_000
MAX_CALLS: Final = 1_000
MAX_ID: Final = 4_096
ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_PLAIN_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_PLAIN_KEYS: Final = frozenset({"role", "content"})
_NULL_CONTENT: Final = frozenset({"assistant", "tool", "function"})


def check_messages(body: Mapping[str, Json]) -> tuple[Mapping[str, Json], ...]:
    """The messages as sent. Raises ``ProxyError`` 400 naming the first fault."""
    messages = read_array(body, "messages", MAX_MESSAGES)
    if messages is None:
        raise missing("messages")
    if not messages:
        raise bad_value("messages", "at least one message is required.")
    for index, message in enumerate(messages):
        if not _is_plain(message):
            _check_message(message, f"messages[{index}]")
    return tuple(messages)


def _is_plain(message: Json) -> bool:
    """Whether it is a role and a text and nothing else, as most are: then nothing can be wrong."""
    return (
        isinstance(message, dict)
        and message.keys() == _PLAIN_KEYS
        and isinstance(message["content"], str)
        and isinstance(message["role"], str)
        and message["role"] in _PLAIN_ROLES
    )


def _check_message(message: Json, at: str) -> None:
    message = as_object(message, at)
    role = require_text(message, "role", at)
    if role not in ROLES:
        words = ", ".join(sorted(ROLES))
        raise bad_value(f"{at}.role", f"supported values are: {words}.")
    check_content(message, role, at)
    if role == "tool":
        require_text(message, "tool_call_id", at, MAX_ID)
    elif role == "function":
        require_text(message, "name", at)
    elif role == "assistant":
        _check_assistant(message, at)
    else:
        read_text(message, "name", at)


def check_content(message: Mapping[str, Json], role: str, at: str) -> None:
    """The kind of ``content`` at ``at``; what a part means is judged where it is translated."""
    content = message.get("content")
    if content is None:
        if role not in _NULL_CONTENT:
            raise missing(f"{at}.content")
    elif isinstance(content, list):
        if len(content) > MAX_PARTS:
            raise bad_value(f"{at}.content", f"at most {MAX_PARTS} parts may be sent.")
        for index, part in enumerate(content):
            if not isinstance(part, dict | str):
                raise wrong_type(f"{at}.content[{index}]", "an object", part)
    elif not isinstance(content, str | dict):
        raise wrong_type(f"{at}.content", "a string or an array of parts", content)


def _check_assistant(message: Mapping[str, Json], at: str) -> None:
    read_text(message, "refusal", at)
    audio = read_object(message, "audio", at)
    if audio is not None:
        read_text(audio, "transcript", join(at, "audio"))
    for index, call in enumerate(read_array(message, "tool_calls", MAX_CALLS, at) or ()):
        _check_call(call, f"{at}.tool_calls[{index}]")
    legacy = read_object(message, "function_call", at)
    if legacy is not None:
        require_text(legacy, "name", f"{at}.function_call")
        _check_arguments(legacy, f"{at}.function_call")


def _check_call(call: Json, at: str) -> None:
    call = as_object(call, at)
    require_text(call, "id", at, MAX_ID)
    kind = read_text(call, "type", at) or ("custom" if "custom" in call else "function")
    if kind not in ("function", "custom"):
        raise bad_value(f"{at}.type", "supported values are: custom, function.")
    inner = read_object(call, kind, at)
    if inner is None:
        raise missing(f"{at}.{kind}")
    require_text(inner, "name", f"{at}.{kind}")
    if kind == "custom":
        read_text(inner, "input", f"{at}.custom")
    else:
        _check_arguments(inner, f"{at}.function")


def _check_arguments(inner: Mapping[str, Json], at: str) -> None:
    arguments = inner.get("arguments")
    if isinstance(arguments, dict):  # a string's depth is judged where it is read
        check_depth(arguments, f"{at}.arguments")
    if arguments is not None and not isinstance(arguments, str | dict):
        raise invalid(
            f"Invalid type for '{at}.arguments': expected a string of JSON.",
            f"{at}.arguments",
            "invalid_type",
        )
