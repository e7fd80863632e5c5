"""``deploy/ec2/setup.sh``, run by a shell with the real AWS CLI against moto's server.

awscli and moto live in an environment of their own, made once and kept in the user's cache: they
would change the packages that are under test.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.cli.policy import CALLS, LISTINGS
from proxy.settings import FIELDS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "ec2" / "setup.sh"
PACKAGES = ("moto[ec2,iam]>=5.1", "flask>=3", "flask-cors>=5", "awscli>=1.40")
ROLE = "EC2-Bedrock-Access"
MANAGED = "arn:aws:iam::aws:policy/AmazonBedrockFullAccess"
IMAGE = "ami-12c6146b"  # one that moto knows


def test_the_policy_beside_the_script_is_what_doctor_prints() -> None:
    policy = json.loads((SCRIPT.parent / "bedrock-policy.json").read_text())
    call, listing = policy["Statement"]
    assert tuple(call["Action"]) == CALLS
    assert tuple(listing["Action"]) == LISTINGS
    assert "*" not in call["Resource"], "calls are allowed on models only"
    assert {arn.rpartition(":")[2] for arn in call["Resource"]} == {
        "foundation-model/*", "inference-profile/*", "application-inference-profile/*",
    }  # fmt: skip


def test_the_role_is_for_instances_only() -> None:
    trust = json.loads((SCRIPT.parent / "trust-policy.json").read_text())
    assert [one["Principal"] for one in trust["Statement"]] == [{"Service": "ec2.amazonaws.com"}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--instance",), "unknown option --instance"),
        (("--region",), "--region needs a value"),
        (("--policy", "/nonexistent"), "cannot be read"),
    ],
)
def test_mistakes_are_told(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "aws").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "aws").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, check=False, env={"PATH": path}
    )
    assert done.returncode == 2
    assert says in done.stderr


def test_help_names_every_option(tmp_path: Path) -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
    for option in ("--instance-id", "--region", "--role-name", "--policy", "--full-access"):
        assert option in done.stdout
    assert "region" in FIELDS  # what it tells to set is a setting


# -- against moto -------------------------------------------------------------------------------


def _environment_of_its_own() -> Path:
    """The folder of the environment's programs; skips with the reason where it cannot be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(repr((PACKAGES, sys.version_info[:2])).encode()).hexdigest()[:12]
    place = cache / "bedrock-openai-proxy-tests" / f"moto-{mark}"
    if (place / "ready").exists():
        return place / "bin"
    place.parent.mkdir(parents=True, exist_ok=True)
    steps: tuple[list[str], ...] = (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(place / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=110)
        except subprocess.TimeoutExpired:
            pytest.skip("awscli and moto were not installed within 110 s")
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            pytest.skip(f"awscli and moto cannot be installed: {last[0][:200]}")
    (place / "ready").touch()
    return place / "bin"


class Cloud:
    """moto's server, and the AWS CLI in front of it."""

    def __init__(self, programs: Path, url: str) -> None:
        self.url = url
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_PAGER": "",
        }

    def aws(self, *arguments: str) -> Any:
        done = subprocess.run(
            ["aws", *arguments, "--output", "json"],
            env=self._environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def setup(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, *arguments],
            env=self._environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def instance(self) -> str:
        told = self.aws("ec2", "run-instances", "--image-id", IMAGE, "--count", "1")
        return str(told["Instances"][0]["InstanceId"])

    def profile_of(self, instance: str) -> list[str]:
        told = self.aws(
            "ec2", "describe-iam-instance-profile-associations",
            "--filters", f"Name=instance-id,Values={instance}",
        )  # fmt: skip
        return [
            one["IamInstanceProfile"]["Arn"].rpartition("/")[2]
            for one in told["IamInstanceProfileAssociations"]
            if one["State"] in ("associated", "associating")
        ]

    def policies(self, role: str = ROLE) -> tuple[list[str], list[str]]:
        """The role's own policies and the managed ones."""
        own = self.aws("iam", "list-role-policies", "--role-name", role)["PolicyNames"]
        managed = self.aws("iam", "list-attached-role-policies", "--role-name", role)
        return own, [one["PolicyArn"] for one in managed["AttachedPolicies"]]


@pytest.fixture(scope="module")
def served() -> Iterator[Cloud]:
    programs = _environment_of_its_own()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    server = subprocess.Popen(
        [programs / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/moto-api/", timeout=2)
                break
            except httpx.TransportError:
                assert server.poll() is None, "moto's server ended"
                time.sleep(0.1)
        yield Cloud(programs, url)
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def cloud(served: Cloud) -> Cloud:
    httpx.post(f"{served.url}/moto-api/reset", timeout=10)
    return served


@pytest.mark.long
def test_a_new_instance_gets_the_least(cloud: Cloud) -> None:
    instance = cloud.instance()
    done = cloud.setup("--instance-id", instance, "--region", "us-east-1")
    assert done.returncode == 0, done.stderr
    assert cloud.profile_of(instance) == [ROLE]
    assert cloud.policies() == (["bedrock-openai-proxy"], [])
    told = cloud.aws(
        "iam", "get-role-policy", "--role-name", ROLE, "--policy-name", "bedrock-openai-proxy"
    )
    written = json.loads((SCRIPT.parent / "bedrock-policy.json").read_text())
    assert told["PolicyDocument"] == written
    role = cloud.aws("iam", "get-role", "--role-name", ROLE)["Role"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
    options = cloud.aws("ec2", "describe-instances", "--instance-ids", instance)["Reservations"][0][
        "Instances"
    ][0]["MetadataOptions"]
    assert options["HttpTokens"] == "required"
    assert options["HttpPutResponseHopLimit"] == 2
    assert "AWS_PROFILE=default, no keys" in done.stdout


@pytest.mark.long
def test_it_may_be_run_again_and_changes_its_mind(cloud: Cloud) -> None:
    instance = cloud.instance()
    arguments = ("--instance-id", instance, "--region", "us-east-1")
    assert cloud.setup(*arguments).returncode == 0
    again = cloud.setup(*arguments)
    assert again.returncode == 0, again.stderr
    assert "created" not in again.stdout
    assert "was given" not in again.stdout
    assert cloud.profile_of(instance) == [ROLE]
    full = cloud.setup(*arguments, "--full-access")
    assert full.returncode == 0, full.stderr
    assert cloud.policies() == ([], [MANAGED])
    back = cloud.setup(*arguments)
    assert back.returncode == 0, back.stderr
    assert cloud.policies() == (["bedrock-openai-proxy"], [])


@pytest.mark.long
def test_a_role_alone_and_a_policy_of_ones_own(cloud: Cloud, tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "bedrock:InvokeModel",
                "Resource": "arn:aws:bedrock:*:*:*",
            }
        ],
    }
    own.write_text(json.dumps(document))
    done = cloud.setup("--role-name", "mine", "--policy", str(own))
    assert done.returncode == 0, done.stderr
    told = cloud.aws(
        "iam", "get-role-policy", "--role-name", "mine", "--policy-name", "bedrock-openai-proxy"
    )
    assert told["PolicyDocument"] == document
    profile = cloud.aws("iam", "get-instance-profile", "--instance-profile-name", "mine")
    assert [one["RoleName"] for one in profile["InstanceProfile"]["Roles"]] == ["mine"]


@pytest.mark.long
def test_another_profile_is_replaced_only_on_request(cloud: Cloud) -> None:
    instance = cloud.instance()
    assert cloud.setup("--instance-id", instance, "--region", "us-east-1",
                       "--role-name", "first").returncode == 0  # fmt: skip
    arguments = ("--instance-id", instance, "--region", "us-east-1")
    refused = cloud.setup(*arguments)
    assert refused.returncode == 2
    assert "has the instance profile first" in refused.stderr
    assert cloud.profile_of(instance) == ["first"]
    done = cloud.setup(*arguments, "--replace-profile")
    assert done.returncode == 0, done.stderr
    assert cloud.profile_of(instance) == [ROLE]


@pytest.mark.long
def test_an_instance_needs_its_region(cloud: Cloud) -> None:
    environment = dict(cloud._environment)
    del environment["AWS_DEFAULT_REGION"]
    done = subprocess.run(
        [SCRIPT, "--instance-id", "i-1"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--region" in done.stderr
