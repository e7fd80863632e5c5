"""InvokeModel for the embedding models: Titan, Cohere, Nova 2 and Marengo, in their native JSON.

Vectors are deterministic and say something: a text's vector is the normalised sum of its words'
vectors, so that texts which share words are near each other. Request rules and answer shapes are
the vendors' (recorded for Titan v1 and v2, Cohere v3 and v4, Nova 2; Marengo's as AWS documents
them, its sentence on texts that are too long is made up). Raises `Refusal`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any

from proxy.simulator.call import estimate_tokens
from proxy.simulator.estate import Foundation
from proxy.simulator.refusals import invalid

Vector = list[float]
Embedded = tuple[dict[str, Any], int]

_MOST_TEXTS = 96
_MOST_WORDS = 64
_COHERE_KINDS = frozenset(
    {"search_document", "search_query", "classification", "clustering", "image"}
)
_COHERE_KEYS = frozenset(
    {"texts", "input_type", "truncate", "embedding_types", "output_dimension", "inputs", "images"}
    | {"max_tokens"}
)
_NOVA_PURPOSES = frozenset(
    {"GENERIC_INDEX", "GENERIC_RETRIEVAL", "TEXT_RETRIEVAL", "IMAGE_RETRIEVAL", "CLASSIFICATION"}
    | {"VIDEO_RETRIEVAL", "DOCUMENT_RETRIEVAL", "AUDIO_RETRIEVAL", "CLUSTERING"}
)


def embed(model: Foundation, body: dict[str, Any]) -> Embedded:
    """The native answer and the input tokens it cost."""
    for prefix, answer in _BY_PREFIX:
        if model.id.startswith(prefix):
            return answer(model, body)
    raise invalid("The simulator speaks InvokeModel for embedding models only.")


def vector_of(text: str, dimensions: int) -> Vector:
    """A unit vector of the text's words."""
    words = re.findall(r"\w+", text.lower())[:_MOST_WORDS] or [text]
    columns = zip(*(_word_vector(word, dimensions) for word in words), strict=True)
    summed = [sum(column) for column in columns]
    length = math.sqrt(sum(x * x for x in summed)) or 1.0
    return [x / length for x in summed]


@lru_cache(maxsize=2048)
def _word_vector(word: str, dimensions: int) -> tuple[float, ...]:
    chance = Random(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]))
    return tuple(chance.random() - 0.5 for _ in range(dimensions))


def _malformed(what: str) -> Exception:
    return invalid(f"Malformed input request: {what}, please reformat your input and try again.")


def _titan(model: Foundation, body: dict[str, Any]) -> Embedded:
    text = body.get("inputText")
    if not isinstance(text, str) and "embed-image" not in model.id:
        raise _malformed("#: required key [inputText] not found")
    if text == "":
        raise _malformed("expected minLength: 1, actual: 0")
    tokens = estimate_tokens(text or "")
    if tokens > model.context:
        raise invalid(
            f"400 Bad Request: Too many input tokens. Max input tokens: {model.context}, request "
            f"input token count: {tokens} "
        )
    dimensions, allowed = _titan_dimensions(model, body)
    unknown = sorted(set(body) - allowed)
    if unknown:
        raise _malformed(f"#: extraneous key [{unknown[0]}] is not permitted")
    vector = vector_of(text or "image", dimensions)
    answer: dict[str, Any] = {"embedding": vector, "inputTextTokenCount": tokens}
    if "text-v2" in model.id:
        answer["embeddingsByType"] = _by_type(vector, body.get("embeddingTypes") or ["float"])
    return answer, tokens


def _titan_dimensions(model: Foundation, body: dict[str, Any]) -> tuple[int, set[str]]:
    if "text-v2" in model.id:
        dimensions = body.get("dimensions", 1024)
        if dimensions not in (256, 512, 1024):
            raise _malformed(f"#/dimensions: {dimensions} is not a valid enum value")
        return dimensions, {"inputText", "dimensions", "normalize", "embeddingTypes"}
    if "embed-image" in model.id:
        config = body.get("embeddingConfig") or {}
        return config.get("outputEmbeddingLength", 1024), {
            "inputText",
            "inputImage",
            "embeddingConfig",
        }
    return 1536, {"inputText"}


def _cohere(model: Foundation, body: dict[str, Any]) -> Embedded:
    texts = body.get("texts")
    unknown = sorted(set(body) - _COHERE_KEYS)
    if unknown:
        raise _malformed(f"#: extraneous key [{unknown[0]}] is not permitted")
    if body.get("input_type") not in _COHERE_KINDS:
        raise _malformed("#: required key [input_type] not found")
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise _malformed("#: required key [texts] not found")
    if len(texts) > _MOST_TEXTS:
        raise _malformed(f"#/texts: expected maximum item count: 96, found: {len(texts)}")
    tokens = sum(map(estimate_tokens, texts))
    fourth = "v4" in model.id
    dimensions = body.get("output_dimension", 1536) if fourth else 1024
    if dimensions not in (256, 512, 1024, 1536):
        raise _malformed(f"#/output_dimension: {dimensions} is not a valid enum value")
    vectors = [vector_of(text, dimensions) for text in texts]
    types = body.get("embedding_types") or (["float"] if fourth else None)
    embeddings: Any = vectors
    if types:
        embeddings = {name: [_as(name, v) for v in vectors] for name in types}
    answer = {
        "embeddings": embeddings,
        "id": hashlib.sha256("".join(texts).encode()).hexdigest()[:32],
        "response_type": "embeddings_by_type" if types else "embeddings_floats",
        "texts": texts,
    }
    return answer, tokens


def _nova(model: Foundation, body: dict[str, Any]) -> Embedded:
    params = body.get("singleEmbeddingParams")
    if body.get("taskType") != "SINGLE_EMBEDDING" or not isinstance(params, dict):
        raise _malformed("#: required key [singleEmbeddingParams] not found")
    if params.get("embeddingPurpose") not in _NOVA_PURPOSES:
        raise _malformed("#/singleEmbeddingParams/embeddingPurpose: is not a valid enum value")
    dimensions = params.get("embeddingDimension", 3072)
    if dimensions not in (256, 384, 1024, 3072):
        raise _malformed("#/singleEmbeddingParams/embeddingDimension: is not a valid enum value")
    text = params.get("text")
    if not isinstance(text, dict) or not text.get("value"):
        raise _malformed("#/singleEmbeddingParams: required key [text] not found")
    if text.get("truncationMode") not in ("NONE", "START", "END"):
        raise _malformed("#/singleEmbeddingParams/text: required key [truncationMode] not found")
    vector = vector_of(text["value"], dimensions)
    answer = {"embeddings": [{"embedding": vector, "embeddingType": "TEXT"}]}
    return answer, estimate_tokens(text["value"])


def _marengo(model: Foundation, body: dict[str, Any]) -> Embedded:
    """Of Marengo's media only text. The third version has it one level down, and never cuts it."""
    third = "embed-3" in model.id
    allowed = {"inputType", "text"} if third else {"inputType", "inputText", "textTruncate"}
    unknown = sorted(set(body) - allowed)
    if unknown:
        raise _malformed(f"#: extraneous key [{unknown[0]}] is not permitted")
    if body.get("inputType") != "text":
        raise _malformed("#/inputType: is not a valid enum value")
    truncate = "none" if third else body.get("textTruncate", "end")
    if truncate not in ("none", "end"):
        raise _malformed("#/textTruncate: is not a valid enum value")
    told = body.get("text") if third else body
    text = told.get("inputText") if isinstance(told, dict) else None
    if not isinstance(text, str) or not text:
        raise _malformed("#: required key [inputText] not found")
    tokens = estimate_tokens(text)
    if tokens > model.context and truncate == "none":
        raise invalid(f"The text has {tokens} tokens, more than the maximum of {model.context}.")
    vector = vector_of(text, 512 if third else 1024)
    return {"data": [{"embedding": vector}]}, min(tokens, model.context)


def _by_type(vector: Vector, types: list[str]) -> dict[str, Any]:
    return {name: _as(name, vector) for name in types}


def _as(kind: str, vector: Vector) -> list[Any]:
    """A vector in one of the number formats that Titan and Cohere offer."""
    if kind == "float":
        return list(vector)
    if kind in ("int8", "uint8"):
        shift = 128 if kind == "uint8" else 0
        return [max(-128, min(127, round(x * 127))) + shift for x in vector]
    bits = [int(x > 0) for x in vector]
    packed = [int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, len(bits), 8)]
    return [b - 128 for b in packed] if kind == "binary" else packed


_BY_PREFIX: tuple[tuple[str, Callable[[Foundation, dict[str, Any]], Embedded]], ...] = (
    ("amazon.titan-embed", _titan),
    ("cohere.embed", _cohere),
    ("amazon.nova-2-multimodal-embeddings", _nova),
    ("twelvelabs.marengo-embed", _marengo),
)
