"""Every pair of ``tests/requests``: a chat request and the Converse call it becomes.

A case is ``<name>.openai.json`` beside ``<name>.converse.json``; the folder's README tells their
shape. ``--regold`` writes the second from the code, for a person to read before it is committed.
Every expected body is also judged by botocore's own validator.
"""

import json
from pathlib import Path
from typing import Any

import botocore.session
import orjson
import pytest
from botocore.validate import ParamValidator

from proxy.catalog.families import traits_for
from proxy.catalog.model import Model
from proxy.dialect import Options
from proxy.errors import ProxyError
from proxy.openai.chat.plan import Plan
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.to_converse import translate

FOLDER = Path(__file__).parents[2] / "requests"
CASES = sorted(path.name.removesuffix(".openai.json") for path in FOLDER.glob("*.openai.json"))
ASKED = {"about", "origin", "model", "options", "headers", "request", "raw"}


@pytest.fixture(scope="module")
def converse_stream() -> Any:
    """botocore's input shape of ConverseStream."""
    client = botocore.session.Session().get_service_model("bedrock-runtime")
    return client.operation_model("ConverseStream").input_shape


def run(case: dict[str, Any]) -> dict[str, Any]:
    """What the code makes of a case, in the shape of an expected file."""
    foundation = case["model"]
    raw = case["raw"].encode() if "raw" in case else orjson.dumps(case["request"])
    try:
        request = parse_request(raw, case.get("headers", {}))
        model = Model(
            name=request.model,
            id=foundation,
            foundation=foundation,
            label=foundation,
            traits=traits_for(foundation),
        )
        translation = translate(request, model, Options(**case.get("options", {})))
    except ProxyError as error:
        told = {"status": error.status, "code": error.code, "param": error.param}
        return {"error": {**told, "message": error.message}}
    result: dict[str, Any] = {
        "operation": translation.operation,
        "body": translation.body,
        "notes": list(translation.notes),
        "plan": changed(translation.plan),
    }
    if translation.choices != 1:
        result["choices"] = translation.choices
    if translation.again is not None:
        result["again"] = {
            key: value
            for key, value in translation.again.items()
            if value != translation.body.get(key)
        }
    return json.loads(json.dumps(result, default=plain))


def changed(plan: Plan) -> dict[str, Any]:
    """The members that differ from a plain request's."""
    blank = Plan()
    members = ((name, getattr(plan, name)) for name in Plan.__slots__)
    return {name: value for name, value in members if value != getattr(blank, name)}


def plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    return dict(value)


@pytest.mark.parametrize("name", CASES)
def test_request_becomes(name: str, converse_stream: Any, pytestconfig: pytest.Config) -> None:
    case = json.loads((FOLDER / f"{name}.openai.json").read_text())
    assert set(case) <= ASKED
    assert case["about"]
    assert case["origin"] in ("made", "recorded")
    expected = FOLDER / f"{name}.converse.json"
    actual = run(case)
    if pytestconfig.getoption("--regold"):
        expected.write_text(json.dumps(actual, indent=1, ensure_ascii=False) + "\n")
    assert actual == json.loads(expected.read_text())
    if "body" in actual:
        problems = ParamValidator().validate(
            {"modelId": case["model"], **actual["body"]}, converse_stream
        )
        assert not problems.has_errors(), problems.generate_report()


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 120


def test_no_expectation_without_its_request() -> None:
    answers = {path.name.removesuffix(".converse.json") for path in FOLDER.glob("*.converse.json")}
    assert answers == set(CASES)
