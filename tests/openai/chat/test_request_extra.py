"""A literal ``extra_body``: what is read in its place, what goes on to the model, what is a 400."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from proxy.errors import ProxyError
from proxy.openai.chat import request as request_module
from proxy.openai.chat.request import parse_request
from proxy.openai.chat.request_extra import KNOWN

HI = [{"role": "user", "content": "Hi"}]


def parsed(**body: Any) -> Any:
    return parse_request(orjson.dumps({"model": "m", "messages": HI, **body}), {})


def fields(**body: Any) -> Any:
    return parsed(**body).native.get("additionalModelRequestFields")


def test_the_old_gateway_s_documented_form() -> None:
    """Interleaved thinking, as its usage guide shows it."""
    extra = {
        "anthropic_beta": ["interleaved-thinking-2025-05-14"],
        "thinking": {"type": "enabled", "budget_tokens": 4096},
    }
    request = parsed(max_tokens=2048, extra_body=extra)
    assert request.reasoning.budget == 4096
    assert request.native["additionalModelRequestFields"] == {
        "anthropic_beta": ["interleaved-thinking-2025-05-14"]
    }


def test_what_no_reader_knows_is_meant_for_the_model() -> None:
    assert fields(extra_body={"inferenceConfig": {"topK": 20}, "top_k": 5}) == {
        "inferenceConfig": {"topK": 20}
    }
    assert parsed(extra_body={"top_k": 5}).top_k == 5


def test_at_the_top_only_the_beta_is() -> None:
    assert fields(anthropic_beta=["a"]) == {"anthropic_beta": ["a"]}
    assert fields(anthropic_beta=["a"], extra_body={"anthropic_beta": ["b"]}) == {
        "anthropic_beta": ["a"]
    }
    assert fields(some_sdk_noise=1) is None
    assert fields(anthropic_beta=None) is None


@pytest.mark.parametrize(
    "name", ["additionalModelRequestFields", "additional_model_request_fields"]
)
@pytest.mark.parametrize("within", [True, False])
def test_it_is_merged_under_what_was_said_by_name(name: str, within: bool) -> None:
    said = {name: {"k": 1}}
    body = {"extra_body": {"j": 2, "k": 0, **(said if within else {})}}
    assert fields(**body, **({} if within else said)) == {"j": 2, "k": 1}


def test_the_top_wins_over_it() -> None:
    assert parsed(temperature=0.5, extra_body={"temperature": 1}).temperature == 0.5


@pytest.mark.parametrize("extra", [None, [], "x", 7])
def test_anything_but_an_object_is_ignored(extra: Any) -> None:
    assert fields(extra_body=extra) is None


def test_free_json_that_could_not_be_written_again_is_a_400() -> None:
    deep: Any = 1
    for _ in range(240):
        deep = [deep]
    with pytest.raises(ProxyError) as caught:
        parsed(extra_body={"x": deep})
    assert caught.value.param == "extra_body"


@pytest.mark.parametrize(
    ("places", "wish"),
    [
        ({"system": True}, ("5m", True)),
        ({"messages": True, "system": False}, ("5m", True)),
        ({"system": False}, (None, False)),
        ({}, (None, None)),
    ],
)
@pytest.mark.parametrize("literal", [True, False])
def test_prompt_caching(places: dict[str, bool], wish: tuple[Any, Any], literal: bool) -> None:
    said = {"prompt_caching": places}
    request = parsed(**({"extra_body": said} if literal else said))
    assert (request.cache_ttl, request.auto_cache) == wish
    assert "additionalModelRequestFields" not in request.native


def test_prompt_caching_of_a_wrong_type_is_named() -> None:
    with pytest.raises(ProxyError) as caught:
        parsed(prompt_caching={"system": "yes"})
    assert caught.value.param == "prompt_caching.system"


class Watched(dict[str, Any]):
    """An object that notes which of its members were looked for."""

    def __init__(self, seen: set[str], values: dict[str, Any]) -> None:
        super().__init__(values)
        self.seen = seen

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.seen.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()


def test_every_member_that_is_read_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new reader whose field is forgotten here would send that field to the model as well."""
    seen: set[str] = set()
    everything = {
        "model": "m", "messages": HI, "guardrailConfig": None, "serviceTier": {"type": "flex"},
        "reasoning_effort": "low", "functions": [{"name": "f"}],
    }  # fmt: skip
    monkeypatch.setattr(request_module, "unfold", lambda fields: Watched(seen, everything))
    parse_request(b"{}", {})
    assert len(seen) > 40
    assert seen - KNOWN == set()
