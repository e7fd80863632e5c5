"""Settings that are tables: in the file, in a variable, and each fault with its key."""

import re
from pathlib import Path

import pytest

from proxy.settings import PREFIX, SettingsError, load
from proxy.tables import ManualModel, TargetRow

FILE = """
default_model = "sonnet"
geographies = ["eu", "global"]
targets = ["us-west-2"]

[aliases]
sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

[models.bedrock_discovery]
region = ["us-east-1", "eu-west-1"]

[[models.manual]]
id = "us.anthropic.claude-opus-4-6-v1:0"
name = "Claude Opus 4.6 (Bedrock)"
reasoning = true
input = ["text", "image"]
cost = { input = 5, output = 25, cacheRead = 0.5, cache_write = 6.25 }
contextWindow = 200000
max_tokens = 8192
"""


def test_the_founding_documents_model_in_our_file(tmp_path: Path) -> None:
    settings = load({}, _written(tmp_path, FILE), {}).settings
    [manual] = settings.manual
    assert manual == ManualModel(
        id="us.anthropic.claude-opus-4-6-v1:0",
        name="Claude Opus 4.6 (Bedrock)",
        reasoning=True,
        input=("text", "image"),
        cost={"input": 5.0, "output": 25.0, "cache_read": 0.5, "cache_write": 6.25},
        context_window=200_000,
        max_tokens=8192,
    )
    assert settings.targets == (TargetRow("us-west-2"),)
    assert dict(settings.aliases) == {"sonnet": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}
    assert settings.discovery_region == ("us-east-1", "eu-west-1")
    assert settings.geographies == ("eu", "global")


def test_targets_as_tables(tmp_path: Path) -> None:
    text = """
[[targets]]
region = "eu-west-1"
profile = "second"

[[targets]]
region = "us-gov-west-1"
roleArn = "arn:aws-us-gov:iam::123456789012:role/bedrock"
external_id = "x"
endpoint = "https://vpce-1.bedrock-runtime.us-gov-west-1.vpce.amazonaws.com/"
"""
    assert load({}, _written(tmp_path, text), {}).settings.targets == (
        TargetRow("eu-west-1", profile="second"),
        TargetRow(
            "us-gov-west-1",
            role_arn="arn:aws-us-gov:iam::123456789012:role/bedrock",
            external_id="x",
            endpoint="https://vpce-1.bedrock-runtime.us-gov-west-1.vpce.amazonaws.com",
        ),
    )


def test_the_same_in_variables() -> None:
    settings = load(
        {},
        None,
        {
            PREFIX + "TARGETS": '[{"region": "eu-west-1", "profile": "b"}]',
            PREFIX + "ALIASES": "a=x.one, b=x.two",
            PREFIX + "MANUAL": '[{"id": "x.one", "maxTokens": 10}]',
            PREFIX + "DISCOVERY_REGION": "us-east-1,us-west-2",
        },
    ).settings
    assert settings.targets == (TargetRow("eu-west-1", profile="b"),)
    assert settings.aliases == (("a", "x.one"), ("b", "x.two"))
    assert settings.manual == (ManualModel("x.one", max_tokens=10),)
    assert settings.discovery_region == ("us-east-1", "us-west-2")
    short = load({"targets": "us-west-2,eu-west-1"}, None, {}).settings
    assert [one.region for one in short.targets] == ["us-west-2", "eu-west-1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[models.manual]]\nname = "x"', "[0]: `id` is missing"),
        ('[[models.manual]]\nid = "x"\ncontext = 1', "did you mean `context_window`?"),
        ('[[models.manual]]\nid = "x"\ncontext_window = "1"', "whole number, at least 1"),
        ('[[models.manual]]\nid = "x"\ninput = ["words"]', "must be a list of audio, document"),
        ('[[models.manual]]\nid = "x"\nreasoning = "yes"', "`reasoning` must be true or false"),
        ('[[models.manual]]\nid = "x"\ncost = { inputs = 1 }', "did you mean `input`?"),
        ('[[models.manual]]\nid = "x"\ncost = { input = -1 }', "price per million tokens"),
        ('[[models.manual]]\nid = "x"\n[[models.manual]]\nid = "x"', "`x` is listed twice"),
        ('[[targets]]\nprofile = "b"', "[0]: `region` is missing"),
        ('[[targets]]\nregion = "mars"', "'mars' is not an AWS region"),
        ('[[targets]]\nregion = "us-east-1/@evil"', "is not an AWS region"),
        ('[[targets]]\nregion = "us-east-1"\nrole_arn = "role"', "must be a role's ARN"),
        ('[[targets]]\nregion = "us-east-1"\nexternal_id = "x"', "needs a `role_arn`"),
        ('[[targets]]\nregion = "us-east-1"\nendpoint = "ftp://x"', "must be an http(s) URL"),
        ('[aliases]\na = "b"\nb = "c"', "is an alias too"),
        ("[aliases]\na = 1", "`a` must name a model"),
        ('[models.bedrock_discovery]\nregion = ["x y"]', "is not an AWS region"),
        ('[models]\nbedrock = "x"', "`models.bedrock` is not a setting"),
        ("[models.bedrock_discovery]\ngrase = 1", "did you mean `grace`?"),
        ("[models.bedrockDiscovery]\nrefreshIntervall = 1", "`models.bedrock_discovery.refresh_i"),
        ('role_arn = "x"', "must be a role's ARN"),
        ('role_external_id = "x"', "role_external_id needs a role_arn"),
        ('client_keys = true\napi_key = "k"', "exclude each other"),
        ('region = "us east 1"', "is not an AWS region"),
        ('runtime_endpoint = "https://u:p@host"', "must be an http(s) URL"),
        ('runtime_endpoint = "http://[::1"', "must be an http(s) URL"),
        ('runtime_endpoint = "http://host:99999"', "must be an http(s) URL"),
        ('control_endpoint = "http://host:http"', "must be an http(s) URL"),
    ],
)
def test_faults_name_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        load({}, _written(tmp_path, text), {})


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("TARGETS", "[{", "is not valid JSON"),
        ("TARGETS", "[1]", "[0]: must be a table"),
        ("ALIASES", "a", "must look like name=model"),
        ("MANUAL", "x", "must be a list of tables, or JSON of one"),
        ("MANUAL", "{}", "must be a list of tables"),
    ],
)
def test_faults_in_variables_name_the_variable(variable: str, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)) as caught:
        load({}, None, {PREFIX + variable: text})
    assert PREFIX + variable in str(caught.value)


def _written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "proxy.toml"
    file.write_text(text)
    return file
