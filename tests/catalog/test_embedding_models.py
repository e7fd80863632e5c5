"""Embedding models in the catalog: listed when asked for, stood in for, and told apart."""

import pytest

from proxy.catalog.entries import Listing, Options
from proxy.catalog.families import traits_for
from proxy.catalog.limits import EMBEDDING_LIMITS
from proxy.catalog.listing import build
from proxy.catalog.resolve import Catalog
from proxy.errors import ProxyError
from proxy.tables import ManualModel

NOVA = "amazon.nova-pro-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
COHERE_4 = "cohere.embed-v4:0"


def summary(model_id: str, output: str, **more: object) -> dict[str, object]:
    return {
        "modelId": model_id, "providerName": "P", "inputModalities": ["TEXT"],
        "outputModalities": [output], "inferenceTypesSupported": ["ON_DEMAND"],
        "responseStreamingSupported": output == "TEXT", "modelLifecycle": {"status": "ACTIVE"},
        **more,
    }  # fmt: skip


def catalog(**options: object) -> Catalog:
    listing = Listing(
        "us-east-1",
        ("us",),
        foundation_models=(
            summary(NOVA, "TEXT"),
            summary(TITAN, "EMBEDDING"),
            summary(COHERE_4, "EMBEDDING", inferenceTypesSupported=["INFERENCE_PROFILE"]),
            summary("old.embed", "EMBEDDING", modelLifecycle={"status": "LEGACY"}),
            summary("cohere.rerank-v3-5:0", "TEXT", responseStreamingSupported=False),
        ),
        system_profiles=(
            {
                "inferenceProfileId": f"us.{COHERE_4}",
                "status": "ACTIVE",
                "models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{COHERE_4}"}],
            },
        ),
    )
    return build([listing], Options(**options))  # type: ignore[arg-type]


def ids(rows: tuple[object, ...]) -> list[object]:
    return [row["id"] for row in rows]  # type: ignore[index]


def test_they_are_listed_only_when_asked_for() -> None:
    made = catalog()
    assert ids(made.list()) == [NOVA]
    assert ids(made.list("embedding")) == [TITAN, f"us.{COHERE_4}"]
    assert ids(made.list("all")) == [NOVA, TITAN, f"us.{COHERE_4}"]


def test_an_alias_is_listed_with_its_like() -> None:
    made = catalog(aliases={"vectors": TITAN, "talk": NOVA})
    assert ids(made.list()) == ["talk", NOVA]
    assert ids(made.list("embedding"))[0] == "vectors"
    assert ids(made.list("all"))[:2] == ["vectors", "talk"]


def test_policy_and_filter_hold_for_them_too() -> None:
    assert ids(catalog(geographies=("eu",)).list("embedding")) == [TITAN]
    assert ids(catalog(provider_filter=("cohere",)).list("embedding")) == [f"us.{COHERE_4}"]
    assert ids(catalog(include_legacy=True).list("embedding"))[-1] == f"us.{COHERE_4}"
    assert "old.embed" in ids(catalog(include_legacy=True).list("embedding"))


def test_a_manual_embedding_model_is_no_chat_model() -> None:
    manual = (ManualModel("cohere.embed-english-v3"),)
    made = catalog(manual=manual)
    assert "cohere.embed-english-v3" not in ids(made.list())
    assert "cohere.embed-english-v3" in ids(made.list("embedding"))


@pytest.mark.parametrize("name", ["text-embedding-3-small", "text-embedding-ada-002"])
def test_openai_s_names_go_to_the_default(name: str) -> None:
    model = catalog(default_embedding_model=TITAN, default_model=NOVA).resolve(name)
    assert (model.id, model.name) == (TITAN, name)
    untold = catalog(default_model=NOVA).resolve(name)
    assert untold.id == name


def test_no_name_is_the_default_chat_model_or_an_error() -> None:
    assert catalog(default_model=NOVA).resolve("").id == NOVA
    with pytest.raises(ProxyError) as caught:
        catalog(default_embedding_model=TITAN).resolve("")
    assert caught.value.param == "model"


@pytest.mark.parametrize("model_id", sorted(EMBEDDING_LIMITS))
def test_each_known_one_has_a_body_and_its_own_size(model_id: str) -> None:
    traits = traits_for(model_id)
    assert traits.embeds != "none"
    assert EMBEDDING_LIMITS[model_id].output == max(traits.embed_sizes)


def test_chat_models_embed_nothing() -> None:
    assert traits_for(NOVA).embeds == "none"
    assert traits_for("who.knows").embeds == "none"
