"""Arguments of earlier calls, however a model left them, become an object; none becomes a 500."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProxyError
from proxy.openai.chat.notes import Notes
from proxy.openai.chat.tool_arguments import arguments_to_input

PATH = "messages[1].tool_calls[0].function.arguments"
NOTED = ("tool_calls.arguments:emulated",)


def read(arguments: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    notes = Notes()
    return arguments_to_input(arguments, PATH, notes), notes.tokens()


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ("", {}),
        (" \n", {}),
        (None, {}),
        ("null", {}),
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"text": "caf\u00e9 \\u2028 \\n"}', {"text": "caf\u00e9 \u2028 \n"}),
    ],
)
def test_good_arguments(arguments: Any, made: dict[str, Any]) -> None:
    assert read(arguments) == (made, ())


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ("[1]", {"input": [1]}),
        ('"x"', {"input": "x"}),
        ("5", {"input": 5}),
        ("false", {"input": False}),
        ([1], {"input": [1]}),
        ('{"a": 1} and so on', {"a": 1}),
        ('{"a": 1}{"b": 2}', {"a": 1}),
        ('{}{"a": 1}', {"a": 1}),
        ("{}{}", {}),
        ("{} trailing", {}),
        ('{"city": "Par', {"city": "Par"}),
        ('{"city": "Par\\', {"city": "Par"}),
        ('{"city": "Par\\\\', {"city": "Par\\"}),
        ('{"city": "Par\\u', {"city": "Par"}),
        ('{"city": "Par\\u00e', {"city": "Par"}),
        ('{"city": "Par\\u00e9', {"city": "Par\u00e9"}),
        ('{"city": "Par\\\\u00e', {"city": "Par\\u00e"}),
        ('{"city": "a {b] \\" c", "n": [1', {"city": 'a {b] " c', "n": [1]}),
        ('{"a": [1, 2', {"a": [1, 2]}),
        ('{"a": [1, ', {"a": [1]}),
        ('{"a": {"b": "c"', {"a": {"b": "c"}}),
        ('{"a": ', {"a": None}),
        ('{"a"', {"a": None}),
        ('{"a": 1,', {"a": 1}),
        ("{", {}),
        ("not json", {"_raw": "not json"}),
        ("[1, 2", {"_raw": "[1, 2"}),
        ('{"a": NaN}', {"_raw": '{"a": NaN}'}),
        ("{'a': 1}", {"_raw": "{'a': 1}"}),
        ('{"a": "\\ud800"}', {"_raw": '{"a": "\\ud800"}'}),
        ('{"a": "\\ud800"} x', {"_raw": '{"a": "\\ud800"} x'}),
    ],
)
def test_broken_arguments_are_repaired_or_wrapped(arguments: Any, made: dict[str, Any]) -> None:
    assert read(arguments) == (made, NOTED)
    with pytest.raises(ProxyError) as caught:
        arguments_to_input(arguments, PATH, Notes(strict=True))
    assert caught.value.param == PATH


@pytest.mark.parametrize(
    "deep",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a":' * 900 + "1",
        '{"a":' * 300 + "1" + "}" * 300,
        '{"a":' * 300 + "1" + "}" * 300 + "x",
        '{"a":' * 300 + "1",
    ],
)
def test_deep_arguments_are_no_crash(deep: str) -> None:
    made, noted = read(deep)
    assert noted == NOTED
    assert orjson.dumps({"messages": [{"content": [{"toolUse": {"input": made}}]}]})


@pytest.mark.parametrize(
    "large", ['{"a": "' + "x" * 5_000_000, "{}" * 2_000_000, '{"a": "' + "\\" * 5_000_001]
)
def test_large_broken_arguments_take_no_time(large: str) -> None:
    began = time.thread_time()
    read(large)
    assert time.thread_time() - began < 1.5


def test_a_deep_object_is_refused() -> None:
    with pytest.raises(ProxyError) as caught:
        read(orjson.loads('{"a":' * 300 + "1" + "}" * 300))
    assert (caught.value.status, caught.value.param) == (400, PATH)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4), st.data())
def test_an_object_cut_anywhere_gives_an_object(value: dict[str, Any], data: st.DataObject) -> None:
    text = orjson.dumps(value).decode()
    cut = data.draw(st.integers(0, len(text)))
    made, _ = read(text[:cut])
    assert isinstance(made, dict)
    assert orjson.loads(orjson.dumps(made)) == made
    assert cut < len(text) or made == value
    assert "_raw" not in made or "_raw" in value or "\\" in text or ":" in text


@given(st.text(max_size=30) | st.text('{}[]",:\\ a1', max_size=20) | json_values)
def test_anything_at_all_gives_an_object(arguments: Any) -> None:
    made, _ = read(arguments)
    assert isinstance(made, dict)
    assert orjson.dumps(made)
