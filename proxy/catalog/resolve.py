"""The catalog: a client's name to a ``Model``, and what a listing shows. Pure and immutable.

A name is looked up as it is, then as an alias, then without the route words of other gateways.
A model that only answers under an inference profile is called under the best allowed one. A name
that nobody knows is tried as it stands, since discovery may be forbidden or late; Bedrock's refusal
then becomes a 404 that names the nearest ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Literal

from proxy.catalog.entries import Entry, Learned, Options
from proxy.catalog.families import bare, describe, foundation_of, traits_for
from proxy.catalog.family_rows import PROMPT
from proxy.catalog.model import Model, Traits
from proxy.catalog.names import (
    check_name,
    geography_of,
    is_variant,
    no_model,
    parse_arn,
    strip_route,
)
from proxy.errors import ProxyError, invalid

ListKind = Literal["chat", "embedding", "all"]
KINDS: Final[tuple[ListKind, ...]] = ("chat", "embedding", "all")

OTHER: Final = "other"
"""The metrics' label of a model that the catalog does not know."""

LOOKED_UP: Final = frozenset(
    {"application-inference-profile", "provisioned-model", "custom-model",
     "custom-model-deployment", "imported-model", "prompt-router", "default-prompt-router"}
)  # fmt: skip
"""ARN resource types that do not say which foundation model is behind them."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """An immutable snapshot of all known models. Build it with ``listing.build``.

    ``entries`` by id, ``calls`` their ids by what is called (where that differs), ``profiles``
    the system-defined ones by foundation id in the regions' order, ``geographies`` by region,
    ``discovered`` the regions whose foundation models were listed, ``learned`` by ARN.
    """

    options: Options
    entries: Mapping[str, Entry]
    calls: Mapping[str, str]
    profiles: Mapping[str, tuple[Entry, ...]]
    geographies: Mapping[str, tuple[str, ...]]
    discovered: frozenset[str]
    learned: Mapping[str, Learned]

    def list(self, kind: ListKind = "chat") -> tuple[Mapping[str, object], ...]:
        """What ``GET /v1/models`` shows: aliases first, then by id."""
        chat, embedding = kind != "embedding", kind != "chat"
        aliases = (self.find(alias) for alias in self.options.aliases)
        named = [row for row in aliases if row and (embedding if _embeds(row) else chat)]
        rest = (e for e in self.entries.values() if e.id not in self.options.aliases)
        shown = [e for e in rest if (e.listed and chat) or (e.embeds and embedding)]
        shown.sort(key=lambda entry: entry.id)
        return (*named, *(self._view(entry.id, entry) for entry in shown))

    def find(self, name: str) -> Mapping[str, object] | None:
        """The row of one model, shown or not; ``None`` if the catalog does not know it."""
        try:
            model = self.resolve(name)
        except ProxyError:
            return None
        return model.details if model.label != OTHER else None

    def resolve(self, name: str) -> Model:
        """What to call for a client's model name; ``""`` is an absent one.

        Raises ``ProxyError``: 404 for a name that cannot be a model's or a region not served,
        403 for a profile outside the residency policy, 400 for none without a default.
        """
        target, region = self._target(name)
        entry = self._entry(target)
        region = region or self._arn_region(target)
        if region is None and entry is not None and entry.id in self._placed():
            region = entry.region
        through = self._through_profile(target, entry, region)
        entry = through or entry or self._untold(target)
        self._check_residency(name, entry.geography)
        call = target if target.startswith("arn:") and through is None else entry.call
        return Model(
            name=name or self.options.default_model or "",
            id=call,
            foundation=entry.foundation,
            label=_label(entry),
            traits=_traits(entry),
            region=region or entry.region,
            elsewhere=self._elsewhere(call, entry),
            details=self._view(name or entry.id, entry),
            known_as=name if name in self.options.aliases or name in self.entries else "",
        )

    def needs_lookup(self, name: str) -> str | None:
        """The opaque ARN that ``name`` stands for and of which nothing is known yet, so that
        ``Discovery.lookup`` may ask once; ``None`` in all other cases."""
        try:
            target, _ = self._target(name)
        except ProxyError:
            return None
        arn = parse_arn(target)
        if arn is None or arn.kind not in LOOKED_UP or arn.region not in self.options.regions:
            return None
        known = target in self.learned or self._entry(target) is not None
        return None if known else target

    def learn(self, arn: str, learned: Learned) -> "Catalog":
        """This catalog with one more ARN resolved."""
        return replace(self, learned={**self.learned, arn: learned})

    def nearest(self, name: str) -> tuple[str, ...]:
        """Up to three listed names that resemble ``name``, the best first; of one model's the
        bare id, then its profiles as they would be chosen."""
        names: dict[str, list[tuple[int, str]]] = {}
        for alias in self.options.aliases:
            names.setdefault(_squash(alias), []).append((-1, alias))
        target = strip_route(name[:200])[0]
        asked = target.partition(".")[0]  # its geography, if it is one: that is not a slip
        order = (asked, "", *self._order(self.options.regions[0]))
        for entry in self.entries.values():
            if entry.listed:
                place = order.index(entry.geography) if entry.geography in order else len(order)
                names.setdefault(_squash(bare(entry.id)), []).append((place, entry.id))
        wanted = _squash(bare(target))
        within = [key for key in names if len(wanted) > 3 and wanted in key]
        close = get_close_matches(wanted, names, n=3, cutoff=0.5)
        found = (known for key in (*within, *close) for _, known in sorted(names[key]))
        return tuple(dict.fromkeys(found))[:3]

    def not_found(self, name: str, why: str = "Bedrock does not know it") -> ProxyError:
        """The 404 of a name that was tried in vain, with the nearest ids."""
        return no_model(name, why, self.nearest(name))

    def _target(self, name: str) -> tuple[str, str | None]:
        """The name to look up and the region that a route named."""
        aliases = self.options.aliases
        if name in aliases:
            name = aliases[name]
        elif (default := self._default_for(name)) is not None:
            if not default:
                raise invalid(
                    "Missing required parameter: 'model'.", "model", "missing_required_parameter"
                )
            name = aliases.get(default, default)
        if name in self.entries:
            return name, None
        check_name(name)
        target, region = strip_route(name)
        check_name(target)
        if region is not None and region not in self.options.regions:
            raise no_model(name, f"the proxy does not serve the region {region}")
        if target in aliases:
            target, within = strip_route(aliases[target])
            region = within or region
        own = self.options.regions[0]
        return target, None if region == own else region

    def _default_for(self, name: str) -> str | None:
        """The default for no name, or for one of OpenAI's own; ``""`` if there is none."""
        if not name:
            return self.options.default_model or ""
        if name in self.entries:
            return None
        if name.startswith("gpt-"):
            return self.options.default_model or None
        if name.startswith("text-embedding-"):
            return self.options.default_embedding_model or None
        return None

    def _entry(self, target: str) -> Entry | None:
        """The entry of an id or an ARN."""
        if (entry := self.entries.get(target)) is not None:
            return entry
        arn = parse_arn(target)
        if arn is None:
            return None
        if arn.kind in ("foundation-model", "inference-profile"):
            return self.entries.get(arn.rest)
        return self.entries.get(self.calls.get(target, ""))

    def _untold(self, target: str) -> Entry:
        """A model that is in no listing: tried, with what its name or a Get call says."""
        learned = self.learned.get(target, Learned(foundation_of(target)))
        foundation = learned.foundation
        known = describe(foundation)
        geography = learned.geography or geography_of(target, foundation)
        return Entry(
            id=target,
            call=target,
            kind="foundation",
            foundation=foundation,
            name=target,
            architecture=learned.architecture,
            geography=geography,
            region=self._source_of(geography),
            known=known.context_window is not None,
            context_window=known.context_window,
            max_output_tokens=known.max_output_tokens,
            inputs=known.input_modalities,
            outputs=("embedding",) if known.mode == "embedding" else ("text",),
            reasoning=known.reasoning,
            tools=known.tools,
        )

    def _placed(self) -> frozenset[str]:
        """Models for which the operator has named the region."""
        return frozenset(manual.id for manual in self.options.manual if manual.region)

    def _source_of(self, geography: str) -> str | None:
        """The region served from which profiles of a geography are called; ``None`` for our own."""
        own, *others = self.options.regions
        if geography in ("", "global") or geography in self.geographies.get(own, ()):
            return None
        return next((r for r in others if geography in self.geographies.get(r, ())), None)

    def _through_profile(
        self, target: str, entry: Entry | None, region: str | None
    ) -> Entry | None:
        """``entry`` as it is called under a profile, if that is how it must be called; ``region``
        is the one that it was asked for in."""
        unlisted = entry is None or (entry.kind == "manual" and entry.call == entry.foundation)
        if entry is not None and entry.access != "profile" and not unlisted:
            return None
        foundation = entry.foundation if entry is not None else target
        if foundation_of(foundation) != foundation or is_variant(foundation):
            return None
        if (profile := self._listed_profile(foundation, region)) is not None:
            return replace(
                entry or profile,
                call=profile.call,
                geography=profile.geography,
                region=profile.region,
            )
        geography = self._guess_geography(foundation, region, certain=not unlisted)
        if geography is None:
            return None
        call = f"{geography}.{foundation}"
        return replace(entry or self._untold(foundation), call=call, geography=geography)

    def _listed_profile(self, foundation: str, asked: str | None) -> Entry | None:
        """The first allowed profile: by region, then by the policy's order of geographies."""
        found = self.profiles.get(foundation, ())
        for region in self.options.regions if asked is None else (asked,):
            here = None if region == self.options.regions[0] else region
            for geography in self._order(region):
                for entry in found:
                    if entry.region == here and entry.geography == geography:
                        return entry
        return None

    def _guess_geography(self, foundation: str, region: str | None, certain: bool) -> str | None:
        """A profile's prefix from our table, where the listings could not be had.

        ``certain``: the model is known to want a profile. Else that is guessed from its having a
        ``global`` one, which models with on-demand use do not have (not documented; listing of
        December 2025).
        """
        here = region or self.options.regions[0]
        prefixes = describe(foundation).profile_prefixes
        if foundation in self.profiles and (region is None or region in self.discovered):
            return None  # the listings were had, and the policy allows none of theirs
        if not certain and (here in self.discovered or "global" not in prefixes):
            return None
        known = [geo for geo in self._order(here) if geo in prefixes]
        callable_here = (geo for geo in known if geo in self._sources(here))
        return next(callable_here, known[0] if known else None)

    def _order(self, region: str) -> tuple[str, ...]:
        policy = self.options.geographies
        return self._sources(region) if policy is None else policy

    def _sources(self, region: str) -> tuple[str, ...]:
        """The geographies whose profiles a region knows, its own first."""
        return (*self.geographies.get(region, ()), "global")

    def _check_residency(self, name: str, geography: str) -> None:
        policy = self.options.geographies
        if policy is not None and geography and geography not in policy:
            raise ProxyError(
                403,
                f"The model {name!r} may run in the geography {geography!r}, which this proxy's"
                f" residency policy does not allow.",
                type="permission_error",
                code="model_not_allowed",
                param="model",
            )

    def _elsewhere(self, call: str, entry: Entry) -> Mapping[str, str]:
        """The id in each fail-over region that can serve the model; an ARN is one region's."""
        if not self.options.failover or call.startswith("arn:"):
            return MappingProxyType({})
        found = ((region, self._id_in(region, call, entry)) for region in self.options.failover)
        return MappingProxyType({region: called for region, called in found if called})

    def _id_in(self, region: str, call: str, entry: Entry) -> str | None:
        """Profiles are called in the regions of their geography only; where that is another, the
        first allowed one that a listing or our table knows takes its place."""
        if not entry.geography:
            return call
        order = [geo for geo in self._order(region) if geo in self._sources(region)]
        if entry.geography in order:
            return call
        listed = (profile.geography for profile in self.profiles.get(entry.foundation, ()))
        known = {*describe(entry.foundation).profile_prefixes, *listed}
        return next((f"{geo}.{entry.foundation}" for geo in order if geo in known), None)

    def _arn_region(self, call: str) -> str | None:
        """An ARN's region if models may be called there; ``None`` for the runtime's own."""
        arn = parse_arn(call)
        served = self.options.regions[1:]
        return arn.region if arn is not None and arn.region in served else None

    def _view(self, name: str, entry: Entry) -> Mapping[str, object]:
        provider = entry.provider or entry.foundation.partition(".")[0]
        sizes = traits_for(entry.foundation).embed_sizes
        output = None if sizes else entry.max_output_tokens or self.options.default_max_tokens
        return MappingProxyType(
            {
                "id": name,
                "created": entry.created,
                "owned_by": provider.lower().replace(" ", "-") or "aws",
                "name": entry.name or name,
                "context_window": entry.context_window or self.options.default_context_window,
                "max_output_tokens": output,
                "embedding_dimensions": tuple(sorted(sizes)) or None,
                "limits_known": entry.context_window is not None,
                "input_modalities": entry.inputs,
                "output_modalities": entry.outputs,
                "reasoning": entry.reasoning,
                "tools": entry.tools,
                "streaming": entry.streaming,
                "lifecycle": entry.lifecycle,
                "kind": entry.kind,
                "foundation": entry.foundation,
                "profile": _profile(entry),
                "provider": provider,
                "region": entry.region or self.options.regions[0],
                "cost": entry.cost,
            }
        )


def _embeds(row: Mapping[str, object]) -> bool:
    outputs = row.get("output_modalities")
    return isinstance(outputs, tuple) and "embedding" in outputs


def _squash(name: str) -> str:
    """Letters and digits only: how names are compared when one of them is a guess."""
    return "".join(c for c in name.lower() if c.isalnum())


def _profile(entry: Entry) -> str | None:
    """The id of the profile that will be used; ``None`` if none will."""
    if entry.kind == "application" or entry.call.startswith("arn:"):
        return entry.id if entry.kind in ("application", "profile") else None
    return entry.call if entry.geography else None


def _label(entry: Entry) -> str:
    """An id of the catalog that shows no account: opaque ones are counted under their model."""
    if not entry.known:
        return OTHER
    return (entry.foundation or entry.kind) if entry.call.startswith("arn:") else entry.call


def _traits(entry: Entry) -> Traits:
    """The family's facts, narrowed by what a listing or the operator said."""
    arn = parse_arn(entry.call)
    if arn is not None and arn.kind == "prompt":
        return PROMPT
    traits = traits_for(entry.foundation, entry.architecture)
    output, firm = traits.max_output_tokens or entry.max_output_tokens, traits.clamp_output
    if entry.firm_output:
        output, firm = entry.max_output_tokens, True
    return replace(
        traits,
        stream=traits.stream and entry.streaming,
        system=traits.system and entry.system,
        context_window=entry.context_window or traits.context_window,
        max_output_tokens=output,
        clamp_output=firm,
    )
