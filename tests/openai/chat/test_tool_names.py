"""Names and ids: legal at Bedrock, restored for the client, and the same on every call."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.families import traits_for
from proxy.catalog.model import Traits
from proxy.openai.chat.tool_names import ToolNames, client_id, safe_id

NOVA = traits_for("amazon.nova-lite-v1:0")
MISTRAL = traits_for("mistral.mistral-large-2407-v1:0")
KIMI = traits_for("moonshot.kimi-k2-thinking")
FAMILIES = [Traits(), NOVA, MISTRAL, KIMI]

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MARKED_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

names = st.one_of(
    st.text(max_size=80),
    st.text("abAB-_./: ", min_size=1, max_size=6),  # many near misses
    st.sampled_from(["a.b", "a_b", "a-b", "a b", "get-weather", "get_weather", "x" * 65, "天気"]),
)


@given(st.lists(names, max_size=12), st.sampled_from(FAMILIES))
def test_names_are_legal_distinct_and_undone(client_names: list[str], traits: Traits) -> None:
    tools = ToolNames(client_names, traits)
    safe = {name: tools.to_bedrock(name) for name in client_names}
    assert all(NAME.fullmatch(one) for one in safe.values())
    assert traits.tool_hyphens or not any("-" in one for one in safe.values())
    assert len(set(safe.values())) == len(safe)
    assert {tools.to_client.get(one, one): one for one in safe.values()} == safe
    assert all(bedrock != client for bedrock, client in tools.to_client.items())


@given(st.lists(names, max_size=8), names)
def test_the_order_of_tools_changes_no_name_that_stands_alone(known: list[str], one: str) -> None:
    alone = ToolNames([one], Traits()).to_bedrock(one)
    assert ToolNames([*known, one], Traits()).to_bedrock(one) == alone
    assert ToolNames([one, *known], Traits()).to_bedrock(one) == alone
    assert ToolNames(known, Traits()).to_bedrock(one) == alone  # seen only in a history


@given(st.lists(names, max_size=8), names)
def test_a_fresh_name_stands_for_no_tool(known: list[str], wanted: str) -> None:
    tools = ToolNames(known, NOVA)
    fresh = tools.fresh(wanted)
    assert NAME.fullmatch(fresh)
    assert fresh not in {tools.to_bedrock(name) for name in known}
    assert fresh not in tools.to_client


@pytest.mark.parametrize(
    ("name", "traits", "safe"),
    [
        ("get_weather", Traits(), "get_weather"),
        ("get-weather", Traits(), "get-weather"),
        ("get-weather", NOVA, "get_weather"),
        ("9lives", Traits(), "9lives"),
        ("a" * 64, Traits(), "a" * 64),
    ],
)
def test_names_that_need_no_hash(name: str, traits: Traits, safe: str) -> None:
    assert ToolNames([name], traits).to_bedrock(name) == safe


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("github.search/code", r"github_search_code_[0-9a-f]{8}"),
        ("a" * 65, r"a{55}_[0-9a-f]{8}"),
        ("天気", r"tool_[0-9a-f]{8}"),
        ("", r"tool_[0-9a-f]{8}"),
        ("$ref", r"ref_[0-9a-f]{8}"),
    ],
)
def test_a_changed_name_carries_a_hash(name: str, shape: str) -> None:
    assert re.fullmatch(shape, ToolNames([name], Traits()).to_bedrock(name))


def test_a_hyphen_gives_way_only_where_the_plain_name_is_free() -> None:
    tools = ToolNames(["get-weather", "get_weather"], NOVA)
    assert tools.to_bedrock("get_weather") == "get_weather"
    assert re.fullmatch(r"get_weather_[0-9a-f]{8}", tools.to_bedrock("get-weather"))


def test_a_tool_that_took_the_hash_keeps_it() -> None:
    """Even a tool named like another's safe name stays itself."""
    thief = ToolNames(["a.b"], Traits()).to_bedrock("a.b")
    tools = ToolNames(["a.b", thief], Traits())
    assert tools.to_bedrock(thief) == thief
    assert tools.to_bedrock("a.b") not in (thief, "a.b")
    assert tools.to_client == {tools.to_bedrock("a.b"): "a.b"}


ids = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"\A(call_|toolu_|tooluse_|functions\.)[A-Za-z0-9_:|-]{0,70}\Z"),
)


@given(ids, st.sampled_from(FAMILIES))
def test_ids_are_legal_and_need_no_second_change(one: str, traits: Traits) -> None:
    safe = safe_id(one, traits)
    legal = MARKED_ID if traits.id_marks else ID
    assert legal.fullmatch(safe)
    assert safe_id(safe, traits) == safe
    if traits.nine_char_ids:
        assert len(safe) == 9 or safe.startswith("tooluse_")
    elif legal.fullmatch(one):
        assert safe == one


@given(st.lists(ids, min_size=2, max_size=8, unique=True), st.sampled_from(FAMILIES))
def test_different_ids_stay_different(several: list[str], traits: Traits) -> None:
    assert len({safe_id(one, traits) for one in several}) == len(several)


@given(st.from_regex(r"\A[a-zA-Z0-9_.:-]{1,64}\Z"), st.sampled_from(FAMILIES))
def test_an_id_fits_its_clients_and_comes_back_as_it_went(one: str, traits: Traits) -> None:
    shown = client_id(one)
    assert len(shown) <= 40
    assert shown == one or re.fullmatch(r"call_[0-9a-f]{32}", shown)
    assert client_id(shown) == shown
    assert safe_id(shown, KIMI) == shown


def test_kimis_ids_are_mended_for_others() -> None:
    """Anthropic: "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"."""
    assert safe_id("functions.get_weather:0", KIMI) == "functions.get_weather:0"
    for traits in (Traits(), NOVA):
        mended = safe_id("functions.get_weather:0", traits)
        assert re.fullmatch(r"functions_get_weather_0_[0-9a-f]{16}", mended)


def test_bedrocks_own_ids_stay_where_nine_characters_are_wanted() -> None:
    own = "tooluse_AbCdEfGhIjKlMnOpQrStUv"
    assert safe_id(own, MISTRAL) == own
    assert safe_id("abcDEF123", MISTRAL) == "abcDEF123"
    assert re.fullmatch(r"[a-z0-9]{9}", safe_id("call_1", MISTRAL))


def test_ids_hold_their_hash_across_releases() -> None:
    """Histories outlive a deployment: a changed hash would orphan every result in them."""
    assert client_id("functions." + "x" * 40 + ":0") == "call_834bce3c2757cfc697f411f7ff99ca94"
    assert safe_id("a|b", Traits()) == "a_b_0eab8a0a3380abf4"
    assert safe_id("call_1", MISTRAL) == "vx9b58h2f"
    assert ToolNames(["a.b"], Traits()).to_bedrock("a.b") == "a_b_2e7336dc"
