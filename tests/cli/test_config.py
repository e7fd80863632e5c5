"""``config``: origins, masks, and OpenClaw's settings as ours, which must load."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli import toml_text
from proxy.cli.config import command
from proxy.cli.openclaw import convert
from proxy.settings import KEYS, load
from proxy.tables import ManualModel

FILES = Path(__file__).parent / "openclaw"
OPUS = "us.anthropic.claude-opus-4-6-v1:0"
SONNET = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(command, list(arguments), env=environment)

    return run


def imported(run: Any, tmp_path: Path, file: Path) -> tuple[str, Any]:
    """What ``import openclaw`` prints, and the settings it loads to."""
    done = run("import", "openclaw", str(file))
    assert done.exit_code == 0, done.output
    ours = tmp_path / "ours.toml"
    ours.write_text(done.stdout)
    return done.stdout, load({}, ours, {}).settings


def test_every_setting_is_shown_with_its_origin(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('grace = 1\n[aliases]\n"my model" = "amazon.nova-pro-v1:0"\n')
    done = run(
        "show", "--origin", "--config", str(file), "--port", "9",
        BEDROCK_PROXY_API_KEY="sk-very-secret", AWS_REGION="eu-west-1",
    )  # fmt: skip
    assert done.exit_code == 0
    lines = dict(line.split("  # ", 1) for line in done.stdout.splitlines() if "  # " in line)
    origins = {name.split("=")[0].strip(" #"): origin for name, origin in lines.items()}
    assert origins["port"] == "flag"
    assert origins["grace"] == f"{file}:grace"
    assert origins["api_key"] == "BEDROCK_PROXY_API_KEY"
    assert origins["stall_timeout"] == "default"
    assert "sk-very-secret" not in done.output
    assert 'api_key = "***"' in done.stdout
    assert "# region: eu-west-1 (AWS_REGION)" in done.stdout
    shown = {line.split(" = ")[0].removeprefix("# ").split(" is unset")[0] for line in lines}
    assert {key.rpartition(".")[2] for key in KEYS} <= {one.strip() for one in shown}


def test_what_is_shown_loads_again(run: Any, tmp_path: Path) -> None:
    environment = {
        "BEDROCK_PROXY_TARGETS": '[{"region": "us-west-2", "profile": "b"}]',
        "BEDROCK_PROXY_ALIASES": "a=b.c,d.e=f.g",
        "BEDROCK_PROXY_MANUAL": '[{"id": "x.y", "cost": {"input": 0.25}, "input": ["text"]}]',
        "BEDROCK_PROXY_PROVIDER_FILTER": "anthropic,amazon",
        "BEDROCK_PROXY_REFRESH_INTERVAL": "0",
    }
    file = tmp_path / "shown.toml"
    file.write_text(run("show", **environment).stdout)
    assert load({}, file, {}).settings == load({}, None, environment).settings


def test_a_fault_in_aws_files_is_told(run: Any) -> None:
    done = run("show", AWS_ENDPOINT_URL_BEDROCK="ftp://x")
    assert done.exit_code == 0
    assert "is not an http(s) endpoint" in done.stdout


def test_the_founding_documents_file(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("json5", reason="the extra openclaw is not installed")
    text, settings = imported(run, tmp_path, FILES / "founding.json5")
    assert "left out" not in text
    assert settings.region == "us-east-1"
    assert settings.default_model == OPUS
    assert settings.enabled is True
    assert settings.discovery_region == ("us-east-1",)
    assert settings.provider_filter == ("anthropic", "amazon")
    assert settings.refresh_interval == 3600
    assert (settings.default_context_window, settings.default_max_tokens) == (32000, 4096)
    assert settings.manual == (
        ManualModel(
            OPUS,
            "Claude Opus 4.6 (Bedrock)",
            reasoning=True,
            input=("text", "image"),
            cost={"input": 0.0, "output": 0.0, "cache_read": 0.0, "cache_write": 0.0},
            context_window=200_000,
            max_tokens=8192,
        ),
    )


def test_the_plugins_shape(run: Any, tmp_path: Path) -> None:
    text, settings = imported(run, tmp_path, FILES / "plugin.json")
    assert settings.discovery_region == ("eu-central-1",)  # the plugin's place wins
    assert settings.default_max_tokens == 2048  # and the older one fills in
    assert settings.refresh_interval == 0
    assert settings.profile == "work"
    assert settings.default_model == SONNET
    assert settings.aliases == (("sonnet", SONNET),)
    assert settings.region == "eu-west-1"
    assert settings.runtime_endpoint is None  # it is another region's
    assert [one.name for one in settings.manual] == ['the "good" one']
    for word in ("guardrail", "fallbacks", "compat", "models[1]: has no id", "colour", "tiers"):
        assert any(word in line for line in text.splitlines() if line.startswith("# left out"))


def test_no_secret_is_printed(run: Any) -> None:
    done = run("import", "openclaw", str(FILES / "plugin.json"))
    assert "secret" in done.stdout  # it is said that there are some
    for secret in ("ABSK-a-secret", "sk-a-secret", "sk-other-secret"):
        assert secret not in done.output


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://bedrock-runtime.eu-west-3.amazonaws.com/", "eu-west-3", None),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1", None),
        (
            "https://bedrock-runtime-fips.us-east-2.amazonaws.com",
            "us-east-2",
            "https://bedrock-runtime-fips.us-east-2.amazonaws.com",
        ),
        (
            "https://vpce-1.bedrock-runtime.us-gov-west-1.vpce.amazonaws.com",
            "us-gov-west-1",
            "https://vpce-1.bedrock-runtime.us-gov-west-1.vpce.amazonaws.com",
        ),
        ("http://localhost:9000/bedrock", None, "http://localhost:9000/bedrock"),
        ("https://${HOST}", None, None),
    ],
)
def test_a_base_url_is_a_region_or_an_endpoint(
    url: str, region: str | None, endpoint: str | None
) -> None:
    tree = convert({"models": {"providers": {"amazon-bedrock": {"baseUrl": url}}}}).tree
    assert tree.get("region") == region
    assert tree.get("runtime_endpoint") == endpoint


@pytest.mark.parametrize("broken", [[], "x", 1, None, {"models": 3}, {"agents": {"defaults": []}}])
def test_odd_shapes_are_passed_over(broken: Any) -> None:
    config = {"plugins": broken, "models": {"providers": broken}, "agents": broken}
    assert convert(config).tree == {}


def test_a_model_of_another_provider_is_no_default() -> None:
    done = convert({"agents": {"defaults": {"model": "openai/gpt-5"}}})
    assert done.tree == {}
    assert done.notes == ["agents.defaults.model: openai/gpt-5 is not a model of Bedrock"]


def test_a_value_that_is_none_of_ours_is_told(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "openclaw.json"
    model = {"id": "x.y", "contextWindow": "large"}
    file.write_text(json.dumps({"models": {"providers": {"amazon-bedrock": {"models": [model]}}}}))
    done = run("import", "openclaw", str(file))
    assert done.exit_code == 2
    assert "models.manual: [0]: `context_window` must be a whole number" in done.output


def test_a_file_without_bedrock_is_told(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "openclaw.json"
    file.write_text("{}")
    done = run("import", "openclaw", str(file))
    assert done.exit_code == 2
    assert "has no settings for Amazon Bedrock" in done.output


def test_json5_without_its_package_names_the_extra(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "json5", None)
    file = tmp_path / "openclaw.json"
    file.write_text("{ models: {} }")
    done = run("import", "openclaw", str(file))
    assert done.exit_code == 2
    assert "bedrock-openai-proxy[openclaw]" in done.output


KEY = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())
PLAIN = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=20),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9),
)  # fmt: skip
ROW = st.dictionaries(KEY, PLAIN, min_size=1, max_size=3)
TREE = st.dictionaries(
    KEY, st.one_of(PLAIN, st.lists(PLAIN, max_size=3), ROW, st.lists(ROW, min_size=1, max_size=3)),
    max_size=5,
)  # fmt: skip


@given(TREE)
def test_toml_is_read_back_by_the_standard_library(tree: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text.write(tree)) == tree
