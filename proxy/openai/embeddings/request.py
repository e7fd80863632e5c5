"""The embeddings request body: its shape, its checks, its named faults.

As the official SDKs send it, and the two members that retrieval needs and OpenAI does not have:
``input_type`` (Cohere's words, and those of NVIDIA's and Jina's APIs) and ``truncate`` (Cohere's).
Explicit ``null`` is unset, unknown fields are ignored. Token ids cannot be mapped, since no model
of Bedrock shares OpenAI's vocabulary: they are refused, with what to switch off.
Source: OpenAI API reference, *Create embeddings*.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final, Literal

from proxy.converse.types import Json
from proxy.errors import ProxyError
from proxy.openai.request_checks import (
    MAX_NAME,
    bad_value,
    load_object,
    missing,
    read_choice,
    read_integer,
    read_model,
    read_text,
    wrong_type,
)

MAX_INPUTS: Final = 2_048
MAX_DIMENSIONS: Final = 65_536
_MAX_MODEL: Final = 2_048

Purpose = Literal["document", "query", "classification", "clustering"]
Truncate = Literal["none", "start", "end"]

_PURPOSES: Final[Mapping[str, Purpose]] = MappingProxyType(
    {
        "search_document": "document",
        "search_query": "query",
        "document": "document",
        "passage": "document",
        "query": "query",
        "retrieval.passage": "document",
        "retrieval.query": "query",
        "classification": "classification",
        "clustering": "clustering",
    }
)
_TRUNCATES: Final[Mapping[str, Truncate]] = MappingProxyType(
    {"none": "none", "start": "start", "left": "start", "end": "end", "right": "end"}
)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """A checked request. ``None`` means "not sent"."""

    model: str
    texts: tuple[str, ...]
    paths: tuple[str, ...]
    """Where each text stood: ``input`` or ``input[3]``."""
    dimensions: int | None = None
    base64: bool = False
    purpose: Purpose = "document"
    truncate: Truncate = "none"
    user: bool = False
    """Whether a ``user`` was named."""
    stream: ClassVar[bool] = False


def parse_request(
    body: bytes, headers: Mapping[str, str], default_model: str | None = None
) -> EmbeddingsRequest:
    """A body as a checked request; ``default_model`` stands in where it names none. Raises
    ``ProxyError`` 400 that names the fault."""
    fields = load_object(body)
    extra = fields.get("extra_body")
    fields = {**extra, **fields} if isinstance(extra, dict) else fields
    encoding = read_choice(fields, "encoding_format", ("float", "base64"))
    model = read_model(fields, _MAX_MODEL) or default_model
    if not model:
        raise missing("model")
    texts, paths = _texts(fields.get("input"))
    return EmbeddingsRequest(
        model=model,
        texts=texts,
        paths=paths,
        dimensions=read_integer(fields, "dimensions", 1, MAX_DIMENSIONS),
        base64=encoding == "base64",
        purpose=_PURPOSES[_word(fields, "input_type", "task", _PURPOSES) or "document"],
        truncate=_TRUNCATES[_word(fields, "truncate", "", _TRUNCATES) or "none"],
        user=bool(read_text(fields, "user", limit=MAX_NAME)),
    )


def _texts(value: Json) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if value is None:
        raise missing("input")
    if isinstance(value, str):
        return (_text(value, "input"),), ("input",)
    if not isinstance(value, list):
        raise wrong_type("input", "a string or an array of strings", value)
    if not value:
        raise bad_value("input", "it must not be empty.")
    if len(value) > MAX_INPUTS:
        raise bad_value(
            "input", f"it holds {len(value)} entries, at most {MAX_INPUTS} may be sent."
        )
    paths = tuple(f"input[{index}]" for index in range(len(value)))
    return tuple(map(_text, value, paths)), paths


def _text(value: Json, path: str) -> str:
    if isinstance(value, int | list) and not isinstance(value, bool):
        raise _token_ids(path)
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    if not value or value.isspace():
        raise bad_value(path, "it must not be blank.")
    return value


def _token_ids(path: str) -> ProxyError:
    return bad_value(
        path,
        "token ids of OpenAI's vocabulary are not supported by Bedrock's models; send text. "
        "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False).)",
    )


def _word(
    fields: Mapping[str, Json], name: str, other: str, known: Mapping[str, object]
) -> str | None:
    """One of ``known``, in any case, under either name."""
    path = other if fields.get(name) is None and other else name
    value = read_text(fields, path)
    if value is None:
        return None
    if value.lower() not in known:
        raise bad_value(path, f"supported values are: {', '.join(known)}.")
    return value.lower()
