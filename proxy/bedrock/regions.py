"""Regions, endpoints and what the operator's AWS configuration says of them.

The endpoint table is short enough to stand here (a test proves it equal to botocore's rule set over
all partitions); loading that rule set would cost 40 ms. Configured endpoints are read by botocore's
own provider, because their precedence is easy to get wrong: the global environment variable beats
the profile's entry for the service. Source: botocore 1.44 ``endpoint-rule-set-1`` and
``partitions``; AWS SDKs guide, *Service-specific endpoints*.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from proxy.bedrock.chain import Profile, has_files, open_session

Service = Literal["bedrock-runtime", "bedrock", "secretsmanager", "ssm"]
"""The last two may hold our clients' keys."""
SERVICES: Final[tuple[Service, ...]] = ("bedrock-runtime", "bedrock", "secretsmanager", "ssm")

DEFAULT_REGION: Final = "us-east-1"

_ENDPOINT_URL: Final = "AWS_ENDPOINT_URL"
_REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,20}){1,4}")


class _Partition(NamedTuple):
    pattern: re.Pattern[str]
    suffix: str
    dual_suffix: str


_COMMERCIAL: Final = _Partition(
    re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+"), "amazonaws.com", "api.aws"
)
# All of them have FIPS and dual-stack names. An unknown region follows the commercial rules.
_PARTITIONS: Final = (
    _Partition(re.compile(r"cn-\w+-\d+"), "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    _Partition(re.compile(r"us-gov-\w+-\d+"), "amazonaws.com", "api.aws"),
    _Partition(re.compile(r"eusc-(de)-\w+-\d+"), "amazonaws.eu", "api.amazonwebservices.eu"),
    _Partition(re.compile(r"us-iso-\w+-\d+"), "c2s.ic.gov", "api.aws.ic.gov"),
    _Partition(re.compile(r"us-isob-\w+-\d+"), "sc2s.sgov.gov", "api.aws.scloud"),
    _Partition(re.compile(r"eu-isoe-\w+-\d+"), "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    _Partition(re.compile(r"us-isof-\w+-\d+"), "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
_GLOBAL: Final = (
    ("aws-cn-global", 0), ("aws-us-gov-global", 1), ("aws-iso-global", 3),
    ("aws-iso-b-global", 4), ("aws-iso-e-global", 5), ("aws-iso-f-global", 6),
)  # fmt: skip

# The prefixes of inference profiles that a region is a source of, its own first. Only profiles
# that the region lists are ever chosen, so a prefix too many here does no harm.
_GEOGRAPHIES: Final = (
    ("us-gov-", ("us-gov",)),
    ("us-", ("us",)),
    ("ca-", ("ca", "us")),
    ("eu-", ("eu",)),
    ("ap-northeast-1", ("jp", "apac")),
    ("ap-northeast-3", ("jp", "apac")),
    ("ap-southeast-2", ("au", "apac")),
    ("ap-southeast-4", ("au", "apac")),
    ("ap-south-", ("in", "apac")),
    ("ap-", ("apac",)),
    ("sa-", ("sa", "us")),
    ("mx-", ("us",)),
    ("me-", ("me", "apac")),
    ("il-", ("eu",)),
)


@dataclass(frozen=True, slots=True)
class AwsConfig:
    """What the shared files and the environment say, read once. ``endpoints`` holds a configured
    URL by service, where there is one."""

    region: str | None
    fips: bool
    dualstack: bool
    endpoints: Mapping[str, str]
    profile: str | None = None


def choose_region(
    own: str | None, environment: Mapping[str, str], profile_region: str | None = None
) -> tuple[str, str]:
    """The runtime's region and where it was said: our own setting, ``AWS_REGION``,
    ``AWS_DEFAULT_REGION``, the profile, the default. Blank is unset."""
    candidates = (
        (own, "setting"),
        (environment.get("AWS_REGION"), "AWS_REGION"),
        (environment.get("AWS_DEFAULT_REGION"), "AWS_DEFAULT_REGION"),
        (profile_region, "profile"),
    )
    for value, origin in candidates:
        if value and value.strip():
            return value.strip(), origin
    return DEFAULT_REGION, "default"


def endpoint(service: Service, region: str, fips: bool = False, dualstack: bool = False) -> str:
    """The service's URL in a region. ``ValueError`` for what cannot be a region's name: it would
    become part of a host."""
    if not _REGION.fullmatch(region):
        raise ValueError(f"{region!r} is not an AWS region")
    partition = _partition(region)
    host = f"{service}{'-fips' if fips else ''}"
    suffix = partition.dual_suffix if dualstack else partition.suffix
    return f"https://{host}.{region}.{suffix}"


def geographies(region: str) -> tuple[str, ...]:
    """Geography prefixes of inference profiles for a region, in the order of preference; without
    ``global``. Empty where no geography is known."""
    for start, prefixes in _GEOGRAPHIES:
        if region.startswith(start):
            return prefixes
    return ()


def known_geographies() -> tuple[str, ...]:
    """Every geography prefix that is known here. AWS adds some without notice."""
    return (*dict.fromkeys(one for _, prefixes in _GEOGRAPHIES for one in prefixes), "global")


def read_config(environment: Mapping[str, str], profile: str | None = None) -> AwsConfig:
    """Region, endpoint variants and configured endpoints. Blocks on files (a ``Worker``'s call).

    Raises ``ValueError`` with the fix for a broken file, a ``services`` section that is not there,
    an endpoint that is no http(s) URL, or one together with FIPS or dual-stack.
    """
    scoped: Mapping[str, Any] = {}
    endpoints: Mapping[str, str] = {}
    used = Profile(None)
    if has_files(environment) or any(name.startswith(_ENDPOINT_URL) for name in environment):
        from botocore.exceptions import BotoCoreError

        try:
            whole, scoped, used = _files(environment, profile)
            endpoints = _configured_endpoints(whole, scoped, environment)
        except BotoCoreError as failure:
            raise ValueError(f"AWS configuration: {failure}") from failure
    fips = _flag(environment, scoped, "use_fips_endpoint")
    dualstack = _flag(environment, scoped, "use_dualstack_endpoint")
    if endpoints and (fips or dualstack):
        which = "FIPS" if fips else "dual-stack"
        raise ValueError(
            f"a custom endpoint ({next(iter(endpoints.values()))}) and {which} endpoints exclude"
            f" each other; unset one of them"
        )
    return AwsConfig(scoped.get("region"), fips, dualstack, endpoints, _name(used))


def check_endpoint(url: str) -> str:
    """``url`` without a trailing slash; ``ValueError`` unless it is http(s) with a host and at
    most a path."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not an http(s) endpoint")
    if parts.username or parts.password:
        raise ValueError("an endpoint must not contain a user name or password")
    return parts.geturl().rstrip("/")


def _partition(region: str) -> _Partition:
    for name, place in _GLOBAL:
        if region == name:
            return _PARTITIONS[place]
    return next((p for p in _PARTITIONS if p.pattern.fullmatch(region)), _COMMERCIAL)


def _files(
    environment: Mapping[str, str], profile: str | None
) -> tuple[Mapping[str, Any], Mapping[str, Any], Profile]:
    """What the shared files hold, and of that what the profile says. Without files there is no
    session to open: in a container botocore's costs 3.6 MB and 40 ms, and is often needed for
    nothing else."""
    if not has_files(environment):
        return {}, {}, Profile(None)
    session, used = open_session(environment, profile)
    return session.full_config, session.get_scoped_config(), used


def _configured_endpoints(
    whole: Mapping[str, Any], scoped: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, str]:
    from botocore.configprovider import ConfiguredEndpointProvider

    if _flag(environment, scoped, "ignore_configured_endpoint_urls"):
        return {}
    found: dict[str, str] = {}
    for service in SERVICES:
        url = ConfiguredEndpointProvider(
            full_config=whole,
            scoped_config=scoped,
            client_name=service,
            environ=environment,
        ).provide()
        if url:
            found[service] = check_endpoint(url)
    return found


def _flag(environment: Mapping[str, str], scoped: Mapping[str, Any], name: str) -> bool:
    """A switch by its name in the files; the environment's (``AWS_…``) comes first."""
    value = environment.get(f"AWS_{name.upper()}") or scoped.get(name) or ""
    return str(value).strip().lower() == "true"


def _name(profile: Profile) -> str | None:
    return profile.name
