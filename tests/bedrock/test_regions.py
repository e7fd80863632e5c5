"""Endpoints equal botocore's rule set everywhere; the order of regions and configured endpoints."""

import itertools
import os
from pathlib import Path

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader

from proxy.bedrock import regions


def every_region() -> list[str]:
    partitions = Loader().load_data("partitions")["partitions"]
    made = ["us-future-9", "cn-future-1", "us-gov-future-1", "mars-north-1", "eusc-de-west-2"]
    return [*(name for p in partitions for name in p["regions"]), *made]


@pytest.mark.parametrize("service", ["bedrock-runtime", "bedrock"])
def test_endpoints_equal_botocores_rules(service) -> None:
    loader = Loader()
    rules = EndpointProvider(
        loader.load_service_model(service, "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    checked = 0
    for region, fips, dual in itertools.product(every_region(), (False, True), (False, True)):
        theirs = rules.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual).url
        assert regions.endpoint(service, region, fips, dual) == theirs
        checked += 1
    assert checked > 150


@pytest.mark.parametrize("region", ["", "US-EAST-1", "us-east-1.evil.example", "a/b", "x@y", "us"])
def test_what_is_no_region_never_becomes_a_host(region) -> None:
    with pytest.raises(ValueError, match="not an AWS region"):
        regions.endpoint("bedrock", region)


@pytest.mark.parametrize(
    ("own", "environment", "profile", "expected"),
    [
        ("eu-west-1", {"AWS_REGION": "a"}, "p", ("eu-west-1", "setting")),
        (None, {"AWS_REGION": "r", "AWS_DEFAULT_REGION": "d"}, "p", ("r", "AWS_REGION")),
        (None, {"AWS_REGION": " ", "AWS_DEFAULT_REGION": "d"}, "p", ("d", "AWS_DEFAULT_REGION")),
        ("", {}, "p", ("p", "profile")),
        (None, {}, None, ("us-east-1", "default")),
    ],
)
def test_region_order(own, environment, profile, expected) -> None:
    assert regions.choose_region(own, environment, profile) == expected


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("us-west-2", ("us",)),
        ("us-gov-west-1", ("us-gov",)),
        ("eu-north-1", ("eu",)),
        ("ap-northeast-1", ("jp", "apac")),
        ("ap-northeast-2", ("apac",)),
        ("ap-southeast-2", ("au", "apac")),
        ("cn-north-1", ()),
    ],
)
def test_geographies(region, expected) -> None:
    assert regions.geographies(region) == expected


CONFIG = """
[default]
region = eu-west-3
endpoint_url = https://profile.example/base/
services = mine

[profile bare]
region = sa-east-1
use_fips_endpoint = true

[profile broken]
services = nowhere

[services mine]
bedrock_runtime =
  endpoint_url = https://profile-runtime.example
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    (tmp_path / "config").write_text(CONFIG)
    settings = {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def test_profile_services_section_beats_the_profile(environment) -> None:
    read = regions.read_config(environment)
    assert read.region == "eu-west-3"
    assert read.endpoints == {
        "bedrock-runtime": "https://profile-runtime.example",
        "bedrock": "https://profile.example/base",
        "secretsmanager": "https://profile.example/base",
        "ssm": "https://profile.example/base",
    }


def test_environment_beats_the_profile(environment) -> None:
    """The global variable beats even the profile's entry for the service (AWS's own order)."""
    told = {
        "AWS_ENDPOINT_URL": "https://all.example",
        "AWS_ENDPOINT_URL_BEDROCK": "http://c:9/",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://c:8/",
    }
    read = regions.read_config(environment | told)
    assert read.endpoints == {
        "bedrock-runtime": "https://all.example",
        "bedrock": "http://c:9",
        "secretsmanager": "http://c:8",
        "ssm": "https://all.example",
    }


@pytest.mark.parametrize("told", [{"HOME": "/nobody"}, {"AWS_CONFIG_FILE": os.devnull}])
def test_without_files_the_environment_is_read_alone(told, monkeypatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("botocore's session is dear")

    monkeypatch.setattr(regions, "open_session", refuse)
    told = {"AWS_SHARED_CREDENTIALS_FILE": "/nobody/credentials", "HOME": "/nobody"} | told
    assert regions.read_config(told, "nobody") == regions.AwsConfig(None, False, False, {})
    fips = regions.read_config(told | {"AWS_USE_FIPS_ENDPOINT": "true"})
    assert (fips.fips, fips.endpoints) == (True, {})
    read = regions.read_config(told | {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://vpc.example/"})
    assert read.endpoints == {"bedrock-runtime": "http://vpc.example"}
    with pytest.raises(ValueError, match="not an http"):
        regions.read_config(told | {"AWS_ENDPOINT_URL": "ftp://x"})


def test_configured_endpoints_can_be_ignored(environment) -> None:
    told = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE", "AWS_ENDPOINT_URL": "https://x.example"}
    assert regions.read_config(environment | told).endpoints == {}


def test_variants_from_profile_and_environment(environment) -> None:
    read = regions.read_config(environment, "bare")
    assert (read.region, read.fips, read.dualstack) == ("sa-east-1", True, False)
    environment |= {"AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": "true"}
    read = regions.read_config(environment, "bare")
    assert (read.fips, read.dualstack) == (False, True)


@pytest.mark.parametrize(
    ("told", "profile", "says"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, None, "custom endpoint .* FIPS"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, None, "dual-stack"),
        ({"AWS_ENDPOINT_URL": "ftp://x"}, None, "not an http"),
        ({"AWS_ENDPOINT_URL": "https://u:p@x"}, None, "must not contain a user name"),
        ({}, "broken", '"nowhere" services'),
    ],
)
def test_configuration_that_cannot_work_says_why(environment, told, profile, says) -> None:
    with pytest.raises(ValueError, match=says):
        regions.read_config(environment | told, profile)


def test_a_profile_that_does_not_exist_is_passed_over(environment) -> None:
    read = regions.read_config(environment, "nobody")
    assert read.profile is None
    assert read.region == "eu-west-3"
