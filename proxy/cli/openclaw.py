"""OpenClaw's configuration as ours: what it says of Bedrock, in our words. Pure.

Read are both shapes of the discovery options (``models.bedrockDiscovery`` of early 2026, and the
plugin's ``plugins.entries.amazon-bedrock.config``), every provider that speaks Bedrock's Converse,
and the agents' model with its aliases. What has no equivalent here is reported in a note, never
silently dropped; secrets are named and not copied.
Source: OpenClaw's documentation, *Amazon Bedrock*, February and mid 2026.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.tables import snake

PLUGIN: Final = "amazon-bedrock"
_API: Final = "bedrock-converse-stream"
_DISCOVERY: Final = frozenset(
    {
        "enabled", "region", "provider_filter", "refresh_interval", "default_context_window",
        "default_max_tokens",
    }
)  # fmt: skip
_MODEL: Final = frozenset(
    {"id", "name", "reasoning", "input", "cost", "context_window", "max_tokens"}
)
_SILENT: Final = frozenset({"base_url", "api", "auth", "models", "mode"})
"""Provider keys that are read elsewhere or mean nothing here."""
_SECRET: Final = re.compile(r"key|secret|token|password", re.IGNORECASE)
_PLUGIN_KEYS: Final = (
    ("awsRegion", "region"), ("awsProfile", "profile"), ("awsBedrockEndpoint", "runtime_endpoint"),
)  # fmt: skip
_AWS_HOST: Final = re.compile(
    r"https://bedrock-runtime\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_REGION_IN_HOST: Final = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z]{2,4}(?:-[a-z]+)+-\d)\.")


@dataclass(slots=True)
class Imported:
    """``tree`` is our TOML as mappings; ``notes`` tell what was not taken over, and why."""

    tree: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def convert(config: Mapping[str, Any]) -> Imported:
    """OpenClaw's parsed configuration to ours. Never raises for what it does not know."""
    done = Imported()
    plugin = _under(config, "plugins", "entries", PLUGIN, "config")
    _take_plugin(plugin, done)
    providers = {
        name: one
        for name, one in _under(config, "models", "providers").items()
        if isinstance(one, Mapping) and (name == PLUGIN or one.get("api") == _API)
    }
    manual: list[dict[str, Any]] = []
    for name, provider in providers.items():
        _take_address(name, provider, done)
        manual += _models(name, provider, done)
    names = frozenset((*providers, PLUGIN))
    _take_agents(_under(config, "agents"), names, done)
    discovery = _discovery(config, plugin, done)
    if discovery or manual:
        models: dict[str, Any] = {}
        if discovery:
            models["bedrock_discovery"] = discovery
        if manual:
            models["manual"] = list({row["id"]: row for row in manual}.values())
        done.tree["models"] = models
    if "$include" in config:
        done.notes.append("$include is not followed: import the file it names, too")
    return done


def _discovery(
    config: Mapping[str, Any], plugin: Mapping[str, Any], done: Imported
) -> dict[str, Any]:
    """The discovery options; the plugin's win over the older place."""
    found: dict[str, Any] = {}
    places = (
        ("models.bedrockDiscovery", _under(config, "models", "bedrockDiscovery")),
        (f"plugins.entries.{PLUGIN}.config.discovery", _under(plugin, "discovery")),
    )
    for where, options in places:
        for key, value in options.items():
            if snake(key) not in _DISCOVERY:
                done.notes.append(f"{where}.{key}: has no equivalent here")
            elif _is_told(f"{where}.{key}", value, done):
                found[snake(key)] = value
    if _under(config, "plugins", "entries", PLUGIN).get("enabled") is False:
        found["enabled"] = False
    return found


def _take_plugin(plugin: Mapping[str, Any], done: Imported) -> None:
    where = f"plugins.entries.{PLUGIN}.config"
    taken = dict(_PLUGIN_KEYS)
    for key, value in plugin.items():
        if key == "discovery":
            continue
        if key in taken:
            if _is_told(f"{where}.{key}", value, done):
                done.tree[taken[key]] = value
        elif _SECRET.search(key) and key != "thinkingBudgetTokens":
            done.notes.append(f"{where}.{key}: a secret is not copied; set AWS's own variables")
        else:
            done.notes.append(f"{where}.{key}: has no equivalent here")


def _take_address(name: str, provider: Mapping[str, Any], done: Imported) -> None:
    """``baseUrl``: AWS's own host says the region; another is an endpoint."""
    where = f"models.providers.{name}"
    for key in provider:
        if snake(key) in _SILENT:
            continue
        secret = _SECRET.search(key)
        why = (
            "a secret is not copied; set AWS's own variables"
            if secret
            else "has no equivalent here"
        )
        done.notes.append(f"{where}.{key}: {why}")
    url = provider.get("baseUrl")
    if not isinstance(url, str) or not _is_told(f"{where}.baseUrl", url, done):
        return
    url = url.rstrip("/")
    public, region = _AWS_HOST.fullmatch(url), _REGION_IN_HOST.search(url)
    named = public or region
    if named is not None and not _take_first("region", named[1], f"{where}.baseUrl", done):
        return  # another region's endpoint would refuse what is signed for ours
    if public is None:
        _take_first("runtime_endpoint", url, f"{where}.baseUrl", done)


def _take_first(key: str, value: str, where: str, done: Imported) -> bool:
    """Whether ``value`` is what ``key`` is now; the first one told counts."""
    if done.tree.setdefault(key, value) == value:
        return True
    done.notes.append(f"{where}: {value}, while `{key}` is {done.tree[key]} already")
    return False


def _models(name: str, provider: Mapping[str, Any], done: Imported) -> Iterator[dict[str, Any]]:
    models = provider.get("models")
    for place, model in enumerate(models if isinstance(models, list) else ()):
        where = f"models.providers.{name}.models[{place}]"
        if not isinstance(model, Mapping) or not isinstance(model.get("id"), str):
            done.notes.append(f"{where}: has no id")
            continue
        row: dict[str, Any] = {}
        for key, value in model.items():
            if snake(key) not in _MODEL:
                done.notes.append(f"{where}.{key}: has no equivalent here")
            elif _is_told(f"{where}.{key}", value, done):
                row[snake(key)] = _cost(where, value, done) if key == "cost" else value
        if "id" in row:
            yield row


def _cost(where: str, cost: Any, done: Imported) -> Any:
    if not isinstance(cost, Mapping):
        return cost
    kept = {}
    for key, price in cost.items():
        if snake(key) in ("input", "output", "cache_read", "cache_write"):
            kept[snake(key)] = price
        else:
            done.notes.append(f"{where}.cost.{key}: has no equivalent here")
    return kept


def _take_agents(agents: Mapping[str, Any], names: frozenset[str], done: Imported) -> None:
    """The agents' model becomes the default one, their aliases ours."""
    defaults = _under(agents, "defaults")
    model = defaults.get("model")
    primary = model if isinstance(model, str) else _under(defaults, "model").get("primary")
    if isinstance(primary, str):
        if (bedrock := _ours(primary, names)) is not None:
            done.tree["default_model"] = bedrock
        else:
            done.notes.append(f"agents.defaults.model: {primary} is not a model of Bedrock")
    if fallbacks := _under(defaults, "model").get("fallbacks"):
        done.notes.append(f"agents.defaults.model.fallbacks: stay with the client ({fallbacks})")
    aliases: dict[str, str] = {}
    for ref, options in _under(defaults, "models").items():
        alias = options.get("alias") if isinstance(options, Mapping) else None
        target = _ours(ref, names)
        if isinstance(alias, str) and alias and target is not None and alias != target:
            aliases[alias] = target
    if aliases:
        done.tree["aliases"] = aliases


def _ours(ref: str, names: frozenset[str]) -> str | None:
    """The model of ``provider/model``, if the provider is Bedrock."""
    provider, _, model = ref.partition("/")
    return model if provider in names and model else None


def _is_told(where: str, value: object, done: Imported) -> bool:
    """Whether ``value`` says something by itself: a reference to a variable does not."""
    if isinstance(value, str) and "${" in value:
        done.notes.append(f"{where}: {value} refers to a variable, which is not resolved here")
        return False
    return value is not None


def _under(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The mapping at ``path``; an empty one where there is none."""
    for name in path:
        inner = tree.get(name)
        if not isinstance(inner, Mapping):
            return {}
        tree = inner
    return tree
