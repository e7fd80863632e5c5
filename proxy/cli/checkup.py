"""What ``doctor`` looks at: first this machine, then AWS by real calls, each told apart.

A finding is one line and one fix. ``Checkup`` asks the control plane what it may list, calls a
model as the proxy would (one short answer each way), and reads refusals as the operator needs them:
which permission on which resource, a model that was never granted, credentials that ended, a clock
that is wrong. It raises nothing for what it finds.

Models are not all called unless that is asked for: a first call may subscribe the account to a
model. Whether they are accessible is asked of GetFoundationModelAvailability, where permitted.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, NamedTuple

import httpx
import orjson

from proxy.app import Service
from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.failover import Target
from proxy.bedrock.paths import segment
from proxy.bedrock.transport import Outgoing, headers_of, read_whole
from proxy.catalog.model import Model
from proxy.cli.policy import BEARER, all_models, document, one_model
from proxy.converse.exceptions import from_response
from proxy.errors import ProxyError

Status = Literal["ok", "skip", "warn", "fail"]

_LIMIT: Final = 30.0
_AT_ONCE: Final = 4
_SKEW: Final = (60.0, 240.0)
"""Seconds between our clock and AWS's that are worth a word, and that AWS will not forgive."""
_SOON: Final = 900.0
_NEEDED: Final = re.compile(r"not authorized to perform: (\S+)(?: on resource: (\S+))?")
_CHEAP: Final = ("amazon.nova-micro", "amazon.nova-lite", "anthropic.claude-haiku")


@dataclass(frozen=True, slots=True)
class Finding:
    """``name`` is short and stable, ``detail`` and ``fix`` are for people."""

    name: str
    status: Status
    detail: str
    fix: str = ""


class Place(NamedTuple):
    """Where calls go: ``name`` is a region or a fail-over target; ``lists``: models are listed
    there, too."""

    name: str
    target: Target
    lists: bool

    @property
    def region(self) -> str:
        return self.target.region

    @property
    def authorizer(self) -> Authorizer:
        return self.target.transport.authorizer


class _Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> ProxyError:
        return from_response(self.status, self.headers, self.body)

    def json(self) -> dict[str, Any]:
        try:
            parsed = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return parsed if isinstance(parsed, dict) else {}


@dataclass(slots=True)
class Checkup:
    """``models``: names to call; none of them: one that is configured or cheap. ``call_all``: all
    that are listed."""

    service: Service
    models: Sequence[str] = ()
    call_all: bool = False
    findings: list[Finding] = field(default_factory=list)
    access: dict[str, str] = field(default_factory=dict)
    """What is known of each listed model: accessible, denied, or unknown."""
    _profiles: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    _date: tuple[float, float] | None = None

    async def run(self) -> None:
        """Ask AWS everything; needs credentials."""
        for place in self.places():
            if place.lists:
                await self._listings(place)
        self._clock()
        await self.service.account.discovery.refresh()
        for place in self.places():
            await self._calls(place)
        await self._availability()
        self._bearer()

    def policy(self) -> dict[str, Any]:
        """The smallest policy for the models that were named, or for all that are listed."""
        bearer = self.service.account.own.credentials is None
        resources: list[str] = []
        for place in self.places():
            profiles = self._profiles.get(place.region, [])
            if not self.models:
                resources += all_models([place.region], profiles)
            for name in self.models:
                model = self._resolved(name)
                called = model and self._called(model, place)
                resources += one_model(called, place.region, profiles) if called else []
        return document(sorted(set(resources)), bearer=bearer)

    def places(self) -> list[Place]:
        account = self.service.account
        regions = dict.fromkeys((account.region, *self.service.settings.discovery_region))
        listed = self.service.settings.discovery_region or (account.region,)
        found = [Place(one, account.targets(one), one in listed) for one in regions]
        return found + [Place(b.name, target, False) for b, target in account.targets.backups]

    # -- the control plane ----------------------------------------------------------------------

    async def _listings(self, place: Place) -> None:
        path, shorten = "/inference-profiles", {"maxResults": "1000"}
        await self._permission(place, "ListFoundationModels", "/foundation-models", {})
        found: list[Mapping[str, Any]] = []
        for kind in ("SYSTEM_DEFINED", "APPLICATION"):
            reply = await self._get(place, path, {**shorten, "type": kind})
            if kind == "SYSTEM_DEFINED":
                self._judge(place, "ListInferenceProfiles", reply)
            if isinstance(reply, _Reply):
                found += reply.json().get("inferenceProfileSummaries") or []
        self._profiles[place.region] = found
        if not found:
            self._add(
                f"GetInferenceProfile {place.name}",
                "skip",
                "no inference profile is listed to test with",
            )
            return
        one = segment(str(found[-1].get("inferenceProfileId")))
        await self._permission(place, "GetInferenceProfile", f"{path}/{one}", {})

    async def _permission(
        self, place: Place, action: str, path: str, query: Mapping[str, str]
    ) -> None:
        self._judge(place, action, await self._get(place, path, query))

    def _judge(self, place: Place, action: str, reply: "_Reply | ProxyError") -> None:
        """A listing that is denied only makes the list shorter: a warning."""
        name = f"{action} {place.name}"
        if isinstance(reply, _Reply) and reply.status == 200:
            self._add(name, "ok", "allowed")
            return
        status, detail, fix = explain(reply, f"bedrock:{action}")
        self._add(name, "warn" if status == "fail" and _is_denied(reply) else status, detail, fix)

    async def _get(
        self, place: Place, path: str, query: Mapping[str, str]
    ) -> "_Reply | ProxyError":
        try:
            async with asyncio.timeout(_LIMIT):
                listing = self.service.account.targets.list_as(place.authorizer)
                reply = _Reply(*await listing(place.region, path, query))
        except ProxyError as fault:
            return fault
        except TimeoutError:
            return _timeout()
        self._see_date(reply.headers)
        return reply

    # -- the runtime ----------------------------------------------------------------------------

    async def _calls(self, place: Place) -> None:
        for name in self._to_call():
            model = self._resolved(name)
            called = None if model is None else self._called(model, place)
            if model is None or called is None:
                self._add(
                    f"InvokeModel {place.name}", "warn", f"{name} cannot be called there",
                    "name a model that this region has, with --model",
                )  # fmt: skip
                continue
            ways = [("InvokeModel", "converse")]
            if model.traits.stream:
                ways.append(("InvokeModelWithResponseStream", "converse-stream"))
            for action, operation in ways:
                reply = await self._call(place, called, operation, model)
                self._add_call(f"{action} {place.name}", action, called, reply)

    def _add_call(self, name: str, action: str, called: str, reply: "_Reply | ProxyError") -> None:
        if isinstance(reply, _Reply) and reply.status == 200:
            self.access[called] = "accessible"
            self._add(name, "ok", f"{called} answered")
            return
        status, detail, fix = explain(reply, f"bedrock:{action}")
        if status == "fail":
            self.access[called] = "denied"
        self._add(name, status, f"{called}: {detail}", fix)

    async def _call(
        self, place: Place, called: str, operation: str, model: Model
    ) -> "_Reply | ProxyError":
        body = {
            "messages": [{"role": "user", "content": [{"text": "Say ok."}]}],
            "inferenceConfig": {"maxTokens": max(16, model.traits.min_max_tokens)},
        }
        url = httpx.URL(f"{place.target.base}/model/{segment(called)}/{operation}")
        request = Outgoing("POST", url, orjson.dumps(body))
        try:
            async with asyncio.timeout(_LIMIT):
                reply = await place.target.transport.send(request)
                headers = headers_of(reply)
                self._see_date(headers)
                if reply.status == 200:
                    await reply.aclose()
                    return _Reply(200, headers, b"")
                return _Reply(reply.status, headers, await read_whole(reply, 1_000_000))
        except ProxyError as fault:
            return fault
        except TimeoutError:
            return _timeout()

    def _to_call(self) -> Sequence[str]:
        """Names to call: those asked for, all, or one that stands for the rest."""
        if self.models:
            return self.models
        settings, catalog = self.service.settings, self.service.account.discovery.snapshot
        listed = [str(row["id"]) for row in catalog.list()]
        if self.call_all:
            return listed
        wanted = [settings.default_model, *(row.id for row in settings.manual)]
        cheap = [one for word in _CHEAP for one in listed if word in one]
        return [one for one in (*wanted, *cheap, *listed, _CHEAP[0] + "-v1:0") if one][:1]

    def _resolved(self, name: str) -> Model | None:
        try:
            return self.service.account.discovery.snapshot.resolve(name)
        except ProxyError as fault:
            if not any(one.name == f"model {name}" for one in self.findings):
                self._add(f"model {name}", "fail", fault.message, "see: models list")
            return None

    def _called(self, model: Model, place: Place) -> str | None:
        own = model.region or self.service.account.region
        return model.id if place.region == own else model.elsewhere.get(place.region)

    # -- what follows from the answers ----------------------------------------------------------

    async def _availability(self) -> None:
        """Which listed models the account may use, without calling them."""
        place = self.places()[0]
        rows = self.service.account.discovery.snapshot.list()
        models = {str(row["foundation"]) for row in rows if row["foundation"]}
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(model: str) -> tuple[str, str]:
            async with gate:
                path = f"/foundation-model-availability/{segment(model)}"
                return model, _available(await self._get(place, path, {}))

        told = dict(await asyncio.gather(*map(one, sorted(models))))
        self.access = told | self.access
        denied = sorted(model for model, word in told.items() if word == "denied")
        for model in denied:
            self._add(
                f"model {model}", "warn", "no access in this account",
                "request it in the Bedrock console, Model access (some ask for a use case form)",
            )  # fmt: skip
        known = [word for word in told.values() if word != "unknown"]
        if known:
            self._add("models", "ok", f"{known.count('accessible')} of {len(told)} accessible")
        elif told:
            self._add(
                "models", "skip",
                f"{len(told)} listed; whether they are accessible could not be checked",
                "allow bedrock:GetFoundationModelAvailability, or use --call-all",
            )  # fmt: skip
        else:
            self._add("models", "warn", "none are listed", "see the listings above")

    def _bearer(self) -> None:
        if self.service.account.own.credentials is not None:
            return
        refused = [one for one in self.findings if BEARER in one.detail]
        answered = any(one.status == "ok" and "answered" in one.detail for one in self.findings)
        if refused:
            self._add("CallWithBearerToken", "fail", "denied", f"allow {BEARER} to the key's user")
        elif answered:
            self._add("CallWithBearerToken", "ok", "allowed")
        else:
            self._add("CallWithBearerToken", "skip", "no call got far enough to show it")

    def _see_date(self, headers: Mapping[str, str]) -> None:
        if self._date is None and "date" in headers:
            try:
                self._date = parsedate_to_datetime(headers["date"]).timestamp(), time.time()
            except ValueError:
                return

    def _clock(self) -> None:
        if self._date is None:
            self._add("clock", "skip", "AWS sent no time")
            return
        skew = self._date[1] - self._date[0]
        word, most = _SKEW
        status: Status = "fail" if abs(skew) > most else "warn" if abs(skew) > word else "ok"
        fix = "" if status == "ok" else "set the clock by NTP (meanwhile the proxy corrects for it)"
        self._add("clock", status, f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS",
                  fix)  # fmt: skip

    def _add(self, name: str, status: Status, detail: str, fix: str = "") -> None:
        self.findings.append(Finding(name, status, detail, fix))


def credentials_finding(state: Any, missing_profile: str | None) -> Finding:
    """What an engine's ``State`` says to the operator."""
    detail = " ".join(filter(None, (state.source, state.detail))) or "none"
    if not state.ok:
        why = state.error or "they were not available in time"
        fix = "set AWS_BEARER_TOKEN_BEDROCK, run 'aws configure', or attach a role"
        if not state.absent:
            fix = "see the log line above; the source exists and fails"
        return Finding("credentials", "fail", f"{detail}: {why}", fix)
    left = None if state.expiry is None else state.expiry - time.time()
    if left is not None:
        detail += f", until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(state.expiry))}"
    if missing_profile:
        fix = f"create the profile {missing_profile!r}, or unset AWS_PROFILE"
        return Finding("credentials", "warn", f"{detail}; no profile {missing_profile!r}", fix)
    if left is not None and left < _SOON and state.mode == "bearer":
        return Finding(
            "credentials", "warn", detail, "the key expires soon and cannot be refreshed"
        )
    return Finding("credentials", "ok", detail)


def explain(reply: "_Reply | ProxyError", action: str) -> tuple[Status, str, str]:
    """A refusal as status, one line and one fix."""
    if isinstance(reply, ProxyError):
        return "fail", reply.message, "check the network, proxy variables and endpoint settings"
    error, text = reply.error, _message(reply)
    if (needed := _NEEDED.search(text)) is not None:
        what = needed[2] or "*"
        denied = "explicit deny" in text
        how = "is denied explicitly (by a policy or an SCP)" if denied else "is not allowed"
        return "fail", f"{needed[1]} {how}", f"allow {needed[1]} on {what}"
    if error.retry == "credentials":
        return "fail", f"AWS refuses the credentials ({error.reason})", "renew the credentials"
    if error.status == 403:
        return "fail", text[:200], f"allow {action}, and request the model in the Bedrock console"
    if error.status == 429:
        return "warn", "allowed, but currently throttled", "try again, or ask for a higher quota"
    if error.status == 404 or error.code == "model_not_found":
        return "fail", text[:200], "choose a model or profile that this region lists"
    fix = "try again" if error.status >= 500 else "no fix needed: call another model (--model)"
    return "warn", f"{reply.status}: {text[:200]}", fix


def _is_denied(reply: "_Reply | ProxyError") -> bool:
    return isinstance(reply, _Reply) and reply.error.status == 403


def _message(reply: _Reply) -> str:
    """AWS's own words, unmasked: they are read by the account's operator."""
    parsed = reply.json()
    return str(parsed.get("message") or parsed.get("Message") or reply.error.message)


def _available(reply: "_Reply | ProxyError") -> str:
    """``accessible``, ``denied`` or ``unknown``."""
    if not isinstance(reply, _Reply) or reply.status != 200:
        return "unknown"
    told = reply.json()
    agreement = told.get("agreementAvailability") or {}
    words = (told.get("authorizationStatus"), told.get("entitlementAvailability"),
             told.get("regionAvailability"), agreement.get("status"))  # fmt: skip
    return "denied" if {"NOT_AUTHORIZED", "NOT_AVAILABLE"} & set(words) else "accessible"


def _timeout() -> ProxyError:
    return ProxyError(504, f"no answer in {_LIMIT:g} seconds", code="upstream_timeout")
