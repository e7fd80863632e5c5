"""The legacy completions body: its shape, its checks, and the chat requests that it stands for.

A prompt becomes one user turn; all else that chat knows too (sampling, stop, Bedrock's own members)
is left to chat to read. What Converse cannot do (a suffix, log probabilities, the best of several)
is refused, for its loss would change the answer. Source: OpenAI API reference, *Completions*.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.converse.types import Json
from proxy.errors import invalid, unsupported
from proxy.openai.request_checks import (
    bad_value,
    load_object,
    missing,
    read_boolean,
    read_integer,
    read_model,
    wrong_type,
)

DEFAULT_MAX_TOKENS: Final = 16
"""OpenAI's own, for a request that names none."""
MAX_PROMPTS: Final = 128
MAX_CHOICES: Final = 128
_MAX_MODEL: Final = 2_048
_OWN: Final = frozenset({"prompt", "suffix", "echo", "best_of", "logprobs", "n", "max_tokens"})
_CHAT_ONLY: Final = (
    "messages", "tools", "tool_choice", "functions", "function_call", "response_format",
    "modalities", "audio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CompletionsRequest:
    """A checked request. ``chats`` are the chat requests of ``prompts``, as chat has read them."""

    model: str
    prompts: tuple[str, ...]
    chats: tuple[Any, ...] = ()
    n: int = 1
    echo: bool = False
    stream: bool = False
    default_length: bool = False
    """No length was sent, under either of its names."""


def read_request(body: bytes) -> tuple[CompletionsRequest, dict[str, Json]]:
    """A body as a checked request, without its chats, and the members that chat is to read.

    Raises ``ProxyError`` 400 that names the fault.
    """
    fields = load_object(body)
    extra = fields.get("extra_body")
    fields = {**extra, **fields} if isinstance(extra, dict) else fields
    for name in _CHAT_ONLY:
        if fields.get(name) not in (None, []):
            raise unsupported("not available in legacy completions; use chat completions.", name)
    n = read_integer(fields, "n", 1, MAX_CHOICES) or 1
    _refuse_unanswerable(fields, n)
    length = read_integer(fields, "max_tokens", 1)
    request = CompletionsRequest(
        model=read_model(fields, _MAX_MODEL),
        prompts=_prompts(fields.get("prompt")),
        n=n,
        echo=bool(read_boolean(fields, "echo")),
        stream=bool(read_boolean(fields, "stream")),
        default_length=length is None and fields.get("max_completion_tokens") is None,
    )
    shared = {name: value for name, value in fields.items() if name not in _OWN}
    if isinstance(extra, dict):
        shared["extra_body"] = {k: v for k, v in extra.items() if k not in _OWN}
    shared["max_tokens"] = DEFAULT_MAX_TOKENS if request.default_length else length
    return request, shared


def chat_fields(shared: Mapping[str, Json], prompt: str) -> dict[str, Json]:
    """The chat body of one prompt."""
    return {**shared, "messages": [{"role": "user", "content": prompt}]}


def _refuse_unanswerable(fields: Mapping[str, Json], n: int) -> None:
    if fields.get("suffix") not in (None, ""):
        raise unsupported(
            "Converse cannot fill in the middle; put the suffix into the prompt.", "suffix"
        )
    logprobs = fields.get("logprobs")
    if logprobs is not None and logprobs is not False:
        raise unsupported("Bedrock's Converse API returns no log probabilities.", "logprobs")
    best_of = read_integer(fields, "best_of", 1, MAX_CHOICES)
    if best_of is not None and best_of < n:
        raise invalid("best_of must not be less than n.", "best_of")
    if best_of is not None and best_of > n:
        raise unsupported("The proxy cannot rank answers.", "best_of")


def _prompts(value: Json) -> tuple[str, ...]:
    if value is None:
        raise missing("prompt")
    if isinstance(value, str):
        return (_prompt(value, "prompt"),)
    if not isinstance(value, list):
        raise wrong_type("prompt", "a string or an array of strings", value)
    if not 0 < len(value) <= MAX_PROMPTS:
        raise bad_value("prompt", f"1 to {MAX_PROMPTS} prompts may be sent, not {len(value)}.")
    return _each(value)


def _each(values: Sequence[Json]) -> tuple[str, ...]:
    return tuple(_prompt(value, f"prompt[{index}]") for index, value in enumerate(values))


def _prompt(value: Json, path: str) -> str:
    if isinstance(value, int | list) and not isinstance(value, bool):
        raise bad_value(path, "token ids of OpenAI's vocabulary are not supported; send text.")
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    if not value or value.isspace():
        raise bad_value(path, "it must not be blank.")
    return value
