"""Every setting, read once into a frozen value that knows where each part came from.

Flags win over the environment (``BEDROCK_PROXY_<NAME>``), the environment over the TOML file, the
file over the defaults. Names are the same in all three. AWS's own variables keep their names; who
needs them reads them from ``Loaded.environment``, a copy: nothing else looks at ``os.environ``. An
unknown key, a value of the wrong type and a secret that is set but empty are start-up errors that
say what to write instead.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from proxy.likeness import LIKENESSES, stand_ins
from proxy.tables import (
    ManualModel,
    TargetRow,
    read_aliases,
    read_endpoint,
    read_manual,
    read_pairs,
    read_prefix,
    read_region,
    read_regions,
    read_role,
    read_targets,
    snake,
)
from proxy.values import read_host, read_hosts, read_key, read_port, typed

DISCOVERY: Final = "models.bedrock_discovery"
PREFIX: Final = "BEDROCK_PROXY_"


class SettingsError(Exception):
    """A setting is wrong; the message says which, why, and what to write instead."""


def _setting(
    default: Any,
    help: str,
    *,
    table: str = "",
    low: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    read: Callable[[object], object] | None = None,
    key: str = "",
    flag: bool = True,
) -> Any:
    """A field of ``Settings``: ``low`` is the smallest allowed number, ``table`` its TOML table.

    ``read`` makes the value where its type alone does not say how, and raises ``ValueError``;
    ``key`` is its key in the file, if that is not its name; not ``flag``: no line would hold it.
    """
    metadata = {
        "help": help, "table": table, "low": low, "choices": choices, "secret": secret,
        "read": read, "key": key, "flag": flag,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decided. Durations are in seconds."""

    host: str = _setting(
        "127.0.0.1", "address to listen on; `::` is every one of IPv6 and IPv4", read=read_host
    )
    port: int = _setting(8000, "port to listen on; 0 picks a free one", low=0, read=read_port)
    workers: int = _setting(1, "processes that share the port", low=1)
    api_key: str | None = _setting(None, "key that clients must send", secret=True, read=read_key)
    api_key_secret: str | None = _setting(
        None,
        "where in AWS to read that key from: a secret's ARN, `secretsmanager:NAME` or `ssm:NAME`",
    )
    keys: str | None = _setting(
        None,
        "a key per client: a file, a secret's ARN, `secretsmanager:NAME` or `ssm:NAME`",
    )
    no_auth: bool = _setting(False, "serve without a key on a non-loopback address")
    like: str | None = _setting(
        None,
        "read that gateway's variables and defaults: `bedrock-access-gateway`",
        choices=tuple(LIKENESSES),
    )
    route_prefix: str | None = _setting(
        None, "an additional prefix for all routes", read=read_prefix
    )
    metrics_public: bool = _setting(False, "`/metrics` needs no key")
    metrics_port: int | None = _setting(
        None,
        "serve `/metrics` on this port, without a key, instead of on `port`",
        low=0,
        read=read_port,
    )
    metrics_host: str = _setting("127.0.0.1", "address of the metrics port", read=read_host)
    metrics_key_label: bool = _setting(False, "also count requests and tokens by key name")
    tracing: bool = _setting(False, "send OpenTelemetry spans (needs the extra `otel`)")
    log_level: str = _setting(
        "info", "lowest level that is logged", choices=("debug", "info", "warning", "error")
    )
    log_format: str = _setting(
        "auto", "`auto` is text on a terminal, else JSON", choices=("auto", "json", "text")
    )
    engine: str = _setting(
        "fast", "HTTP client for AWS: `fast` or `httpx`", choices=("fast", "httpx")
    )
    region: str | None = _setting(
        None,
        "AWS region; else `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, `us-east-1`",
        read=read_region,
    )
    profile: str | None = _setting(None, "AWS profile; overrides keys in the environment")
    role_arn: str | None = _setting(
        None, "role to assume with the credentials found", read=read_role
    )
    role_external_id: str | None = _setting(None, "external id for that role")
    role_session_name: str = _setting("bedrock-openai-proxy", "session name for that role")
    runtime_endpoint: str | None = _setting(
        None, "URL of bedrock-runtime in `region`; else AWS's own settings", read=read_endpoint
    )
    control_endpoint: str | None = _setting(
        None, "URL of bedrock (the listings) in `region`; else the same", read=read_endpoint
    )
    client_keys: bool = _setting(
        False, "each client sends its own Bedrock API key, which is passed on to AWS"
    )
    targets: tuple[TargetRow, ...] = _setting(
        (),
        "where calls go when `region` throttles or fails: regions, or `[[targets]]`",
        read=read_targets,
    )
    default_model: str | None = _setting(None, "serves requests without a model, and `gpt-*` names")
    default_embedding_model: str | None = _setting(
        None, "serves embeddings without a model, and `text-embedding-*` names"
    )
    aliases: tuple[tuple[str, str], ...] = _setting(
        (), "your own names for models: `name=id,…`, or `[aliases]`", read=read_aliases
    )
    geographies: tuple[str, ...] = _setting(
        (),
        "residency: only profiles with these prefixes, best first; or `none`",
    )
    usage_cost: bool = _setting(False, "show `usage.cost` for models with a `cost`")
    strict: bool = _setting(False, "dropped or repaired parameters become 400s")
    forward_user: bool = _setting(False, "send `user` to AWS as request metadata")
    stream_usage: str = _setting(
        "asked", "`always` sends usage even if not requested", choices=("asked", "always")
    )
    reasoning_as: str = _setting(
        "reasoning_content",
        "how reasoning is shown; `tags` puts it into the text as `<think>`",
        choices=("reasoning_content", "reasoning", "thinking_blocks", "tags"),
    )
    auto_cache: bool = _setting(False, "place cache points if the client placed none")
    max_choices: int = _setting(8, "largest `n`; each choice is a call of its own", low=1)
    max_body_mb: float = _setting(25.0, "largest request body, in MB (10^6 bytes)", low=0.001)
    memory: bool = _setting(True, "remember tool turns' reasoning for clients that drop it")
    memory_mb: float = _setting(64.0, "size limit per process, in MB (10^6 bytes)", low=0.1)
    memory_ttl: float = _setting(86400.0, "how long a turn is remembered after its last use", low=1)
    valkey_url: str | None = _setting(
        None,
        "Valkey or Redis shared by all replicas for memory and limits: `redis://host:6379`",
        secret=True,
    )
    valkey_key: str | None = _setting(
        None, "secret that encrypts what is remembered there", secret=True
    )
    repair_ttl: float = _setting(86400.0, "how long what was learned about a model is kept", low=1)
    explain: bool = _setting(False, "serve `POST /v1/explain`")
    max_streams: int = _setting(1000, "largest number of concurrent answers", low=1)
    max_concurrent: int | None = _setting(
        None, "concurrent answers of all keys; above it requests get a 429", low=1
    )
    requests_per_minute: int | None = _setting(None, "requests per minute, of all keys", low=1)
    tokens_per_minute: int | None = _setting(
        None, "tokens per minute, input and output, of all keys", low=1
    )
    daily_budget_usd: float | None = _setting(
        None, "spending per day (UTC) of all keys, for models with a `cost`", low=0.000001
    )
    limits_fail: str = _setting(
        "closed",
        "while `valkey_url` is unreachable: `closed` refuses, `open` counts per process",
        choices=("closed", "open"),
    )
    guardrail: str | None = _setting(
        None, "`ID:VERSION` of a guardrail for every answer; requests cannot remove it"
    )
    request_metadata: tuple[tuple[str, str], ...] = _setting(
        (), "pairs for AWS's invocation logs, with every call: `team=search,…`", read=read_pairs
    )
    service_tier: str | None = _setting(
        None,
        "service tier of every call; overrides the request",
        choices=("default", "flex", "priority", "reserved"),
    )
    fetch_media: str = _setting(
        "auto",
        "fetch https:// images and files: `auto` (if a key is required) or `off`",
        choices=("auto", "off"),
    )
    media_hosts: tuple[str, ...] = _setting(
        (), "the only hosts to fetch from; `*.example.com` is any subdomain", read=read_hosts
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "web origins that may call: `https://app.example.com`; `*` means any and needs a key"
    )
    grace: float = _setting(5.0, "how long the HTTP status waits for Bedrock's first event", low=0)
    first_byte_timeout: float = _setting(180.0, "longest wait for Bedrock's first event", low=0.01)
    stall_timeout: float = _setting(120.0, "longest silence of Bedrock within a stream", low=0.01)
    total_timeout: float = _setting(1800.0, "longest answer, retries included", low=0.01)
    keepalive_interval: float = _setting(15.0, "silence before an SSE comment is sent", low=0.01)
    heartbeat_interval: float = _setting(20.0, "silence before an empty chunk is sent", low=0.01)
    drain_timeout: float = _setting(30.0, "how long streams may finish after SIGTERM", low=0)
    pre_stop: float = _setting(0.0, "how long to keep listening after SIGTERM", low=0)
    idle_timeout: float = _setting(
        75.0, "how long an idle connection is kept; set it above the load balancer's", low=1
    )
    enabled: bool | None = _setting(
        None, "list models from AWS; unset: when AWS credentials are found", table=DISCOVERY
    )
    discovery_region: tuple[str, ...] = _setting(
        (),
        "region or regions to list (in the file `region`); else `region`",
        table=DISCOVERY,
        key="region",
        read=read_regions,
    )
    provider_filter: tuple[str, ...] = _setting((), "only these Bedrock providers", table=DISCOVERY)
    refresh_interval: float = _setting(
        3600.0,
        "seconds between listings; 0 lists for each `GET /v1/models`",
        table=DISCOVERY,
        low=0,
    )
    default_context_window: int = _setting(
        32000, "shown for models whose limits are unknown", table=DISCOVERY, low=1
    )
    default_max_tokens: int = _setting(
        4096, "shown for models whose limits are unknown", table=DISCOVERY, low=1
    )
    include_legacy: bool = _setting(False, "also list models in LEGACY state", table=DISCOVERY)
    application_profiles: bool = _setting(
        True, "also list your application inference profiles", table=DISCOVERY
    )
    manual: tuple[ManualModel, ...] = _setting(
        (),
        "models that you describe, as `[[models.manual]]`; they override discovery",
        table="models",
        read=read_manual,
        flag=False,
    )


FIELDS: Final[Mapping[str, Field[Any]]] = MappingProxyType(
    {one.name: one for one in fields(Settings)}
)


def _key_of(name: str) -> str:
    """A setting's key in the file, with its table."""
    metadata = FIELDS[name].metadata
    return ".".join(filter(None, (metadata["table"], metadata["key"] or name)))


KEYS: Final[Mapping[str, str]] = MappingProxyType({_key_of(name): name for name in FIELDS})
"""A key in the file to its setting."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """``settings``, where each came from, and the environment they were read beside."""

    settings: Settings
    origins: Mapping[str, str]
    """Setting name to ``flag``, the variable's name, ``<file>:<key>`` or ``default``."""
    environment: Mapping[str, str]
    again: Callable[[], "Loaded"] | None = None
    """Reads the same flags, file and environment once more. Raises ``SettingsError``."""


def load(
    flags: Mapping[str, object] | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the settings once. ``flags`` hold only what was given on the command line.

    ``environment`` defaults to the process's own. Raises ``SettingsError``.
    """
    environment = dict(os.environ if environment is None else environment)
    if file is None and environment.get(PREFIX + "CONFIG"):
        file = Path(environment[PREFIX + "CONFIG"])
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None:
        for name, value, key in _from_file(file):
            values[name], origins[name] = _checked(name, value, f"{file}: {key}"), f"{file}:{key}"
    like = (flags or {}).get("like", environment.get(PREFIX + "LIKE", values.get("like")))
    if like is not None:
        ours = {v.removeprefix(PREFIX).lower() for v in environment if v.startswith(PREFIX)}
        for name, text, origin in stand_ins(
            str(_checked("like", like, "like")), environment, ours.union(flags or ())
        ):
            values[name], origins[name] = _checked(name, text, origin), origin
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name == "config":
            continue
        if name not in FIELDS:
            raise SettingsError(f"{variable} is not a setting{_hint(name, PREFIX, str.upper)}")
        values[name], origins[name] = _checked(name, text, variable), variable
    for name, value in (flags or {}).items():
        values[name], origins[name] = _checked(name, value, _flag(name)), "flag"
    _check_together(values)
    from_where = {name: origins.get(name, "default") for name in FIELDS}
    again = partial(load, flags, file, environment)
    return Loaded(Settings(**values), from_where, environment, again)


def _from_file(file: Path) -> list[tuple[str, object, str]]:
    """(setting, value, its key in the file) for every key of the TOML file."""
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SettingsError(f"{file}: cannot be read: {fault.strerror}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SettingsError(f"{file}: not valid TOML: {fault}") from fault
    found: list[tuple[str, object, str]] = []
    for key, value in _flatten(tree, ""):
        name = KEYS.get(_path(key))
        if name is None:
            last = snake(key.rpartition(".")[2])
            raise SettingsError(f"{file}: `{key}` is not a setting{_hint(last, '', _key_of)}")
        found.append((name, value, key))
    return found


def _path(key: str) -> str:
    """A key of the file in snake_case: OpenClaw's documentation uses camelCase."""
    return snake(key) if "." in key else key


def _flatten(tree: Mapping[str, object], above: str) -> list[tuple[str, object]]:
    leaves: list[tuple[str, object]] = []
    for key, value in tree.items():
        path = f"{above}{key}"
        inner = isinstance(value, dict) and _path(path) not in KEYS
        # mypy does not see through ``inner`` that the value is a table.
        leaves += _flatten(value, f"{path}.") if inner else [(path, value)]  # type: ignore[arg-type]
    return leaves


def _check_together(values: Mapping[str, Any]) -> None:
    """What excludes each other. Raises ``SettingsError``."""
    for name in ("api_key", "api_key_secret", "keys"):
        if values.get("client_keys") and values.get(name):
            raise SettingsError(
                f"client_keys and {name} exclude each other: a client has one key to send; "
                "unset one"
            )
    if values.get("api_key") and values.get("api_key_secret"):
        raise SettingsError("api_key and api_key_secret exclude each other; unset one")
    if values.get("role_external_id") and not values.get("role_arn"):
        raise SettingsError("role_external_id needs a role_arn")


def _hint(name: str, prefix: str, spell: Any) -> str:
    near = get_close_matches(name, FIELDS, n=1)
    return f"; did you mean `{prefix}{spell(near[0])}`?" if near else ""


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _checked(name: str, value: object, where: str) -> object:
    """``value`` (text from the environment, or typed from TOML and flags) as the setting's type."""
    one = FIELDS[name]
    kind, metadata = str(one.type), one.metadata
    try:
        found = (metadata["read"] or partial(typed, kind))(value)
    except ValueError as fault:
        raise SettingsError(f"{where}: {fault}") from None
    if metadata["choices"] and found not in metadata["choices"]:
        raise SettingsError(f"{where}: must be one of {', '.join(metadata['choices'])}")
    if metadata["low"] is not None and isinstance(found, (int, float)) and found < metadata["low"]:
        raise SettingsError(f"{where}: must be at least {metadata['low']:g}")
    if metadata["secret"] and not str(found).strip():
        raise SettingsError(f"{where}: is set but empty; unset it, or give it a value")
    return found
