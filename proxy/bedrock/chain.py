"""Where AWS credentials come from: an ordered chain of sources, tried one after the other.

``Chain.load`` blocks (files, metadata services, STS, login commands), so it runs in a ``Worker``.
Every call uses a new botocore session: a rotated file or a new role is seen by the next one, and
botocore's own refreshing never runs in the request path. The order is that of OpenClaw's
documentation: key and secret of the environment, then ``AWS_PROFILE`` (if it does not exist there
is a warning and it is skipped), then botocore's default chain, which ends at the container and
instance metadata services (IMDSv2) without any switch. A bearer key comes before all of these and
needs no chain; see ``credentials.py``.

``load`` raises ``Unavailable`` and nothing else. Source of the chain: botocore 1.44,
``botocore.credentials.create_credential_resolver``; botocore itself reads the process environment.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import devnull
from os.path import exists, expanduser
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

_SOUND: Final = re.compile(r"[\x21-\x7e]+")
"""What keys and tokens consist of. A line end in one would end a header of the request."""

Mark = tuple[tuple[str, int, int], ...]
"""Path, time of change (ns) and size of each configuration file that exists."""


class Unavailable(Exception):
    """No credentials. ``absent``: every source was asked and none had any (else one failed).

    ``reason`` is a short word for metrics and readiness; the message may name files and roles and
    belongs in the log only.
    """

    def __init__(self, message: str, reason: str, *, absent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.absent = absent


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials at one moment. ``source`` is one of a few words (botocore's provider names),
    ``detail`` says more to a person, ``expiry`` is unix time (s), ``None`` if they do not expire.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    source: str = "env"
    detail: str = ""
    expiry: float | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """A role to assume with whatever the chain finds. ``seconds`` is the session's life."""

    arn: str
    external_id: str | None = None
    session_name: str = "bedrock-openai-proxy"
    seconds: int = 3600


class Chain:
    """The sources of one identity. Blocking; used by one thread at a time.

    ``profile`` is the operator's own setting: it wins over the environment's keys, as it does in
    botocore. ``region`` is where STS is asked (the region's own endpoint).
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        region: str,
        profile: str | None = None,
        role: Role | None = None,
    ) -> None:
        self._environment = environment
        self._region = region
        self._profile = profile or None
        self._role = role
        self._warned: str | None = None

    def load(self) -> Keys:
        """Fresh credentials. Raises ``Unavailable``."""
        import botocore.exceptions as aws
        from botocore.parsers import ResponseParserError

        # Sources differ in what they raise: a broken file, a login command's junk (Value,
        # Lookup), a refused STS call or a page instead of XML, a time that cannot be parsed.
        try:
            keys = _sound(self._base())
            return keys if self._role is None else self._assume(keys, self._role)
        except (
            aws.BotoCoreError, aws.ClientError, ResponseParserError, OSError, RuntimeError,
            ValueError, TypeError, LookupError,
        ) as failure:  # fmt: skip
            raise Unavailable(str(failure), type(failure).__name__) from failure

    def mark(self) -> Mark:
        """The state of the shared files: a change means that ``load`` may answer differently."""
        found = []
        for path in config_files(self._environment):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((str(path), status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _base(self) -> Keys:
        from proxy.bedrock import signing  # noqa: F401  # paid for here, not on the event loop

        if self._profile is None and (keys := environment_keys(self._environment)) is not None:
            return keys
        session, profile = open_session(self._environment, self._profile, self._region)
        self._warn(profile)
        resolver = session.get_component("credential_provider")
        resolver.remove("env")  # was asked above; half a pair there would end the chain
        if metadata_is_off(self._environment):
            resolver.remove("iam-role")
        credentials = resolver.load_credentials()
        if credentials is None:
            raise Unavailable(
                "no credentials in the environment, the shared files, or a metadata service",
                "NoCredentials",
                absent=True,
            )
        return _frozen(credentials, profile.name)

    def _assume(self, keys: Keys, role: Role) -> Keys:
        session, _ = open_session(self._environment, self._profile, self._region)
        client = session.create_client(
            "sts",
            region_name=self._region,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=keys.token,
        )
        asked = {
            "RoleArn": role.arn,
            "RoleSessionName": role.session_name,
            "DurationSeconds": role.seconds,
        }
        if role.external_id:
            asked["ExternalId"] = role.external_id
        given = client.assume_role(**asked)["Credentials"]
        return Keys(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            source="assume-role",
            detail=f"role over {keys.source}",
            expiry=given["Expiration"].timestamp(),
            account=role.arn.split(":")[4] if role.arn.count(":") >= 5 else None,
        )

    def _warn(self, profile: "Profile") -> None:
        if profile.missing and profile.missing != self._warned:
            self._warned = profile.missing
            logger.warning(
                "AWS profile %r does not exist in the shared files; continuing the credential"
                " chain without it",
                profile.missing,
            )


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile in use (``None``: botocore's default) and the one that was asked for in vain."""

    name: str | None
    missing: str | None = None


def environment_keys(environment: Mapping[str, str]) -> Keys | None:
    """Key and secret (and token) of the environment; blank is unset, half a pair is none."""
    access, secret, expiry = (
        environment.get(name, "").strip()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CREDENTIAL_EXPIRATION")
    )
    if not access or not secret:
        if access or secret:
            logger.warning(
                "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set; ignored"
            )
        return None
    token = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_SECURITY_TOKEN") or ""
    return Keys(
        access,
        secret,
        token.strip() or None,
        source="env",
        detail="AWS_ACCESS_KEY_ID",
        expiry=_unix(expiry) if expiry else None,
        account=environment.get("AWS_ACCOUNT_ID", "").strip() or None,
    )


def _sound(keys: Keys) -> Keys:
    """``keys``, if no request would break by them. Raises ``Unavailable``; names no value."""
    told = {
        "access key": keys.access_key,
        "secret key": keys.secret_key,
        "session token": keys.token or "-",
    }
    for what, value in told.items():
        if not _SOUND.fullmatch(value):
            place = f"{keys.source} ({keys.detail})" if keys.detail else keys.source
            raise Unavailable(
                f"the {what} from {place} contains a line break, a space or another character that"
                " no AWS key has; it may have been pasted with text around it",
                "MalformedCredentials",
            )
    return keys


def open_session(
    environment: Mapping[str, str], profile: str | None, region: str | None = None
) -> tuple[Any, Profile]:
    """A botocore session with short time limits, and the profile it uses. STS is asked in the
    profile's region, else in ``region``.

    A profile that does not exist is left out, whoever asked for it. ``default`` may always be
    asked for, with or without shared files (older instructions tell users of instance roles to set
    it).
    """
    from botocore.config import Config
    from botocore.session import Session

    asked = profile or _profile_of(environment)
    credentials, config = config_files(environment)
    said = {  # what our environment says, so that botocore need not look for itself
        "config_file": (None, None, str(config), None),
        "credentials_file": (None, None, str(credentials), None),
        "profile": (None, None, None, None),
    }
    session = Session(session_vars=said)
    missing = asked if asked and asked not in profile_names(session) else None
    if asked and not missing:
        said["profile"] = (None, None, asked, None)
        session = Session(session_vars=said, profile=profile)
    # STS and SSO: as patient as a start may be, not as botocore's minute.
    session.set_default_client_config(
        Config(connect_timeout=3, read_timeout=8, retries={"total_max_attempts": 2})
    )
    if region and session.get_config_variable("region") is None:
        session.set_config_variable("region", region)  # botocore does not read AWS_REGION
    name = None if missing else asked
    return session, Profile(name, None if missing == "default" else missing)


def metadata_is_off(environment: Mapping[str, str]) -> bool:
    """``AWS_EC2_METADATA_DISABLED``: the instance's metadata service must not be asked."""
    return environment.get("AWS_EC2_METADATA_DISABLED", "").strip().lower() == "true"


def profile_names(session: Any) -> frozenset[str]:
    """The profiles of the shared files."""
    return frozenset(session.full_config.get("profiles", {}))


def config_files(environment: Mapping[str, str]) -> tuple[Path, Path]:
    """The shared credentials file and the shared configuration file."""
    home = home_folder(environment)
    credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE")
    config = environment.get("AWS_CONFIG_FILE")
    return (
        Path(expanduser(credentials)) if credentials else home / ".aws" / "credentials",
        Path(expanduser(config)) if config else home / ".aws" / "config",
    )


def has_files(environment: Mapping[str, str]) -> bool:
    """Whether any shared file is there to be read."""
    return any(str(path) != devnull and exists(path) for path in config_files(environment))


def home_folder(environment: Mapping[str, str]) -> Path:
    """The user's folder. A numeric uid in a container may have none: then ``~``, as it is written,
    where nothing is found (``Path.expanduser`` would raise)."""
    return Path(environment.get("HOME") or expanduser("~"))


def _profile_of(environment: Mapping[str, str]) -> str | None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        if value := environment.get(name, "").strip():
            return value
    return None


def _unix(text: str) -> float | None:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        logger.warning("AWS_CREDENTIAL_EXPIRATION is not an ISO 8601 time; ignored")
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _frozen(credentials: Any, profile: str | None) -> Keys:
    """botocore's credentials, fetched if they are lazy, as plain values.

    A freshly fetched set must not be fetched again for being short-lived: botocore's own refresh
    windows are switched off (private names; without them we would ask twice, nothing worse).
    """
    for window in ("_advisory_refresh_timeout", "_mandatory_refresh_timeout"):
        if hasattr(credentials, window):
            setattr(credentials, window, 0)
    frozen = credentials.get_frozen_credentials()
    expiry = getattr(credentials, "_expiry_time", None)
    return Keys(
        frozen.access_key,
        frozen.secret_key,
        frozen.token or None,
        source=credentials.method,
        detail=f"profile {profile}" if profile else "",
        expiry=expiry.timestamp() if isinstance(expiry, datetime) else None,
        account=getattr(frozen, "account_id", None),
    )
