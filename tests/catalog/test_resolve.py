"""A client's model name to what is called: names, ARNs, routes, profiles, policy, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.entries import Learned, Listing, ManualModel, Options
from proxy.catalog.families import describe
from proxy.catalog.listing import build
from proxy.catalog.names import parse_arn, strip_route
from proxy.catalog.resolve import Catalog
from proxy.errors import ProxyError

REGION = "us-east-1"
ACCOUNT = f"arn:aws:bedrock:{REGION}:123456789012"
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
OPUS_5 = "anthropic.claude-opus-5"


def summary(model_id: str, access: str = "ON_DEMAND") -> dict[str, object]:
    return {
        "modelId": model_id, "providerName": "P", "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT"], "responseStreamingSupported": True,
        "inferenceTypesSupported": [access], "modelLifecycle": {"status": "ACTIVE"},
    }  # fmt: skip


def profile(geography: str, foundation: str, region: str = REGION) -> dict[str, object]:
    arn = f"arn:aws:bedrock:{region}::foundation-model/{foundation}"
    return {
        "inferenceProfileId": f"{geography}.{foundation}", "status": "ACTIVE",
        "models": [{"modelArn": arn}],
    }  # fmt: skip


def catalog(region: str = REGION, geographies: tuple[str, ...] = ("us",), **options) -> Catalog:
    listing = Listing(
        region,
        geographies,
        foundation_models=(summary(NOVA), summary(SONNET, "INFERENCE_PROFILE")),
        system_profiles=(
            *(profile(g, SONNET) for g in ("global", "eu", "jp", "apac", "us")),
            profile("us", NOVA),
        ),
    )
    options.setdefault("regions", (region, "eu-west-1"))
    return build([listing], Options(**options))


def undiscovered(**options) -> Catalog:
    return build([Listing(REGION, ("us",))], Options(regions=(REGION,), **options))


# ---- names as they are --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (NOVA, NOVA),
        (f"us.{NOVA}", f"us.{NOVA}"),
        (f"global.{SONNET}", f"global.{SONNET}"),
        (f"{NOVA}:300k", f"{NOVA}:300k"),
        (f"{ACCOUNT}:inference-profile/us.{SONNET}", f"{ACCOUNT}:inference-profile/us.{SONNET}"),
        (f"arn:aws:bedrock:{REGION}::foundation-model/{NOVA}",) * 2,
        (f"{ACCOUNT}:provisioned-model/abcabcabcabc",) * 2,
        (f"{ACCOUNT}:prompt/ABCDEFGHIJ:1",) * 2,
        (f"{ACCOUNT}:default-prompt-router/anthropic.claude:1",) * 2,
        (f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{NOVA}",) * 2,
        (f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/mine",) * 2,
        ("brand.new-model-v9:0", "brand.new-model-v9:0"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_sent_as_it_is(name, call) -> None:
    found = catalog().resolve(name)
    assert (found.name, found.id) == (name, call)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (f"bedrock/{NOVA}", NOVA),
        (f"amazon-bedrock/us.{SONNET}", f"us.{SONNET}"),
        (f"converse/{NOVA}", NOVA),
        (f"bedrock/converse/{NOVA}", NOVA),
        (f"bedrock_converse/{SONNET}", f"us.{SONNET}"),
        (f"bedrock/{REGION}/{NOVA}", NOVA),
        (f"bedrock/{ACCOUNT}:provisioned-model/abc", f"{ACCOUNT}:provisioned-model/abc"),
        ("bedrock/brand.new-v1:0", "brand.new-v1:0"),
    ],
)
def test_route_words_of_other_gateways(name, call) -> None:
    found = catalog().resolve(name)
    assert (found.name, found.id) == (name, call)


def test_a_routes_region_is_served_or_refused() -> None:
    assert catalog().resolve(f"bedrock/eu-west-1/{NOVA}").region == "eu-west-1"
    assert catalog().resolve(f"bedrock/{REGION}/{NOVA}").region is None
    with pytest.raises(ProxyError, match="does not serve the region ap-south-1"):
        catalog().resolve(f"bedrock/ap-south-1/{NOVA}")


def test_an_arns_region_counts_only_if_served() -> None:
    made = catalog()
    for region, expected in ((REGION, None), ("eu-west-1", "eu-west-1"), ("ap-south-1", None)):
        arn = f"arn:aws:bedrock:{region}:123456789012:provisioned-model/abc"
        assert made.resolve(arn).region == expected


@pytest.mark.parametrize(
    "name",
    [
        "x/../../guardrails", "..", ".", "a/./b", "/abs", "a//b", "a/", "x%2f..", "a b", "a\tb",
        "a\nb",
        "a\r\nHost: x", "a\x00b", "a?b", "a#b", "a\\b", "modèle", "\u202eabc", "-a", "x" * 2049,
        "arn:aws:s3:::bucket", "arn:aws:iam::123456789012:role/x", f"{ACCOUNT}:guardrail/abc",
        f"{ACCOUNT}:agent/abc", f"{ACCOUNT}:provisioned-model/../../x",
        f"{ACCOUNT}:provisioned-model/",
        "arn:aws:sagemaker:us-east-1:123456789012:training-job/x", "arn:aws:bedrock:us-east-1",
        f"arn:evil:bedrock:{REGION}::foundation-model/x", "bedrock/arn:aws:s3:::bucket",
        f"{ACCOUNT}:inference-profile/a b",
    ],
)  # fmt: skip
def test_what_cannot_be_a_models_name(name) -> None:
    for made in (catalog(), undiscovered(default_model=NOVA)):
        with pytest.raises(ProxyError) as caught:
            made.resolve(name)
        error = caught.value
        assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
        assert error.message.isprintable()
        assert len(error.message) < 600
        assert made.find(name) is None
        assert made.needs_lookup(name) is None


@given(st.text(max_size=60))
def test_any_text_resolves_or_is_refused(name) -> None:
    try:
        found = catalog().resolve(name)
    except ProxyError as error:
        refusal: ProxyError | None = error
    else:
        refusal = None
        assert found.id.isascii()
        assert not set(found.id) & set(" ?#%\\\r\n")
        known = describe(found.foundation).context_window is not None
        assert found.label in catalog().entries or (found.label == "other") is not known
    assert refusal is None or refusal.status in (400, 404)


# ---- aliases and the default --------------------------------------------------------------------


def test_alias() -> None:
    made = catalog(aliases={"fast": NOVA, "my best one": SONNET})
    assert (made.resolve("fast").name, made.resolve("fast").id) == ("fast", NOVA)
    assert made.resolve("my best one").id == f"us.{SONNET}"
    assert made.resolve("bedrock/fast").id == NOVA
    assert made.resolve("fast").details["id"] == "fast"


@pytest.mark.parametrize(
    ("name", "call"),
    [("", NOVA), ("gpt-4o", NOVA), ("gpt-oss", NOVA), ("o1", "o1"), (SONNET, f"us.{SONNET}")],
)
def test_default_model_serves_absent_and_gpt_names_only(name, call) -> None:
    found = catalog(default_model="best", aliases={"best": NOVA}).resolve(name)
    assert found.id == call
    assert found.name == (name or "best")


def test_default_model_yields_to_an_alias() -> None:
    made = catalog(default_model=NOVA, aliases={"gpt-4o": SONNET})
    assert made.resolve("gpt-4o").id == f"us.{SONNET}"


def test_absent_model_without_a_default() -> None:
    with pytest.raises(ProxyError) as caught:
        catalog().resolve("")
    assert (caught.value.status, caught.value.param) == (400, "model")


# ---- profiles and residency ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("geographies", "policy", "call"),
    [
        (("us",), None, f"us.{SONNET}"),
        (("jp", "apac"), None, f"jp.{SONNET}"),
        (("in", "apac"), None, f"apac.{SONNET}"),
        (("ca",), None, f"global.{SONNET}"),
        (("us",), ("eu",), f"eu.{SONNET}"),
        (("us",), ("global", "us"), f"global.{SONNET}"),
        (("us",), ("au", "us"), f"us.{SONNET}"),
        (("us",), ("au",), SONNET),
        (("us",), (), SONNET),
    ],
)
def test_bare_id_of_a_profile_only_model(geographies, policy, call) -> None:
    listing = Listing(
        REGION, geographies,
        foundation_models=(summary(SONNET, "INFERENCE_PROFILE"),),
        system_profiles=tuple(profile(g, SONNET) for g in ("global", "eu", "jp", "apac", "us")),
    )  # fmt: skip
    model = build([listing], Options(geographies=policy)).resolve(SONNET)
    assert (model.id, model.label, model.foundation) == (call, call, SONNET)
    assert model.details["profile"] == (call if call != SONNET else None)


def test_foundation_arn_of_a_profile_only_model() -> None:
    arn = f"arn:aws:bedrock:{REGION}::foundation-model/{SONNET}"
    assert catalog().resolve(arn).id == f"us.{SONNET}"


def test_own_region_comes_before_better_geographies_elsewhere() -> None:
    only = summary(SONNET, "INFERENCE_PROFILE")
    listings = [
        Listing(REGION, ("us",), (only,), (profile("global", SONNET),)),
        Listing("eu-west-1", ("eu",), (only,), (profile("eu", SONNET),)),
    ]
    made = build(listings, Options(regions=(REGION, "eu-west-1")))
    found = made.resolve(SONNET)
    assert (found.id, found.region) == (f"global.{SONNET}", None)
    west = Listing("us-west-2", ("us",), (only,), (profile("us", SONNET),))
    made = build([listings[0], west], Options(regions=(REGION, "us-west-2")))
    found = made.resolve(SONNET)
    assert (found.id, found.region) == (f"global.{SONNET}", None)
    made = build(listings, Options(regions=(REGION, "eu-west-1"), geographies=("eu",)))
    found = made.resolve(SONNET)
    assert (found.id, found.region) == (f"eu.{SONNET}", "eu-west-1")


@pytest.mark.parametrize(
    "name",
    [
        f"us.{SONNET}", f"global.{SONNET}", f"jp.{OPUS_5}", f"uk.{OPUS_5}", f"bedrock/us.{SONNET}",
        f"{ACCOUNT}:inference-profile/us.{SONNET}", "aliased",
        f"{ACCOUNT}:application-inference-profile/anywhere",
    ],
)  # fmt: skip
def test_residency_policy_binds_explicit_profiles_too(name) -> None:
    made = catalog().options
    policy = Options(regions=made.regions, geographies=("eu",), aliases={"aliased": f"us.{SONNET}"})
    listing = Listing(REGION, ("us",), (summary(SONNET, "INFERENCE_PROFILE"),),
                      (profile("us", SONNET), profile("eu", SONNET)))  # fmt: skip
    arn = f"{ACCOUNT}:application-inference-profile/anywhere"
    bound = build([listing], policy, {arn: Learned(SONNET, geography="global")})
    with pytest.raises(ProxyError) as caught:
        bound.resolve(name)
    error = caught.value
    assert (error.status, error.code, error.param) == (403, "model_not_allowed", "model")
    assert bound.resolve(f"eu.{SONNET}").id == f"eu.{SONNET}"
    assert [row["id"] for row in bound.list()] == [f"eu.{SONNET}"]


def test_without_discovery_a_profile_is_guessed_from_our_table() -> None:
    made = undiscovered()
    assert made.resolve(SONNET).id == f"us.{SONNET}"
    assert made.resolve(SONNET).label == f"us.{SONNET}"
    assert made.resolve(OPUS_5).traits.family == "claude"
    assert made.resolve(NOVA).id == NOVA  # takes on-demand calls
    assert made.resolve("amazon.nova-2-lite-v1:0:256k").id == "amazon.nova-2-lite-v1:0:256k"
    assert undiscovered(geographies=("eu",)).resolve(SONNET).id == f"eu.{SONNET}"
    assert undiscovered(geographies=()).resolve(SONNET).id == SONNET
    # Of what the policy allows, what this region can call comes first.
    assert undiscovered(geographies=("eu", "global")).resolve(SONNET).id == f"global.{SONNET}"


def test_profile_listing_denied() -> None:
    """The model is known to want a profile; which there are is taken from our table."""
    listing = Listing(REGION, ("us",), (summary(SONNET, "INFERENCE_PROFILE"),))
    assert build([listing], Options()).resolve(SONNET).id == f"us.{SONNET}"


def test_model_listing_denied() -> None:
    listing = Listing(REGION, ("us",), (), (profile("us", SONNET),))
    assert build([listing], Options()).resolve(SONNET).id == f"us.{SONNET}"


def test_a_managed_prompt_has_its_own_settings() -> None:
    prompt = f"{ACCOUNT}:prompt/ABCDEFGHIJ:2"
    made = catalog(aliases={"greeting": prompt})
    for name in (prompt, "greeting", f"bedrock/{prompt}"):
        found = made.resolve(name)
        assert found.id == prompt
        told = found.traits
        assert (told.system, told.tools, told.length) == (False, False, False)
    assert made.resolve(f"{ACCOUNT}:default-prompt-router/anthropic.claude:1").traits.system


# ---- a region that was asked for ----------------------------------------------------------------


def two_regions(*listed: str, **options) -> Catalog:
    """Served are us-east-1 and eu-west-1; ``listed`` are those whose listings could be had."""
    listings = []
    for region, geography in (("us-east-1", "us"), ("eu-west-1", "eu")):
        had = region in listed
        only = (summary(SONNET, "INFERENCE_PROFILE"),) if had else ()
        profiles = (profile(geography, SONNET, region), profile("global", SONNET, region))
        listings.append(Listing(region, (geography,), only, profiles if had else ()))
    return build(listings, Options(regions=("us-east-1", "eu-west-1"), **options))


@pytest.mark.parametrize("listed", [(), ("us-east-1",), ("eu-west-1",), ("us-east-1", "eu-west-1")])
@pytest.mark.parametrize(
    "name",
    [
        f"bedrock/eu-west-1/{SONNET}", f"eu-west-1/{SONNET}", "western", "bedrock/western",
        f"eu.{SONNET}",
        f"bedrock/eu-west-1/eu.{SONNET}",
    ],
)  # fmt: skip
def test_a_profile_is_one_of_the_region_asked_for(name, listed) -> None:
    """``us.…`` is no name that eu-west-1 knows, though it is what us-east-1 would choose."""
    made = two_regions(*listed, aliases={"western": f"bedrock/eu-west-1/{SONNET}"})
    found = made.resolve(name)
    assert (found.id, found.region, found.name) == (f"eu.{SONNET}", "eu-west-1", name)
    assert made.resolve(SONNET).region == (None if listed != ("eu-west-1",) else "eu-west-1")


def test_a_foundation_arns_region_is_kept() -> None:
    arn = f"arn:aws:bedrock:eu-west-1::foundation-model/{SONNET}"
    for listed in (("eu-west-1",), ("us-east-1",), ("us-east-1", "eu-west-1")):
        found = two_regions(*listed).resolve(arn)
        assert (found.id, found.region) == (f"eu.{SONNET}", "eu-west-1")
    found = two_regions().resolve(arn)  # nothing tells that it must be a profile
    assert (found.id, found.region) == (arn, "eu-west-1")


def test_a_manual_models_region_is_kept() -> None:
    manual = ManualModel(SONNET, region="eu-west-1")
    for listed in ((), ("us-east-1", "eu-west-1")):
        found = two_regions(*listed, manual=(manual,)).resolve(SONNET)
        assert (found.id, found.region) == (f"eu.{SONNET}", "eu-west-1")


def test_an_unlisted_profile_of_our_own_geography_stays_at_home() -> None:
    for geography in ("us", "global", "jp"):  # of the last, none of ours is a source
        assert two_regions().resolve(f"{geography}.{OPUS_5}").region is None


@given(
    st.lists(st.sampled_from(["bedrock", "converse", "aws", REGION]), max_size=4),
    st.sampled_from(
        [NOVA, f"us.{NOVA}", SONNET, f"eu.{SONNET}", "fast", "far", "brand.new-v1:0",
         f"{ACCOUNT}:application-inference-profile/zzz"]
    ),
)  # fmt: skip
def test_routes_change_nothing_but_the_name(words, name) -> None:
    routes = {"fast": f"bedrock/us.{NOVA}", "far": f"converse/eu-west-1/{SONNET}"}
    made = catalog(aliases=routes)
    plain, routed = made.resolve(name), made.resolve("/".join([*dict.fromkeys(words), name]))
    assert (routed.id, routed.region, routed.label) == (plain.id, plain.region, plain.label)
    assert routed.traits == plain.traits


# ---- what nobody knows --------------------------------------------------------------------------


def test_labels_are_bounded() -> None:
    made = catalog()
    assert made.resolve("brand.new-model").label == "other"
    assert made.resolve(OPUS_5).label == OPUS_5  # not listed, but in our table
    assert made.resolve(f"{ACCOUNT}:provisioned-model/abc").label == "other"
    learned = made.learn(f"{ACCOUNT}:provisioned-model/abc", Learned(NOVA))
    assert learned.resolve(f"{ACCOUNT}:provisioned-model/abc").label == NOVA
    assert made.find("brand.new-model") is None


def test_needs_lookup() -> None:
    arn = f"{ACCOUNT}:application-inference-profile/zzz"
    made = catalog(aliases={"app": arn})
    assert made.needs_lookup(arn) == arn
    assert made.needs_lookup("app") == arn
    assert made.needs_lookup(f"bedrock/{arn}") == arn
    for other in (
        NOVA, "x", f"{ACCOUNT}:inference-profile/us.{SONNET}",
        "arn:aws:bedrock:ap-south-1:123456789012:application-inference-profile/zzz",
        f"{ACCOUNT}:prompt/ABCDEFGHIJ",
    ):  # fmt: skip
        assert made.needs_lookup(other) is None
    told = made.learn(arn, Learned(SONNET))
    assert told.needs_lookup(arn) is None
    assert told.resolve("app").traits.family == "claude"
    assert made.needs_lookup(arn) == arn  # the old one is as it was


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("claude-sonnet-4-5", f"us.{SONNET}"),
        ("Claude-Sonnet-4.5", f"us.{SONNET}"),
        ("bedrock/anthropic.claude-sonet-4-5", f"us.{SONNET}"),
        ("nova-pro", NOVA),
        ("zzzzzzzz", None),
        ("", None),
    ],
)
def test_nearest(name, first) -> None:
    made = build(
        [Listing(REGION, ("us",), (summary(NOVA), summary(SONNET, "INFERENCE_PROFILE")),
                 (profile("global", SONNET), profile("us", SONNET)))],
        Options(),
    )  # fmt: skip
    assert next(iter(made.nearest(name)), None) == first
    assert len(made.nearest(name)) <= 3
    if first:
        assert first in made.not_found(name).message


def test_parse_arn() -> None:
    arn = parse_arn(f"arn:aws:bedrock:::foundation-model/{NOVA}")
    assert arn is not None
    assert (arn.region, arn.kind, arn.rest) == ("", "foundation-model", NOVA)
    assert strip_route("bedrock") == ("bedrock", None)


# -- fail-over regions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("amazon.nova-lite-v1:0", {"us-west-2": "amazon.nova-lite-v1:0",
                                   "eu-west-1": "amazon.nova-lite-v1:0"}),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0",
         {"us-west-2": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
          "eu-west-1": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"}),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0",
         {"us-west-2": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
          "eu-west-1": "global.anthropic.claude-sonnet-4-5-20250929-v1:0"}),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x", {}),
    ],
)  # fmt: skip
def test_what_a_model_is_called_in_failover_regions(asked: str, expected: dict[str, str]) -> None:
    options = Options(regions=("us-east-1",), failover=("us-west-2", "eu-west-1"))
    regions = {"us-east-1": ("us",), "us-west-2": ("us",), "eu-west-1": ("eu",)}
    catalog = build([Listing(region, geos) for region, geos in regions.items()], options)
    assert dict(catalog.resolve(asked).elsewhere) == expected


def test_failover_takes_a_twin_that_was_listed_though_our_table_lacks_it() -> None:
    new = "acme.brand-new-v1:0"
    options = Options(regions=("us-east-1",), failover=("eu-west-1", "ap-northeast-1"))
    listings = [
        Listing("us-east-1", ("us",), (), (profile("us", new),)),
        Listing("eu-west-1", ("eu",), (), (profile("eu", new, "eu-west-1"),)),
        Listing("ap-northeast-1", ("jp", "apac")),
    ]
    found = build(listings, options).resolve(f"us.{new}")
    assert dict(found.elsewhere) == {"eu-west-1": f"eu.{new}"}


def test_the_policy_limits_failover_to_what_a_region_serves() -> None:
    options = Options(regions=("us-east-1",), failover=("eu-west-1",), geographies=("us",))
    catalog = build([Listing("us-east-1", ("us",)), Listing("eu-west-1", ("eu",))], options)
    model = catalog.resolve("us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert dict(model.elsewhere) == {}


def test_nearest_keeps_the_geography_that_was_asked_for() -> None:
    base = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    summaries = [
        {"inferenceProfileId": f"{geo}.{base}", "status": "ACTIVE",
         "models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{base}"}]}
        for geo in ("us", "global")
    ]  # fmt: skip
    catalog = build([Listing("us-east-1", ("us",), system_profiles=tuple(summaries))], Options())
    for geo in ("us", "global"):
        asked = f"{geo}.anthropic.claude-sonnet-4-5-20250929-v9:0"
        assert catalog.nearest(asked)[0] == f"{geo}.{base}"
