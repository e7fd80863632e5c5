"""A checked embeddings request and a model, as the InvokeModel bodies that mean the same.

One table says how each kind of model is asked. Some take one text a call, Cohere's take 96: the
batches become choices of one question, made side by side. What a model cannot give (dimensions, a
purpose, truncation) is refused where the vectors would be others than asked for, and noted where it
is only a hint.

Sources: Amazon Bedrock user guide, *Titan Embeddings*, *Cohere Embed v3* and *v4*, *TwelveLabs
Marengo*; Amazon Nova user guide, *Embeddings schema*; requests as recorded. Marengo's third version
is asked as other open projects ask it (not recorded).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

import orjson

from proxy.catalog.model import EmbeddingStyle, Model
from proxy.converse.types import ConverseRequest, Json
from proxy.dialect import Options, Translation, Weight
from proxy.errors import invalid, unsupported
from proxy.openai.embeddings.request import EmbeddingsRequest

Body = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the answers must know of the question: batch i begins with input ``starts[i]``."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    base64: bool
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class _Style:
    """How one kind of model is asked."""

    write: Callable[[Sequence[str], EmbeddingsRequest], Body]
    truncates: bool = False
    purposes: bool = False


def translate(request: EmbeddingsRequest, model: Model, options: Options) -> Translation:
    """One call for each batch. Raises ``ProxyError`` 400 for a model that does not embed, and for
    dimensions or a truncation that it does not offer."""
    traits = model.traits
    style = _STYLES.get(traits.embeds)
    if style is None:
        raise invalid(
            f"The model {model.name!r} is not a known embedding model. "
            "GET /v1/models?type=embedding lists them.",
            "model",
            "unsupported_model",
        )
    _check(request, model, style)
    starts = tuple(range(0, len(request.texts), traits.embed_batch))
    batches = [request.texts[at : at + traits.embed_batch] for at in starts]
    bodies = tuple(style.write(batch, request) for batch in batches)
    hint = request.purpose != "document" and not style.purposes
    ignored = (("input_type:dropped", hint), ("user:dropped", request.user))
    return Translation(
        body=cast("ConverseRequest", bodies[0]),
        operation="invoke",
        plan=Plan(starts, tuple(map(len, batches)), request.base64, request.dimensions),
        notes=tuple(note for note, true in ignored if true),
        choices=len(bodies),
        bodies=bodies,
        headers=_headers(options),
    )


def weigh(request: EmbeddingsRequest, model: Model) -> Weight:
    """Four bytes are a token, more or less; nothing is answered that is billed."""
    sizes = (len(text.encode("utf-8", "surrogatepass")) for text in request.texts)
    return Weight(sum(size // 4 + 1 for size in sizes), 0)


def _headers(options: Options) -> dict[str, str]:
    """What is the operator's own. A guardrail is not among it: Bedrock assesses no vectors. How
    the pairs are written is not documented: a JSON object (?)."""
    headers: dict[str, str] = {}
    if options.service_tier is not None:
        headers["x-amzn-bedrock-service-tier"] = options.service_tier
    if options.request_metadata:
        pairs = orjson.dumps(dict(options.request_metadata)).decode()
        headers["x-amzn-bedrock-request-metadata"] = pairs
    return headers


def _check(request: EmbeddingsRequest, model: Model, style: _Style) -> None:
    sizes = model.traits.embed_sizes
    if request.dimensions is not None and request.dimensions not in sizes:
        known = " or ".join(map(str, sorted(sizes)))
        raise invalid(
            f"Invalid value for 'dimensions': {model.name!r} returns vectors of {known}.",
            "dimensions",
        )
    if request.truncate != "none" and not style.truncates:
        raise unsupported(f"{model.name!r} cannot truncate; send shorter texts.", "truncate")


def _titan(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    return {"inputText": texts[0]}


def _titan_2(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    body: Body = {"inputText": texts[0], "normalize": True}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def _titan_image(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    body: Body = {"inputText": texts[0]}
    if request.dimensions is not None:
        body["embeddingConfig"] = {"outputEmbeddingLength": request.dimensions}
    return body


def _cohere_3(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    words = {"document": "search_document", "query": "search_query"}
    return {
        "texts": list(texts),
        "input_type": words.get(request.purpose, request.purpose),
        "truncate": request.truncate.upper(),
    }


def _cohere_4(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    sides = {"start": "LEFT", "end": "RIGHT", "none": "NONE"}
    body = _cohere_3(texts, request)
    body |= {"truncate": sides[request.truncate], "embedding_types": ["float"]}
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def _nova(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    """A document is to be found by queries, so both have a purpose of their own; texts that are
    only compared are classified or clustered."""
    params: Body = {
        "embeddingPurpose": _NOVA_PURPOSES[request.purpose],
        "text": {"truncationMode": request.truncate.upper(), "value": texts[0]},
    }
    if request.dimensions is not None:
        params["embeddingDimension"] = request.dimensions
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


def _marengo_2(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    return {"inputType": "text", "inputText": texts[0], "textTruncate": _end_only(request)}


def _marengo_3(texts: Sequence[str], request: EmbeddingsRequest) -> Body:
    return {"inputType": "text", "text": {"inputText": texts[0]}}


def _end_only(request: EmbeddingsRequest) -> str:
    if request.truncate == "start":
        raise unsupported("This model can only truncate the end.", "truncate")
    return request.truncate


_NOVA_PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "document": "GENERIC_INDEX",
        "query": "GENERIC_RETRIEVAL",
        "classification": "CLASSIFICATION",
        "clustering": "CLUSTERING",
    }
)
_STYLES: Final[Mapping[EmbeddingStyle, _Style]] = MappingProxyType(
    {
        "titan": _Style(_titan),
        "titan_2": _Style(_titan_2),
        "titan_image": _Style(_titan_image),
        "cohere_3": _Style(_cohere_3, truncates=True, purposes=True),
        "cohere_4": _Style(_cohere_4, truncates=True, purposes=True),
        "nova": _Style(_nova, truncates=True, purposes=True),
        "marengo_2": _Style(_marengo_2, truncates=True),
        "marengo_3": _Style(_marengo_3),
    }
)
