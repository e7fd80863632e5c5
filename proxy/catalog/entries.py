"""A model as the catalog holds it, what one region listed, and what the operator decided.

Plain frozen values without behaviour: ``listing.py`` makes entries of listings, ``resolve.py``
finds them by a client's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from proxy.tables import ManualModel

Kind = Literal[
    "foundation", "profile", "application", "provisioned", "deployment", "imported",
    "marketplace", "manual",
]  # fmt: skip

Access = Literal["on_demand", "profile", "provisioned"]

Summary = Mapping[str, Any]
"""One element of an AWS listing, as it came over the wire. Every key may be missing or null."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One callable thing. ``id`` is what a client sends, ``call`` what goes into the path; they
    differ where ``call`` is an ARN, which would show the account.

    ``region``: where it was found, ``None`` is the runtime's own. ``access``: whether
    Bedrock takes the id itself, wants a profile, or serves it from provisioned throughput only.
    ``geography``: a profile's prefix.
    Not ``known``: neither a listing nor our table has heard of it.
    Limits in tokens, ``None`` where unknown.
    """

    id: str
    call: str
    kind: Kind
    foundation: str
    name: str = ""
    provider: str = ""
    region: str | None = None
    geography: str = ""
    architecture: str | None = None
    listed: bool = False
    embeds: bool = False
    """An embedding model that would be listed if it were asked for."""
    known: bool = True
    access: Access = "on_demand"
    streaming: bool = True
    system: bool = True
    lifecycle: str = "ACTIVE"
    created: int = 0
    inputs: tuple[str, ...] = ("text",)
    outputs: tuple[str, ...] = ("text",)
    context_window: int | None = None
    max_output_tokens: int | None = None
    reasoning: bool = False
    tools: bool = True
    cost: Mapping[str, float] | None = None
    firm_output: bool = False
    """The operator gave ``max_output_tokens``: a caller's larger wish is lowered to it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator decided. ``regions``: the runtime's own first, then where else models may
    be called. ``failover``: where calls go when a region fails. ``geographies``: the residency
    policy, allowed profile prefixes in order; ``None``: each region's own first, then
    ``global``."""

    regions: tuple[str, ...] = ("us-east-1",)
    failover: tuple[str, ...] = ()
    provider_filter: tuple[str, ...] = ()
    include_legacy: bool = False
    application_profiles: bool = True
    default_context_window: int = 32_000
    default_max_tokens: int = 4_096
    geographies: tuple[str, ...] | None = None
    manual: tuple[ManualModel, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    default_model: str | None = None
    default_embedding_model: str | None = None
    """Serves OpenAI's own names (``text-embedding-…``) where discovery knows no such model."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What one region's control plane listed. A source that was denied is empty.

    ``geographies``: profile prefixes of this region in the order of preference.
    """

    region: str
    geographies: tuple[str, ...] = ()
    foundation_models: tuple[Summary, ...] = ()
    system_profiles: tuple[Summary, ...] = ()
    application_profiles: tuple[Summary, ...] = ()
    provisioned: tuple[Summary, ...] = ()
    custom_models: tuple[Summary, ...] = ()
    deployments: tuple[Summary, ...] = ()
    imported: tuple[Summary, ...] = ()
    marketplace: tuple[Summary, ...] = ()


class Learned(NamedTuple):
    """What a Get call said of an opaque ARN: the foundation model behind it, "" if unknown."""

    foundation: str
    architecture: str | None = None
    geography: str = ""
