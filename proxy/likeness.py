"""Another gateway's environment variables, read as this proxy's settings, for in-place migration.

Its names are as general as ``API_KEY`` and ``DEBUG``, so they are read only if the operator names
the gateway (``--like``). Our own variables and flags override them. The old gateway's defaults
apply where they differ from ours; an empty variable counts as unset.

Source: the public repository aws-samples/bedrock-access-gateway, its README, usage guide and
deployment templates of May 2026 (the last before it was archived). Names and defaults only.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

_KEY_SETTINGS: Final = frozenset({"api_key", "api_key_secret", "keys", "client_keys"})
"""Ways to say one thing: where ours says any, the old ones are not read."""


class StandIn(NamedTuple):
    """A setting, its text, and where it comes from."""

    setting: str
    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Row:
    """``variable`` means ``setting``; ``read`` makes our text of its own, ``None`` for "says
    nothing". ``default`` is the old gateway's, in our words."""

    variable: str
    setting: str
    read: Callable[[str], str | None] = str
    default: str | None = None


def _switch(on: str | None, off: str | None) -> Callable[[str], str | None]:
    """The old gateway's booleans: whatever is not ``false`` is true."""
    return lambda text: off if text.lower() == "false" else on


BEDROCK_ACCESS_GATEWAY: Final = "bedrock-access-gateway"

LIKENESSES: Final[Mapping[str, tuple[Row, ...]]] = MappingProxyType(
    {
        BEDROCK_ACCESS_GATEWAY: (
            Row("API_KEY_PARAM_NAME", "api_key_secret", lambda name: f"ssm:{name}"),
            Row("API_KEY_SECRET_ARN", "api_key_secret"),
            Row("API_KEY", "api_key"),
            Row(
                "DEFAULT_MODEL",
                "default_model",
                default="anthropic.claude-3-sonnet-20240229-v1:0",
            ),
            Row(
                "DEFAULT_EMBEDDING_MODEL",
                "default_embedding_model",
                default="cohere.embed-multilingual-v3",
            ),
            Row("ENABLE_CROSS_REGION_INFERENCE", "geographies", _switch(None, "none")),
            Row(
                "ENABLE_APPLICATION_INFERENCE_PROFILES",
                "application_profiles",
                _switch("true", "false"),
            ),
            Row("ENABLE_PROMPT_CACHING", "auto_cache", _switch("true", "false")),
            Row("DEBUG", "log_level", _switch("debug", None)),
            Row("API_ROUTE_PREFIX", "route_prefix"),
            Row("AWS_REGION", "region", default="us-west-2"),
            Row("ALLOWED_ORIGINS", "cors_origins", default="*"),
            Row("PORT", "port", default="8080"),
            Row("", "host", default="0.0.0.0"),
            Row("", "reasoning_as", default="tags"),
        ),
    }
)


LIKENESS_VARIABLES: Final = frozenset(
    row.variable for rows in LIKENESSES.values() for row in rows if row.variable
)


def stand_ins(
    like: str, environment: Mapping[str, str], ours: Collection[str] = ()
) -> list[StandIn]:
    """What the environment of ``like`` says, each setting once: the first row that speaks wins,
    and none of the settings in ``ours`` is spoken of again."""
    taken = {_group(name) for name in ours}
    found: list[StandIn] = []
    for row in LIKENESSES[like]:
        text = environment.get(row.variable, "").strip() if row.variable else ""
        value, origin = (row.read(text), row.variable) if text else (row.default, f"like {like}")
        if value is not None and _group(row.setting) not in taken:
            taken.add(_group(row.setting))
            found.append(StandIn(row.setting, value, origin))
    return found


def _group(setting: str) -> str:
    return "key" if setting in _KEY_SETTINGS else setting
