"""A key's models, over HTTP: what it may call, what it is shown, and no way around it."""

from collections.abc import Iterator

import pytest

from tests.support.tenants import NOVA, SONNET, Tenants, tenants

LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    of = {
        "everything": {},
        "claude": {"models": ["anthropic.claude-*"]},
        "routes": {"models": ["amazon*", "bedrock*", "us-east-1*", "converse*", "*nova*", "gpt-*"]},
        "alias": {"models": ["team-*"]},
    }
    settings = {
        "aliases": f"team-small={NOVA},gpt-4o={LLAMA}", "default_model": LLAMA, "explain": True,
    }  # fmt: skip
    with tenants(tmp_path_factory.mktemp("keys"), of, settings) as running:
        yield running


def test_a_model_that_is_not_ones_own_is_a_403(proxy: Tenants) -> None:
    before = len(proxy.calls())
    assert proxy.ask("claude").status_code == 200
    refused = proxy.ask("claude", model=NOVA)
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "permission_error", "model_not_allowed", "model",
    )  # fmt: skip
    assert refused.headers["x-should-retry"] == "false"
    assert len(proxy.calls()) == before + 1
    embedding = {"model": "amazon.titan-embed-text-v2:0", "input": "Hello"}
    assert proxy.post("claude", "/v1/embeddings", embedding).status_code == 403
    completion = {"model": NOVA, "prompt": "Hello"}
    assert proxy.post("claude", "/v1/completions", completion).status_code == 403
    chat = {"model": NOVA, "messages": [{"role": "user", "content": "Hello"}]}
    assert proxy.post("claude", "/v1/explain", chat).status_code == 403
    rejected = 'bedrock_proxy_requests_rejected_total{reason="model_not_allowed"}'
    assert proxy.running.samples()[rejected] >= 4


@pytest.mark.parametrize(
    "name",
    [
        f"bedrock/{LLAMA}", f"bedrock/us-east-1/{LLAMA}", f"amazon-bedrock/{LLAMA}",
        f"us-east-1/{LLAMA}", f"converse/{LLAMA}", "gpt-nova", "gpt-anything",
        "meta.llama3-3-70b-instruct-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-3-70b-instruct-v1:0",
    ],
)  # fmt: skip
def test_a_name_that_is_made_up_opens_nothing(proxy: Tenants, name: str) -> None:
    """Each of these fits a glob of the key ``routes`` by letters that anybody can write."""
    assert proxy.ask("everything", model=name).status_code == 200
    assert proxy.ask("routes", model=name).status_code == 403
    assert proxy.ask("routes", model=f"bedrock/{NOVA}").status_code == 200


def test_an_operators_alias_is_a_name(proxy: Tenants) -> None:
    assert proxy.ask("alias", model="team-small").status_code == 200
    assert proxy.ask("alias", model=NOVA).status_code == 403
    assert proxy.ask("alias", model="team-large").status_code in (403, 404)
    assert proxy.ask("routes", model="gpt-4o").status_code == 200  # the operator's own


def test_listings_show_ones_own(proxy: Tenants) -> None:
    every = {one["id"] for one in proxy.get("everything", "/v1/models").json()["data"]}
    claude = {one["id"] for one in proxy.get("claude", "/v1/models?type=all").json()["data"]}
    assert claude < every
    assert SONNET in claude
    assert all("claude" in one for one in claude if "." in one)
    alias = [one["id"] for one in proxy.get("alias", "/v1/models").json()["data"]]
    assert alias == ["team-small"]


def test_one_entry_is_shown_as_listed_and_hints_at_nothing(proxy: Tenants) -> None:
    assert proxy.get("claude", f"/v1/models/{SONNET}").status_code == 200
    for name in (NOVA, "amazon.nova-pro-v9", "none"):
        hidden = proxy.get("claude", f"/v1/models/{name}")
        assert hidden.status_code == 404
        assert "Did you mean" not in hidden.text
    assert "Did you mean" in proxy.get("everything", "/v1/models/amazon.nova-pro-v9").text


def test_a_404_of_bedrocks_names_only_ones_own(proxy: Tenants) -> None:
    wrong = "anthropic.claude-sonnet-4-5-20250929-v9:0"
    told = proxy.ask("claude", model=wrong)
    assert told.status_code == 404
    assert "claude" in told.text
    assert "nova" not in told.text
