"""AWS's listings to a catalog: what is shown, what is inherited, what junk does no harm.

The listing of 126 models is recorded (us-east-1, 31 December 2025); it is read beside the project
where it is there. Everything else here is made, in the shapes of the API reference.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalog.entries import Learned, Listing, Options
from proxy.catalog.listing import build
from proxy.catalog.resolve import Catalog
from proxy.tables import ManualModel

CAPTURES = Path(__file__).parents[2] / ".." / "shared" / "captures"
RECORDED = CAPTURES / "posit-dev--chatlas" / "test-anthropic-models-1.json"
REGION = "us-east-1"
ACCOUNT = f"arn:aws:bedrock:{REGION}:123456789012"

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
PROFILE_ONLY = {"inferenceTypesSupported": ["INFERENCE_PROFILE"]}
MISTRAL = "mistral.mistral-large-3-675b-instruct"


def model(model_id: str, **more: object) -> dict[str, object]:
    return {
        "modelId": model_id,
        "modelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{model_id}",
        "modelName": model_id.title(),
        "providerName": {"anthropic": "Anthropic", "mistral": "Mistral AI"}.get(
            model_id.split(".")[0], "Amazon"
        ),
        "inputModalities": ["TEXT", "IMAGE"],
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
        **more,
    }


def profile(profile_id: str, *foundations: str, **more: object) -> dict[str, object]:
    return {
        "inferenceProfileId": profile_id,
        "inferenceProfileName": f"Name of {profile_id}",
        "inferenceProfileArn": f"{ACCOUNT}:inference-profile/{profile_id}",
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
        "models": [
            {"modelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{foundation}"}
            for foundation in foundations
        ],
        "createdAt": "2025-09-29T00:00:00Z",
        **more,
    }


def application(name: str, *foundations: str, **more: object) -> dict[str, object]:
    arn = f"{ACCOUNT}:application-inference-profile/{name}"
    return profile(name, *foundations, inferenceProfileArn=arn, type="APPLICATION", **more)


def catalog(options: Options | None = None, **lists: object) -> Catalog:
    listing = Listing(REGION, ("us",), **{key: tuple(value) for key, value in lists.items()})  # type: ignore[arg-type,call-overload]
    return build([listing], options or Options())


def shown(made: Catalog) -> list[object]:
    return [row["id"] for row in made.list()]


# ---- the recorded listing -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> tuple[dict[str, object], ...]:
    if not RECORDED.exists():
        pytest.skip("the recorded ListFoundationModels is not beside this project")
    body = json.loads(RECORDED.read_text())["response"]["body"]
    return tuple(body["modelSummaries"])


def test_recorded_listing_shows_what_can_be_called(recorded) -> None:
    made = catalog(foundation_models=recorded)
    ids = shown(made)
    assert len(made.entries) == 126
    assert len(ids) == 38
    assert {"amazon.nova-pro-v1:0", "openai.gpt-oss-120b-1:0", "qwen.qwen3-32b-v1:0"} <= set(ids)
    hidden = {
        "profile only": SONNET,
        "provisioned only": "amazon.nova-pro-v1:0:24k",
        "no inference type": "amazon.nova-premier-v1:0:8k",
        "embedding": "amazon.titan-embed-text-v2:0",
        "speech only in": "amazon.nova-sonic-v1:0",
        "no streaming": "cohere.rerank-v3-5:0",
        "not by Converse": "twelvelabs.pegasus-1-2-v1:0",
        "image": "amazon.nova-canvas-v1:0",
        "legacy": "amazon.titan-text-express-v1",
    }
    assert not set(hidden.values()) & set(ids)
    for model_id in hidden.values():
        assert made.resolve(model_id).label != "other"


def test_recorded_windows_of_models_that_no_table_knows(recorded) -> None:
    made = catalog(foundation_models=recorded)
    haiku = made.find("anthropic.claude-3-haiku-20240307-v1:0")
    assert haiku is not None
    assert (haiku["context_window"], haiku["limits_known"]) == (200_000, True)


@pytest.mark.parametrize(
    ("told", "window"),
    [("200K", 200_000), ("1M", 1_000_000), ("128000", 128_000), (" 64 k", 64_000),
     ("plenty", None), ("0", None), ("", None), (None, None), (7, None)],
)  # fmt: skip
def test_a_description_may_tell_the_window(told: object, window: int | None) -> None:
    new = model("acme.new-v1:0", description={"maxContextWindow": told})
    entry = catalog(foundation_models=(new,)).entries["acme.new-v1:0"]
    assert entry.context_window == window


def test_the_largest_variant_tells_the_window() -> None:
    ids = ("acme.new-v1", "acme.new-v1:0:8k", "acme.new-v1:0:96k", "acme.new-v1:0:mm")
    made = catalog(foundation_models=tuple(model(one) for one in ids))
    assert made.entries["acme.new-v1"].context_window == 96_000
    assert made.entries["acme.new-v1:0:8k"].context_window == 8_000


def test_recorded_limits_come_from_the_converse_object(recorded) -> None:
    made = catalog(foundation_models=recorded)
    sonnet = made.find("anthropic.claude-opus-4-1-20250805-v1:0")
    assert sonnet is not None
    assert sonnet["max_output_tokens"] == 32_000
    gemma = made.find("google.gemma-3-27b-it")
    assert gemma is not None
    assert gemma["max_output_tokens"] != 131_072  # there the number is the context window
    guard = made.find("openai.gpt-oss-safeguard-120b")
    assert guard is not None
    assert guard["max_output_tokens"] < guard["context_window"]  # the number is larger than both
    voxtral = made.find("mistral.voxtral-mini-3b-2507")
    assert voxtral is not None
    assert voxtral["input_modalities"] == ("audio", "text")


def test_recorded_legacy_models_are_shown_when_asked_for(recorded) -> None:
    plain = shown(catalog(foundation_models=recorded))
    all_of_them = shown(catalog(Options(include_legacy=True), foundation_models=recorded))
    assert set(plain) < set(all_of_them)
    assert "amazon.titan-text-express-v1" in all_of_them


# ---- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "off",
    [
        {"outputModalities": ["IMAGE"]},
        {"outputModalities": ["EMBEDDING"]},
        {"inputModalities": ["SPEECH"]},
        {"responseStreamingSupported": False},
        {"responseStreamingSupported": None},
        {"modelLifecycle": {"status": "LEGACY"}},
        {"modelLifecycle": None},
        {"inferenceTypesSupported": ["INFERENCE_PROFILE"]},
        {"inferenceTypesSupported": ["PROVISIONED"]},
        {"inferenceTypesSupported": []},
    ],
)
def test_hidden_but_callable(off) -> None:
    made = catalog(foundation_models=[model(NOVA, **off)])
    assert shown(made) == []
    assert made.resolve(NOVA).foundation == NOVA
    assert made.find(NOVA) is not None


def test_a_model_that_converse_does_not_serve_is_hidden_whole() -> None:
    """Its listing looks like any other's."""
    pegasus = "twelvelabs.pegasus-1-2-v1:0"
    made = catalog(
        foundation_models=[model(pegasus), model(NOVA)],
        system_profiles=[profile("us." + pegasus, pegasus)],
    )
    assert shown(made) == [NOVA]
    assert made.resolve(pegasus).foundation == pegasus


@pytest.mark.parametrize("off", [{"inferenceTypesSupported": None}, {"modelName": None}])
def test_what_a_listing_leaves_out_does_not_hide(off) -> None:
    assert shown(catalog(foundation_models=[model(NOVA, **off)])) == [NOVA]


def test_profiles_inherit_and_pass_the_same_filters() -> None:
    legacy = "anthropic.claude-3-7-sonnet-20250219-v1:0"
    models = [
        model(SONNET, **PROFILE_ONLY),
        model(legacy, modelLifecycle={"status": "LEGACY"}, **PROFILE_ONLY),
        model("cohere.embed-v4:0", outputModalities=["EMBEDDING"], **PROFILE_ONLY),
    ]
    profiles = [
        profile(f"us.{SONNET}", SONNET),
        profile(f"us.{legacy}", legacy),
        profile("us.cohere.embed-v4:0", "cohere.embed-v4:0"),
        profile(f"global.{SONNET}", SONNET, status="GONE"),
    ]
    made = catalog(foundation_models=models, system_profiles=profiles)
    assert shown(made) == [f"us.{SONNET}"]
    row = made.list()[0]
    assert row["name"] == f"Name of us.{SONNET}"
    assert row["profile"] == f"us.{SONNET}"
    assert (row["provider"], row["owned_by"]) == ("Anthropic", "anthropic")
    assert row["input_modalities"] == ("text", "image")
    assert row["reasoning"] is True
    assert row["created"] == 1_759_104_000


def test_profiles_without_a_model_listing_stand_on_our_table() -> None:
    """ListFoundationModels denied: embeddings must not slip into the list."""
    embedding = "cohere.embed-v4:0"
    made = catalog(
        system_profiles=[profile(f"us.{SONNET}", SONNET), profile(f"us.{embedding}", embedding)]
    )
    assert shown(made) == [f"us.{SONNET}"]
    assert made.list()[0]["context_window"] == 200_000


@pytest.mark.parametrize("word", ["mistral", "Mistral AI", "MISTRALAI", " mistral "])
def test_one_provider_word_takes_a_model_and_its_profiles(word) -> None:
    made = catalog(
        Options(provider_filter=(word,)),
        foundation_models=[model(MISTRAL), model(NOVA)],
        system_profiles=[profile(f"us.{MISTRAL}", MISTRAL), profile(f"us.{NOVA}", NOVA)],
        application_profiles=[application("app1", MISTRAL), application("app2", NOVA)],
    )
    assert shown(made) == ["app1", MISTRAL, f"us.{MISTRAL}"]
    assert made.resolve(NOVA).id == NOVA


def test_provider_filter_without_a_model_listing() -> None:
    made = catalog(
        Options(provider_filter=("anthropic",)),
        system_profiles=[profile(f"us.{SONNET}", SONNET), profile(f"us.{NOVA}", NOVA)],
    )
    assert shown(made) == [f"us.{SONNET}"]


# ---- what runs under an ARN of its own ----------------------------------------------------------


def derived() -> Catalog:
    return catalog(
        foundation_models=[model(NOVA), model(SONNET, **PROFILE_ONLY)],
        application_profiles=[application("1arbu5hu2sjr", SONNET)],
        provisioned=[
            {"provisionedModelArn": f"{ACCOUNT}:provisioned-model/abcabcabcabc",
             "provisionedModelName": "bought", "status": "InService",
             "modelArn": f"{ACCOUNT}:custom-model/x", "creationTime": "2026-01-01T00:00:00Z",
             "foundationModelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{NOVA}"},
            {"provisionedModelArn": f"{ACCOUNT}:provisioned-model/failfailfail",
             "provisionedModelName": "failed", "status": "Failed"},
        ],
        custom_models=[
            {"modelArn": f"{ACCOUNT}:custom-model/imported/aaaaaaaaaaaa",
             "baseModelArn": f"arn:aws:bedrock:{REGION}::foundation-model/{NOVA}"},
        ],
        deployments=[
            {"customModelDeploymentArn": f"{ACCOUNT}:custom-model-deployment/depdepdepdep",
             "customModelDeploymentName": "tuned", "status": "Active",
             "modelArn": f"{ACCOUNT}:custom-model/imported/aaaaaaaaaaaa"},
        ],
        imported=[
            {"modelArn": f"{ACCOUNT}:imported-model/impimpimpimp", "modelName": "own-llama",
             "instructSupported": True, "modelArchitecture": "llama"},
            {"modelArn": f"{ACCOUNT}:imported-model/basebasebase", "modelName": "own-base",
             "instructSupported": False, "modelArchitecture": "llama"},
        ],
        marketplace=[
            {"endpointArn": f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/shop",
             "status": "REGISTERED"},
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call", "foundation", "family"),
    [
        ("1arbu5hu2sjr", f"{ACCOUNT}:application-inference-profile/1arbu5hu2sjr", SONNET, "claude"),
        ("bought", f"{ACCOUNT}:provisioned-model/abcabcabcabc", NOVA, "nova"),
        ("tuned", f"{ACCOUNT}:custom-model-deployment/depdepdepdep", NOVA, "nova"),
        ("own-llama", f"{ACCOUNT}:imported-model/impimpimpimp", "", "llama"),
        ("shop", f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/shop", "", "other"),
    ],
)
def test_derived_models_by_name_and_by_arn(name, call, foundation, family) -> None:
    made = derived()
    assert name in shown(made)
    for asked in (name, call):
        found = made.resolve(asked)
        assert (found.id, found.foundation, found.traits.family) == (call, foundation, family)
        assert "123456789012" not in found.label
    row = made.find(name)
    assert row is not None
    assert "123456789012" not in json.dumps({**row, "cost": None})


def test_derived_models_that_cannot_serve_are_hidden() -> None:
    assert not {"failed", "own-base"} & set(shown(derived()))


# ---- limits, manual models, regions -------------------------------------------------------------


def test_defaults_are_for_unknown_limits_only() -> None:
    made = catalog(
        Options(default_context_window=11, default_max_tokens=7),
        foundation_models=[model("new.model-v1:0"), model(NOVA)],
    )
    unknown, known = made.find("new.model-v1:0"), made.find(NOVA)
    assert unknown is not None
    assert known is not None
    assert (unknown["context_window"], unknown["max_output_tokens"]) == (11, 7)
    assert (known["context_window"], known["max_output_tokens"]) == (300_000, 10_000)
    assert made.resolve("new.model-v1:0").traits.max_output_tokens is None


@pytest.mark.parametrize(
    ("model_id", "most", "limits"),
    [
        (NOVA, 9_000, (300_000, 9_000)),  # the output limit
        (NOVA, 300_000, (300_000, 10_000)),  # that cannot be one
        (NOVA, 0, (300_000, 10_000)),
        (NOVA, True, (300_000, 10_000)),
        ("new.model-v1:0", 77_000, (77_000, 4_096)),  # elsewhere it is the context window
        ("amazon.new-v1:0", 77_000, (32_000, 77_000)),
    ],
)
def test_the_listings_hint(model_id, most, limits) -> None:
    hint = {"maxTokensMaximum": most, "reasoningSupported": {"embedded": False}}
    row = catalog(foundation_models=[model(model_id, converse=hint)]).find(model_id)
    assert row is not None
    assert (row["context_window"], row["max_output_tokens"]) == limits
    assert row["reasoning"] is True


def test_a_context_size_variant_tells_its_window() -> None:
    made = catalog(
        foundation_models=[model(f"{NOVA}:24k", inferenceTypesSupported=["PROVISIONED"])]
    )
    assert made.resolve(f"{NOVA}:24k").traits.context_window == 24_000


@pytest.mark.parametrize(
    ("hint", "system"), [({"systemRoleSupported": False}, False), ({}, True), (None, True)]
)
def test_system_role_hint(hint, system) -> None:
    made = catalog(foundation_models=[model("new.model-v1:0", converse=hint)])
    assert made.resolve("new.model-v1:0").traits.system is system


def test_manual_models_win() -> None:
    manual = ManualModel(
        NOVA, name="My Nova", reasoning=True, input=("text",), context_window=50, max_tokens=5,
        cost={"input": 1.0, "output": 2.0},
    )  # fmt: skip
    off = {"modelLifecycle": {"status": "LEGACY"}}
    made = catalog(Options(manual=(manual,)), foundation_models=[model(NOVA, **off)])
    assert shown(made) == [NOVA]
    row = made.list()[0]
    assert (row["name"], row["reasoning"], row["input_modalities"]) == ("My Nova", True, ("text",))
    assert (row["context_window"], row["max_output_tokens"]) == (50, 5)
    assert row["cost"] == {"input": 1.0, "output": 2.0}
    traits = made.resolve(NOVA).traits
    assert (traits.context_window, traits.max_output_tokens, traits.clamp_output) == (50, 5, True)


def test_manual_models_without_discovery() -> None:
    opus = "anthropic.claude-opus-4-6-v1"
    arn = f"{ACCOUNT}:application-inference-profile/zzz"
    options = Options(
        manual=(
            ManualModel(f"us.{opus}:0", context_window=200_000, max_tokens=8_192),
            ManualModel(opus),
            ManualModel(arn, foundation=opus, name="App"),
        )
    )
    made = build([Listing(REGION, ("us",))], options)
    assert set(shown(made)) == {f"us.{opus}:0", opus, arn}
    assert made.resolve(f"us.{opus}:0").id == f"us.{opus}:0"
    assert made.resolve(opus).id == f"us.{opus}"
    assert made.resolve(arn).traits.family == "claude"
    assert made.needs_lookup(arn) is None


def test_a_model_is_called_in_the_region_it_was_found_in() -> None:
    options = Options(regions=(REGION, "eu-west-1"))
    listings = [
        Listing(REGION, ("us",), foundation_models=(model(NOVA),)),
        Listing(
            "eu-west-1",
            ("eu",),
            foundation_models=(
                model(NOVA), model(MISTRAL), model(SONNET, **PROFILE_ONLY),
            ),
            system_profiles=(profile(f"eu.{SONNET}", SONNET),),
        ),
    ]  # fmt: skip
    made = build(listings, options)
    assert made.resolve(NOVA).region is None
    assert made.resolve(MISTRAL).region == "eu-west-1"
    assert made.resolve(SONNET).id == f"eu.{SONNET}"
    assert made.resolve(SONNET).region == "eu-west-1"
    assert shown(made).count(NOVA) == 1
    row = made.find(MISTRAL)
    assert row is not None
    assert row["region"] == "eu-west-1"


def test_aliases_are_listed_with_their_models_facts() -> None:
    options = Options(aliases={"fast": NOVA, "gone": "bad name"})
    rows = catalog(options, foundation_models=[model(NOVA)]).list()
    assert [row["id"] for row in rows] == ["fast", NOVA]
    assert rows[0]["context_window"] == rows[1]["context_window"]


# ---- junk ---------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SONNET),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    "modelId", "modelArn", "modelName", "providerName", "inputModalities", "outputModalities",
    "responseStreamingSupported", "inferenceTypesSupported", "modelLifecycle", "converse",
    "inferenceProfileId", "inferenceProfileArn", "inferenceProfileName", "models", "status",
    "createdAt", "creationTime", "provisionedModelArn", "foundationModelArn", "baseModelArn",
    "customModelDeploymentArn", "modelArchitecture", "instructSupported", "endpointArn",
]  # fmt: skip
junk = st.lists(st.dictionaries(st.sampled_from(KEYS), json_values) | json_values, max_size=4)


@given(*([junk] * 8))
def test_junk_says_less_and_breaks_nothing(a, b, c, d, e, f, g, h) -> None:
    made = catalog(
        foundation_models=[*a, model(NOVA)], system_profiles=b, application_profiles=c,
        provisioned=d, custom_models=e, deployments=f, imported=g, marketplace=h,
    )  # fmt: skip
    assert NOVA in shown(made)
    assert all(
        isinstance(row["id"], str) and isinstance(row["created"], int) for row in made.list()
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-07-13T14:00:42.680622107Z", 1783951242),
        ("2026-07-13T14:00:42Z", 1783951242),
        ("2026-07-13T14:00:42", 1783951242),
        ("2026-07-13T16:00:42+02:00", 1783951242),
        ("soon", 0),
        (17, 0),
    ],
)
def test_times(text, seconds) -> None:
    made = catalog(application_profiles=[application("a", NOVA, createdAt=text)])
    row = made.find("a")
    assert row is not None
    assert row["created"] == seconds


def test_learned_arns_survive_a_refresh() -> None:
    arn = f"{ACCOUNT}:application-inference-profile/zzz"
    made = build([Listing(REGION)], Options(), {arn: Learned(SONNET)})
    assert made.resolve(arn).traits.family == "claude"
