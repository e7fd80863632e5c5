"""The models, profiles and other callable things of the simulated account, and who a name means.

`Estate` is built once per simulator from the table in `foundation.py`. It answers one question for
the runtime plane, `resolve` (a model id or ARN to the foundation model behind it), and holds the
summaries that the control plane lists. Every geography's system profiles exist at once, whatever
the region: one simulator stands for any of them, so that a client's choice can be tested. (The
real service lists only those of its own region.)

Refusals here are recorded ones: unknown id, bare id of a profile-only model, model at its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from proxy.simulator.families import family_of
from proxy.simulator.family import Family
from proxy.simulator.foundation import TABLE
from proxy.simulator.refusals import Refusal, invalid

ACCOUNT = "123456789012"
GEOGRAPHIES = MappingProxyType(
    {"u": "us", "e": "eu", "p": "apac", "a": "au", "j": "jp", "i": "in", "g": "global"}
)
PROFILE_REGIONS = MappingProxyType(
    {
        "us": ("us-east-1", "us-east-2", "us-west-2"),
        "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
        "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
        "au": ("ap-southeast-2", "ap-southeast-4"),
        "jp": ("ap-northeast-1", "ap-northeast-3"),
        "in": ("ap-south-1", "ap-south-2"),
    }
)
MODALITIES = MappingProxyType(
    {
        "T": "TEXT",
        "I": "IMAGE",
        "V": "VIDEO",
        "S": "SPEECH",
        "A": "AUDIO",
        "E": "EMBEDDING",
    }
)
INFERENCE = MappingProxyType({"D": "ON_DEMAND", "P": "PROVISIONED", "I": "INFERENCE_PROFILE"})
_ARN = re.compile(r"arn:aws(?:-[a-z-]+)?:bedrock:([a-z0-9-]*):(\d*):([a-z-]+)/(.+)")


@dataclass(frozen=True, slots=True)
class Foundation:
    """One row of the table. Limits are tokens; 0 where the table says nothing."""

    id: str
    name: str
    provider: str
    inputs: str
    outputs: str
    streaming: bool | None
    types: str
    life: str
    geographies: tuple[str, ...]
    context: int
    output_limit: int

    @property
    def chats(self) -> bool:
        """Whether Converse serves it; Rerank and Pegasus are InvokeModel only."""
        told = "T" in self.inputs and self.outputs == "T"
        return told and not any(word in self.id for word in ("rerank", "pegasus"))


@dataclass(frozen=True, slots=True)
class Profile:
    """An inference profile: `regions` holds "" for the region-less ARN of a global one."""

    id: str
    arn: str
    name: str
    description: str
    foundation: str
    regions: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a model id means: the foundation model, its family, and whether a profile was named."""

    model: Foundation
    family: Family
    by_profile: bool


@dataclass(frozen=True, slots=True)
class Estate:
    region: str
    models: dict[str, Foundation]
    profiles: dict[str, Profile]
    provisioned: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @classmethod
    def build(cls, region: str) -> Estate:
        models = {model.id: model for model in _read(TABLE)}
        profiles = {p.id: p for p in (*_system_profiles(models, region), *_own_profiles(region))}
        owner = f"arn:aws:bedrock:{region}:{ACCOUNT}"
        provisioned = {
            f"{owner}:provisioned-model/9fq4a1k2m3n5": "anthropic.claude-3-haiku-20240307-v1:0"
        }
        others = {
            f"{owner}:imported-model/4ky2v8b1q7ws": "meta.llama3-1-8b-instruct-v1:0",
            f"{owner}:custom-model-deployment/7hd02ksl4mzx": "amazon.nova-micro-v1:0",
            f"{owner}:default-prompt-router/anthropic.claude:1": (
                "anthropic.claude-3-5-sonnet-20240620-v1:0"
            ),
        }
        return cls(region, models, profiles, provisioned, others)

    def resolve(self, model_id: str, *, bare: bool = False) -> Target:
        """The model a call means. Raises `Refusal` as the service does.

        With `bare` (CountTokens) a profile-only model may be named by its own id.
        """
        foundation, by_profile = self._foundation(model_id)
        model = self.models.get(foundation)
        if model is None:
            raise invalid("The provided model identifier is invalid.")
        if model.life == "G":
            raise Refusal(
                "ResourceNotFoundException",
                "This model version has reached the end of its life. Please refer to the AWS "
                "documentation for more details.",
            )
        if not (by_profile or bare) and "D" not in model.types:
            raise invalid(
                f"Invocation of model ID {model_id} with on-demand throughput isn\u2019t "
                "supported. Retry your request with the ID or ARN of an inference profile that "
                "contains this model."
            )
        return Target(model, family_of(foundation), by_profile)

    def _foundation(self, model_id: str) -> tuple[str, bool]:
        if model_id in self.profiles:
            return self.profiles[model_id].foundation, True
        for owned in (self.provisioned, self.others):
            if model_id in owned:
                return owned[model_id], True
        arn = _ARN.fullmatch(model_id)
        if arn is None:
            return model_id, False
        kind, name = arn.group(3), arn.group(4)
        if kind == "foundation-model":
            return name, False
        if kind.endswith("inference-profile") and name in self.profiles:
            return self.profiles[name].foundation, True
        return "", False


def _read(table: str) -> list[Foundation]:
    models, vendor, provider = [], "", ""
    for line in table.splitlines():
        if line.startswith("["):
            vendor, _, provider = line[1:].partition("] ")
            continue
        columns = line.split(None, 8)
        inputs, _, outputs = columns[1].partition(">")
        models.append(
            Foundation(
                id=f"{vendor}.{columns[0]}",
                name=columns[8],
                provider=provider,
                inputs=inputs,
                outputs=outputs,
                streaming={"y": True, "n": False}.get(columns[2]),
                types=columns[3].replace("-", ""),
                life=columns[4],
                geographies=tuple(GEOGRAPHIES[g] for g in columns[5] if g != "-"),
                context=_tokens(columns[6]),
                output_limit=_tokens(columns[7]),
            )
        )
    return models


def _tokens(text: str) -> int:
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)


def _system_profiles(models: dict[str, Foundation], region: str) -> list[Profile]:
    profiles = []
    for model in models.values():
        for geography in model.geographies:
            profile_id = f"{geography}.{model.id}"
            where = PROFILE_REGIONS.get(geography, (region, ""))
            profiles.append(
                Profile(
                    id=profile_id,
                    arn=f"arn:aws:bedrock:{region}:{ACCOUNT}:inference-profile/{profile_id}",
                    name=_plain(f"{geography.upper()} {model.name}"),
                    description=f"Routes {_plain(model.name)} to {' '.join(where)}".rstrip(),
                    foundation=model.id,
                    regions=where,
                    kind="SYSTEM_DEFINED",
                )
            )
    return profiles


def _plain(name: str) -> str:
    """A name in the charset of profile names and descriptions: words and single separators."""
    return " ".join(re.findall(r"[0-9A-Za-z]+", name))


def _own_profiles(region: str) -> list[Profile]:
    own = (
        ("1arbu5hu2sjr", "team-search", "anthropic.claude-haiku-4-5-20251001-v1:0", (region, "")),
        ("mi1dadi0g15f", "cost-centre-42", "amazon.nova-micro-v1:0", (region,)),
    )
    return [
        Profile(
            id=profile_id,
            arn=f"arn:aws:bedrock:{region}:{ACCOUNT}:application-inference-profile/{profile_id}",
            name=name,
            description=f"Application profile {name} made by the simulator",
            foundation=foundation,
            regions=regions,
            kind="APPLICATION",
        )
        for profile_id, name, foundation, regions in own
    ]


def end_of_life(model: Foundation) -> date | None:
    """The announced end of a LEGACY model; the simulator gives them all the same far date."""
    return date(2030, 1, 15) if model.life == "L" else None
