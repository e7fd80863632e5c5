"""Embeddings as a ``Dialect``: over InvokeModel, and never as a stream.

Source: OpenAI API reference, *Create embeddings*.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NoReturn

from proxy.catalog.model import Model
from proxy.dialect import Dialect
from proxy.openai.embeddings.from_invoke import EmbeddingsCollector, render
from proxy.openai.embeddings.request import EmbeddingsRequest, parse_request
from proxy.openai.embeddings.to_invoke import translate, weigh
from proxy.openai.errors import error_body, error_event


def _lacking(request: EmbeddingsRequest, model: Model) -> Sequence[str]:
    return ()


def _restored(
    request: EmbeddingsRequest, model: Model, found: Mapping[str, bytes]
) -> EmbeddingsRequest:
    return request


def _no_stream(*_: object) -> NoReturn:
    raise TypeError("embeddings do not stream")


def embeddings(default_model: str | None = None) -> Dialect:
    """The dialect; ``default_model`` serves requests that name none."""
    return Dialect(
        name="embeddings",
        parse=partial(parse_request, default_model=default_model),
        lacking=_lacking,
        restored=_restored,
        translate=translate,
        encoder=_no_stream,
        end=_no_stream,
        collector=EmbeddingsCollector,
        render=render,
        error_body=error_body,
        error_event=error_event,
        weigh=weigh,
    )
