"""The credential sources in their order, against real files and fake services on loopback."""

import time
from pathlib import Path

import pytest

from proxy.bedrock.chain import Chain, Keys, Role, Unavailable
from proxy.bedrock.sources import Source, detect

REGION = "eu-west-1"


def load(machine, **options) -> Keys:
    return Chain(machine.environment, region=REGION, **options).load()


def on_instance(machine, fake) -> None:
    machine.unset("AWS_EC2_METADATA_DISABLED")
    machine.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=fake.url)


def in_container(machine, fake) -> None:
    machine.set(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{fake.url}/creds",
        AWS_CONTAINER_AUTHORIZATION_TOKEN="container-token",
    )


def test_environment_comes_before_the_profile(machine) -> None:
    machine.keys("AKIAFILE", "work")
    machine.set(AWS_PROFILE="work", AWS_ACCESS_KEY_ID=" AKIAENV ", AWS_SECRET_ACCESS_KEY="s")
    keys = load(machine)
    assert (keys.access_key, keys.source, keys.token, keys.expiry) == ("AKIAENV", "env", None, None)


def test_environment_token_account_and_expiry(machine) -> None:
    machine.set(
        AWS_ACCESS_KEY_ID="ASIAENV", AWS_SECRET_ACCESS_KEY="s", AWS_SESSION_TOKEN="t",
        AWS_CREDENTIAL_EXPIRATION="2026-01-02T03:04:05Z", AWS_ACCOUNT_ID="123456789012",
    )  # fmt: skip
    keys = load(machine)
    assert (keys.token, keys.expiry, keys.account) == ("t", 1767323045.0, "123456789012")


@pytest.mark.parametrize("blank", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_pair_is_passed_over(machine, blank, caplog) -> None:
    machine.keys("AKIAFILE")
    machine.set(**{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", blank: "  "})
    assert load(machine).access_key == "AKIAFILE"
    assert "only one of" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIAENV\r\nAWS_SECRET_ACCESS_KEY=x", "access key"),
        ("AWS_SECRET_ACCESS_KEY", "abc\ndef", "secret key"),
        ("AWS_SESSION_TOKEN", "abc\r\ndef", "session token"),
        ("AWS_SESSION_TOKEN", "\u201cabc\u201d", "session token"),
    ],
)
def test_keys_that_would_break_a_request_are_told(machine, name, value, what) -> None:
    machine.set(**{"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s", name: value})
    with pytest.raises(Unavailable) as failure:
        load(machine)
    assert failure.value.reason == "MalformedCredentials"
    assert f"the {what} from env (AWS_ACCESS_KEY_ID)" in str(failure.value)
    assert value[:3] not in str(failure.value).replace("AWS_ACCESS_KEY_ID", "")


def test_a_line_that_belongs_to_no_key_is_told(machine) -> None:
    """In the shared files an indented line goes on with the value before it."""
    machine.keys("AKIAFILE", "work", token="t\n  pasted by mistake")
    machine.set(AWS_PROFILE="work")
    with pytest.raises(Unavailable, match="session token from shared-credentials-file"):
        load(machine)


def test_profile_of_the_environment(machine) -> None:
    machine.keys("AKIAWORK", "work", token="t")
    machine.set(AWS_PROFILE="work")
    keys = load(machine)
    assert (keys.access_key, keys.token) == ("AKIAWORK", "t")
    assert (keys.source, keys.detail) == ("shared-credentials-file", "profile work")


def test_own_profile_setting_comes_before_the_environment(machine) -> None:
    machine.keys("AKIAWORK", "work")
    machine.set(AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="s")
    assert load(machine, profile="work").access_key == "AKIAWORK"


@pytest.mark.parametrize("own", [None, "ghost"])
def test_missing_profile_warns_once_and_goes_on(machine, fake, caplog, own) -> None:
    on_instance(machine, fake)
    machine.set(AWS_PROFILE="ghost")
    chain = Chain(machine.environment, region=REGION, profile=own)
    assert [chain.load().source for _ in range(2)] == ["iam-role", "iam-role"]
    assert caplog.text.count("'ghost' does not exist") == 1


def test_the_old_work_around_is_harmless(machine, fake, caplog) -> None:
    """``AWS_PROFILE=default`` on an instance without shared files: the role, and no warning."""
    on_instance(machine, fake)
    machine.set(AWS_PROFILE="default")
    assert load(machine).source == "iam-role"
    assert not caplog.records


def test_only_the_given_environment_counts(machine, fake, tmp_path) -> None:
    """What our own environment says of files, profile and metadata, whatever the process has."""
    on_instance(machine, fake)
    other = tmp_path / "elsewhere"
    other.write_text("[mine]\naws_access_key_id = AKIAMINE\naws_secret_access_key = s\n")
    machine.keys("AKIAPROCESS")
    given = {"AWS_SHARED_CREDENTIALS_FILE": str(other), "AWS_CONFIG_FILE": "/nonexistent"}
    mine = Chain(given | {"AWS_PROFILE": "mine"}, region=REGION).load()
    assert (mine.access_key, mine.detail) == ("AKIAMINE", "profile mine")
    assert Chain(given, region=REGION).load().source == "iam-role"
    with pytest.raises(Unavailable) as caught:
        Chain(given | {"AWS_EC2_METADATA_DISABLED": "TRUE"}, region=REGION).load()
    assert caught.value.absent


def test_blank_profile_is_unset(machine) -> None:
    machine.keys("AKIAFILE")
    machine.set(AWS_PROFILE="")
    assert load(machine).access_key == "AKIAFILE"


def test_instance_role_is_found_by_itself(machine, fake) -> None:
    on_instance(machine, fake)
    keys = load(machine)
    assert (keys.access_key, keys.token, keys.source) == ("ASIA1", "T1", "iam-role")
    assert keys.expiry is not None
    assert abs(keys.expiry - time.time() - fake.life) < 5
    assert fake.calls == {"token": 1, "role-name": 1, "imds": 1}


def test_container_role(machine, fake) -> None:
    in_container(machine, fake)
    fake.life = 300  # inside botocore's refresh windows: must not be fetched twice
    keys = load(machine)
    assert (keys.access_key, keys.source) == ("ASIA1", "container-role")
    assert fake.calls == {"ecs": 1}


def test_pod_identity_token_file_is_read_each_time(machine, fake) -> None:
    in_container(machine, fake)
    machine.unset("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    path = machine.write("pod-token", "one")
    machine.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
    chain = Chain(machine.environment, region=REGION)
    for token in ("one", "another"):
        machine.write("pod-token", token)
        assert chain.load().access_key == "ASIA1"
        assert fake.asked[-1] == {"authorization": token}


def test_web_identity(machine, fake) -> None:
    machine.set(
        AWS_WEB_IDENTITY_TOKEN_FILE=str(machine.write("jwt", "JWT-TOKEN")),
        AWS_ROLE_ARN="arn:aws:iam::123456789012:role/pod", AWS_ENDPOINT_URL_STS=fake.url,
    )  # fmt: skip
    keys = load(machine)
    assert (keys.access_key, keys.source) == ("ASIAROLE1", "assume-role-with-web-identity")
    assert fake.asked[0]["WebIdentityToken"] == "JWT-TOKEN"


def test_role_in_a_profile(machine, fake) -> None:
    machine.write(
        "config",
        "[profile r]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = base\n",
    )
    machine.keys("AKIABASE", "base")
    machine.set(AWS_PROFILE="r", AWS_ENDPOINT_URL_STS=fake.url)
    keys = load(machine)
    assert (keys.access_key, keys.source, keys.detail) == ("ASIAROLE1", "assume-role", "profile r")


def test_own_role_over_the_chain(machine, fake) -> None:
    machine.set(
        AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="s", AWS_ENDPOINT_URL_STS=fake.url
    )
    role = Role("arn:aws:iam::210987654321:role/x", external_id="ext", session_name="me")
    keys = load(machine, role=role)
    assert (keys.access_key, keys.account) == ("ASIAROLE1", "210987654321")
    assert keys.detail == "role over env"
    asked = fake.asked[0]
    assert asked["RoleArn"] == role.arn
    assert (asked["ExternalId"], asked["RoleSessionName"]) == ("ext", "me")
    assert "Credential=AKIAENV/" in asked["authorization"]
    assert f"/{REGION}/sts/" in asked["authorization"]


def test_process(machine) -> None:
    script = machine.write("give", '{"Version":1,"AccessKeyId":"AKIAP","SecretAccessKey":"s"}')
    machine.write("config", f"[default]\ncredential_process = cat {script}\n")
    assert load(machine).source == "custom-process"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("[default]\ncredential_process = false\n", "CredentialRetrievalError"),
        ("[default]\ncredential_process = echo no-json\n", "JSONDecodeError"),
        ("[default]\ncredential_process = /nonexistent/tool\n", "FileNotFoundError"),
        ("[default\nbroken", "ConfigParseError"),
    ],
)
def test_a_failing_source_is_told_from_an_absent_one(machine, config, reason) -> None:
    machine.write("config", config)
    with pytest.raises(Unavailable) as caught:
        load(machine)
    assert (caught.value.reason, caught.value.absent) == (reason, False)


@pytest.mark.parametrize(
    ("refusal", "reason"), [(None, "ClientError"), (b"a page", "ResponseParserError")]
)
def test_refused_role(machine, fake, refusal, reason) -> None:
    machine.set(
        AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="s", AWS_ENDPOINT_URL_STS=fake.url
    )
    fake.status, fake.refusal = 403, refusal or fake.refusal
    with pytest.raises(Unavailable) as caught:
        load(machine, role=Role("arn:aws:iam::210987654321:role/x"))
    assert caught.value.reason == reason


def test_nothing_anywhere(machine) -> None:
    with pytest.raises(Unavailable) as caught:
        load(machine)
    assert caught.value.absent


@pytest.mark.parametrize(("delay", "status"), [(1.2, 200), (0.0, 500)])
def test_slow_or_failing_metadata_ends_within_its_limit(machine, fake, delay, status) -> None:
    on_instance(machine, fake)
    fake.delay, fake.status = delay, status
    began = time.monotonic()
    with pytest.raises(Unavailable):
        load(machine)
    assert time.monotonic() - began < 5


def test_each_load_sees_rotated_files(machine) -> None:
    machine.keys("AKIAONE")
    chain = Chain(machine.environment, region=REGION)
    before = chain.mark()
    assert chain.load().access_key == "AKIAONE"
    machine.keys("AKIATWO")
    assert chain.mark() != before
    assert chain.load().access_key == "AKIATWO"


def test_secrets_do_not_show() -> None:
    assert "hidden" not in repr(Keys("AKIA", "hidden", "hidden-too"))


# ---- whether there may be any source at all -----------------------------------------------------


def where(machine, root: Path, profile: str | None = None) -> Source | None:
    return detect(machine.environment, profile, root)


def test_no_source_at_all(machine, tmp_path) -> None:
    assert where(machine, tmp_path) is None


def test_metadata_is_a_maybe_off_ec2_and_certain_on_it(machine, tmp_path) -> None:
    machine.unset("AWS_EC2_METADATA_DISABLED")
    found = where(machine, tmp_path)
    assert found is not None
    assert (found.name, found.certain) == ("iam-role", False)
    vendor = tmp_path / "sys/devices/virtual/dmi/id/sys_vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("Amazon EC2\n")
    found = where(machine, tmp_path)
    assert found is not None
    assert found.certain


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_ACCESS_KEY_ID": "a",
          "AWS_SECRET_ACCESS_KEY": "s"}, "bearer"),
        ({"AWS_BEARER_TOKEN_BEDROCK": "  ", "AWS_ACCESS_KEY_ID": "a",
          "AWS_SECRET_ACCESS_KEY": "s"}, "env"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}, "assume-role-with-web-identity"),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, "container-role"),
        ({"AWS_CREDENTIAL_FILE": "/x"}, "ec2-credentials-file"),
        ({"AWS_EC2_METADATA_DISABLED": "false",
          "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://x"}, "iam-role"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
          "AWS_CREDENTIAL_EXPIRATION": "whenever"}, "env"),
    ],
)  # fmt: skip
def test_detected_by_variables(machine, tmp_path, variables, name) -> None:
    machine.set(**variables)
    found = where(machine, tmp_path)
    assert found is not None
    assert (found.name, found.certain) == (name, True)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (None, "profile default"),
        ("sso", "profile sso"),
        ("empty", "profile default"),
        ("ghost", "profile default"),
    ],
)
def test_detected_in_files(machine, tmp_path, profile, expected) -> None:
    machine.keys("AKIAFILE")
    machine.write("config", "[profile sso]\nsso_session = s\n[profile empty]\nregion = x\n")
    found = where(machine, tmp_path, profile)
    assert found is not None
    assert found.detail == expected


def test_unreadable_files_are_no_source(machine, tmp_path) -> None:
    machine.write("config", "[broken")
    machine.write("credentials", "\x00")
    assert where(machine, tmp_path) is None


def test_a_user_without_a_home(machine, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's numeric uid that is in no passwd file, and no HOME: found by running the image
    with a cleared environment. Sources that need no home work, those that do are not there."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    machine.unset("HOME", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")
    machine.set(AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="s")
    chain = Chain(machine.environment, region=REGION)
    assert chain.load().access_key == "AKIAENV"
    assert chain.mark() == ()
    assert detect(machine.environment) is not None
    machine.unset("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert detect(machine.environment, root=tmp_path) is None
    with pytest.raises(Unavailable):
        load(machine)
