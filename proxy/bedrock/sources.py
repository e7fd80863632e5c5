"""Whether any credential source may exist: looked at cheaply, without a network call.

``serve`` exits with the fix only when there is no source at all; a source that is slow or failing
is waited for. Reads files, so it runs in a ``Worker``. What cannot be known without asking (is
this machine an instance with a role?) is answered with ``certain=False``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy.bedrock.chain import config_files, environment_keys, home_folder, metadata_is_off

_PROFILE_KEYS: Final = frozenset(
    {
        "aws_access_key_id", "role_arn", "source_profile", "credential_source",
        "credential_process", "web_identity_token_file", "sso_session", "sso_start_url",
        "login_session",
    }
)  # fmt: skip
_ON_EC2: Final = (
    ("/sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2"),
    ("/sys/devices/virtual/dmi/id/board_asset_tag", "i-"),
    ("/sys/hypervisor/uuid", "ec2"),
)
_BOTO: Final = "/etc/boto.cfg"


@dataclass(frozen=True, slots=True)
class Source:
    """A place that may hold credentials: ``name`` as in ``Keys.source`` (or ``bearer``),
    ``detail`` for a person. Not ``certain``: it may turn out to hold none."""

    name: str
    detail: str
    certain: bool = True


def detect(
    environment: Mapping[str, str], profile: str | None = None, root: Path = Path("/")
) -> Source | None:
    """The first source in the chain's order, ``None`` if there is none. Blocks on files only.

    ``root`` is where the machine's own files are looked for (tests give another).
    """
    return next(_sources(environment, profile, root), None)


def bearer_key(environment: Mapping[str, str]) -> str | None:
    """``AWS_BEARER_TOKEN_BEDROCK``; blank is unset."""
    return environment.get("AWS_BEARER_TOKEN_BEDROCK", "").strip() or None


def _sources(environment: Mapping[str, str], profile: str | None, root: Path) -> Iterator[Source]:
    if bearer_key(environment):
        yield Source("bearer", "AWS_BEARER_TOKEN_BEDROCK")
    if profile is None and environment_keys(environment) is not None:
        yield Source("env", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    asked = profile or environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    profiles = _profiles(environment)
    for name in dict.fromkeys((asked or "default", "default")):
        if _PROFILE_KEYS & profiles.get(name, {}).keys():
            yield Source("profile", f"profile {name}")
    if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        yield Source("assume-role-with-web-identity", "AWS_WEB_IDENTITY_TOKEN_FILE")
    yield from _from_legacy_files(environment, root)
    for name in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        if environment.get(name):
            yield Source("container-role", name)
    if not metadata_is_off(environment):
        told = bool(environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"))
        yield Source("iam-role", "instance metadata (IMDSv2)", told or _looks_like_ec2(root))


def _from_legacy_files(environment: Mapping[str, str], root: Path) -> Iterator[Source]:
    if environment.get("AWS_CREDENTIAL_FILE"):
        yield Source("ec2-credentials-file", "AWS_CREDENTIAL_FILE")
    own = home_folder(environment) / ".boto"
    places = (Path(environment.get("BOTO_CONFIG", "")), _under(root, _BOTO), own)
    if any(place.is_file() for place in places):
        yield Source("boto-config", "boto configuration file", certain=False)


def _profiles(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Profiles by name, of both shared files; an unreadable file has none (``load`` will tell)."""
    from botocore.configloader import load_config, raw_config_parse
    from botocore.exceptions import BotoCoreError

    found: dict[str, dict[str, Any]] = {}
    credentials, config = config_files(environment)
    for path, read in ((config, load_config), (credentials, raw_config_parse)):
        try:
            parsed = read(str(path))
        except (BotoCoreError, OSError, UnicodeDecodeError):
            continue
        for name, values in (parsed["profiles"] if read is load_config else parsed).items():
            found.setdefault(name, {}).update(values)
    return found


def _looks_like_ec2(root: Path) -> bool:
    for name, start in _ON_EC2:
        try:
            text = _under(root, name).read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        if text.startswith(start):
            return True
    return False


def _under(root: Path, name: str) -> Path:
    return root / name.lstrip("/")
