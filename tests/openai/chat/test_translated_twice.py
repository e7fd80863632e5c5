"""Translating leaves the request as it was: a repair translates the same one again."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Options
from proxy.errors import ProxyError
from proxy.openai.chat.recollection import lacking, restored
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

FOLDER = Path(__file__).parents[2] / "requests"
CASES = sorted(path.name.removesuffix(".openai.json") for path in FOLDER.glob("*.openai.json"))

LLAMA = "meta.llama3-3-70b-instruct-v1:0"
OTHER = Model(LLAMA, LLAMA, LLAMA, LLAMA, traits_for(LLAMA))


def read(name: str) -> tuple[Any, Any]:
    asked = json.loads((FOLDER / f"{name}.openai.json").read_text(encoding="utf-8"))
    told = json.loads((FOLDER / f"{name}.converse.json").read_text(encoding="utf-8"))
    return asked, told


@pytest.mark.parametrize("name", [name for name in CASES if "error" not in read(name)[1]])
def test_the_second_time_is_the_first(name: str) -> None:
    case, _ = read(name)
    raw = case["raw"].encode() if "raw" in case else orjson.dumps(case["request"])
    request = parse_request(raw, case.get("headers", {}))
    foundation = case["model"]
    model = Model(foundation, foundation, foundation, foundation, traits_for(foundation))
    options = Options(**case.get("options", {}))
    request = restored(request, model, dict.fromkeys(lacking(request, model), b"nothing"))
    first = orjson.dumps(translate(request, model, options).body)
    with suppress(ProxyError):  # with other facts between, as when a repair is tried
        translate(request, OTHER, Options(auto_cache=True))
    assert orjson.dumps(translate(request, model, options).body) == first
