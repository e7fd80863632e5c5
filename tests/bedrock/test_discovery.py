"""Discovery against respx: pages, denials, faults, hangs, one flight, and what stands behind ARNs.

The answers are made, in the shapes of the API reference; GetInferenceProfile's is a recorded one
where the captures are there.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path

import httpx
import pytest
import respx

from proxy.bedrock.discovery import SOURCES, Discovery
from proxy.bedrock.paths import query_string, segment
from proxy.catalog.entries import Options
from proxy.errors import ProxyError

pytestmark = pytest.mark.anyio

CAPTURES = Path(__file__).parents[2] / ".." / "shared" / "captures"
RECORDED = CAPTURES / "DataDog--dd-trace-py" / "bedrock-converse-inference-profile.json"
REGION = "us-east-1"
HOST = f"https://bedrock.{REGION}.amazonaws.com"
ACCOUNT = f"arn:aws:bedrock:{REGION}:123456789012"
NOVA, SONNET = "amazon.nova-pro-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0"


def model(model_id: str, access: str = "ON_DEMAND") -> dict[str, object]:
    return {
        "modelId": model_id, "providerName": "P", "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT"], "responseStreamingSupported": True,
        "inferenceTypesSupported": [access], "modelLifecycle": {"status": "ACTIVE"},
    }  # fmt: skip


def profile(profile_id: str, foundation: str) -> dict[str, object]:
    arn = f"arn:aws:bedrock:{REGION}::foundation-model/{foundation}"
    return {"inferenceProfileId": profile_id, "status": "ACTIVE", "models": [{"modelArn": arn}]}


class Plane:
    """The control plane behind respx's router, and what was told of the refreshes."""

    def __init__(self, router: respx.Router) -> None:
        self.router = router
        self.calls: Counter[str] = Counter()
        self.queries: list[dict[str, str]] = []
        self.outcomes: list[tuple[str, str]] = []
        self.counts: dict[tuple[str, str], int] = {}
        self.successes: list[float] = []
        self.now = 1000.0
        self.who = "us"
        self._transport = httpx.MockTransport(router.async_handler)
        self.made: list[Discovery] = []

    async def call(self, region, path, query):
        self.calls[path] += 1
        self.queries.append(dict(query))
        url = f"https://bedrock.{region}.amazonaws.com{path}?{query_string(query)}"
        response = await self._transport.handle_async_request(httpx.Request("GET", url))
        return response.status_code, response.headers, await response.aread()

    def refreshed(self, region: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes.append((region, outcome))

    def listed(self, region: str, kind: str, count: int) -> None:
        self.counts[region, kind] = count

    def succeeded(self, region: str, at: float) -> None:
        self.successes.append(at)

    def discovery(self, options: Options | None = None, **more) -> Discovery:
        made = Discovery(
            self.call,
            options or Options(),
            observer=self,
            clock=lambda: self.now,
            jitter=lambda: 0.5,
            identity=lambda: self.who,
            **more,
        )
        self.made.append(made)
        return made

    def on(self, field: str) -> respx.Route:
        """The route of one listing. respx takes the first that fits, so all are there early."""
        source = next(source for source in SOURCES if source.field == field)
        kind = {key: value for key, value in source.query if key == "type"}
        return self.router.get(f"{HOST}{source.path}", params=kind)

    def serve(self, field: str, *items: object, **more: object) -> respx.Route:
        key = next(source.key for source in SOURCES if source.field == field)
        return self.on(field).respond(json={key: list(items), **more})

    def models(self, *ids: str) -> respx.Route:
        return self.serve("foundation_models", *map(model, ids))

    def everything(self, **effect: object) -> None:
        for source in SOURCES:
            self.on(source.field).mock(**effect)


@pytest.fixture
async def plane():
    with respx.mock(assert_all_called=False, assert_all_mocked=True) as router:
        made = Plane(router)
        for source in SOURCES:
            made.serve(source.field)
        yield made
        for discovery in made.made:
            await discovery.close()


def shown(discovery: Discovery) -> list[object]:
    return [row["id"] for row in discovery.snapshot.list()]


async def test_every_listing_is_asked_and_both_kinds_of_profiles(plane) -> None:
    plane.models(NOVA)
    plane.serve("system_profiles", profile(f"us.{NOVA}", NOVA))
    plane.serve("application_profiles", profile("app", NOVA))
    discovery = plane.discovery()
    assert shown(discovery) == []
    await discovery.fresh()
    assert shown(discovery) == [NOVA, "app", f"us.{NOVA}"]
    assert set(plane.calls) == {source.path for source in SOURCES}
    assert {"maxResults": "1000", "type": "APPLICATION"} in plane.queries
    assert plane.outcomes == [(REGION, "ok")]
    assert plane.counts == {(REGION, "foundation"): 1, (REGION, "profile"): 2}
    assert plane.successes == [1000.0]
    state = discovery.state()
    assert (state.enabled, state.at, state.models, state.failed) == (True, 1000.0, 3, {})


async def test_pages(plane) -> None:
    """An empty page may carry a token."""
    pages = [
        {"inferenceProfileSummaries": [profile(f"us.{NOVA}", NOVA)], "nextToken": "a/b=="},
        {"inferenceProfileSummaries": [], "nextToken": "c"},
        {"inferenceProfileSummaries": [profile(f"global.{NOVA}", NOVA)]},
    ]
    plane.on("system_profiles").mock(side_effect=[httpx.Response(200, json=page) for page in pages])
    discovery = plane.discovery()
    await discovery.fresh()
    assert shown(discovery) == [f"global.{NOVA}", f"us.{NOVA}"]
    asked = [q.get("nextToken") for q in plane.queries if q.get("type") == "SYSTEM_DEFINED"]
    assert asked == [None, "a/b==", "c"]


async def test_a_repeated_token_ends_the_listing(plane) -> None:
    plane.serve("custom_models", nextToken="again")
    discovery = plane.discovery()
    await discovery.fresh()
    assert plane.calls["/custom-models"] == 2
    assert discovery.state().failed == {f"{REGION}/custom_models": "repeated"}


async def test_endless_pages_end(plane) -> None:
    """Fifty pages of one listing, under a hundred calls of all: what was read is kept."""
    serial = iter(range(10_000))

    def endless(request: httpx.Request) -> httpx.Response:
        page = {"nextToken": str(next(serial))}
        items = [profile(f"us.{NOVA}", NOVA)]
        return httpx.Response(200, json={"inferenceProfileSummaries": items, **page})

    plane.models(NOVA)
    plane.on("system_profiles").mock(side_effect=endless)
    plane.on("application_profiles").mock(side_effect=endless)
    discovery = plane.discovery()
    await discovery.fresh()
    assert plane.calls.total() <= 100
    assert plane.calls["/inference-profiles"] <= 100
    assert shown(discovery) == [NOVA, f"us.{NOVA}"]
    assert set(discovery.state().failed.values()) == {"cap"}
    assert plane.outcomes == [(REGION, "partial")]


@pytest.mark.parametrize("denied", [source.field for source in SOURCES])
async def test_each_listing_may_be_denied_alone(plane, denied) -> None:
    plane.models(NOVA)
    plane.serve("imported", {
        "modelArn": f"{ACCOUNT}:imported-model/impimpimpimp", "modelName": "own",
        "instructSupported": True,
    })  # fmt: skip
    plane.on(denied).respond(403, json={"message": "no"})
    discovery = plane.discovery()
    await discovery.fresh()
    expected = {"foundation_models": ["own"], "imported": [NOVA]}
    assert shown(discovery) == expected.get(denied, [NOVA, "own"])
    assert set(discovery.state().failed.values()) == {"denied"}
    assert plane.outcomes == [(REGION, "ok")]


async def test_all_denied(plane) -> None:
    plane.everything(return_value=httpx.Response(403))
    discovery = plane.discovery()
    await discovery.fresh()
    assert plane.outcomes == [(REGION, "error")]
    assert discovery.state().at is None
    assert plane.successes == []
    assert (await discovery.resolve(SONNET)).id == f"us.{SONNET}"  # by our own table


async def test_stale_while_error_for_each_listing(plane) -> None:
    route = plane.models(NOVA)
    discovery = plane.discovery(interval=0)
    await discovery.fresh()
    route.mock(return_value=httpx.Response(500))
    plane.serve("imported", {
        "modelArn": f"{ACCOUNT}:imported-model/impimpimpimp", "modelName": "own",
        "instructSupported": True,
    })  # fmt: skip
    await discovery.fresh()
    assert shown(discovery) == [NOVA, "own"]
    assert discovery.state().failed == {f"{REGION}/foundation_models": "status 500"}


async def test_half_a_listing_does_not_replace_a_whole_one(plane) -> None:
    both = [profile(f"{geo}.{NOVA}", NOVA) for geo in ("eu", "us")]
    route = plane.serve("system_profiles", *both)
    discovery = plane.discovery(interval=0)
    await discovery.fresh()
    half = {"inferenceProfileSummaries": both[:1], "nextToken": "more"}
    route.mock(side_effect=[httpx.Response(200, json=half), httpx.Response(500)])
    await discovery.fresh()
    assert shown(discovery) == [f"eu.{NOVA}", f"us.{NOVA}"]
    fresh = plane.discovery()
    route.mock(side_effect=[httpx.Response(200, json=half), httpx.Response(500)])
    await fresh.fresh()
    assert shown(fresh) == [f"eu.{NOVA}"]  # better than nothing


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (httpx.Response(429), "throttled"),
        (httpx.Response(200, text="<html>"), "malformed"),
        (httpx.Response(200, json=[1]), "malformed"),
        (httpx.ConnectError("x"), "unreachable"),
        (httpx.ReadTimeout("x"), "timeout"),
        (OSError("x"), "unreachable"),
        (ProxyError(503, "x", code="upstream_credentials"), "upstream_credentials"),
    ],
)
async def test_faults_of_one_listing(plane, fault, reason) -> None:
    effect = (
        {"return_value": fault} if isinstance(fault, httpx.Response) else {"side_effect": fault}
    )
    plane.models(NOVA)
    plane.on("custom_models").mock(**effect)
    discovery = plane.discovery()
    await discovery.fresh()
    assert shown(discovery) == [NOVA]
    assert discovery.state().failed == {f"{REGION}/custom_models": reason}
    assert plane.outcomes == [(REGION, "partial")]


async def hang(request: httpx.Request) -> httpx.Response:
    await asyncio.sleep(60)
    return httpx.Response(200)


async def test_a_refresh_that_fails_unforeseen_is_told_and_tried_again_soon(
    plane, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("proxy.bedrock.discovery._WATCH", 0.005)
    plane.models(NOVA)
    discovery = plane.discovery()
    with monkeypatch.context() as broken:

        def build(*_: object) -> None:
            raise LookupError("a bug")

        broken.setattr("proxy.bedrock.discovery.build", build)
        discovery.start()
        assert (await discovery.fresh()).list() == ()
        assert (await discovery.fresh()).list() == ()
        assert len(plane.outcomes) == 1  # a reader waits for the first one only
        await asyncio.sleep(0.03)
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "the task discovery-refresh ended unexpectedly"
    ]
    plane.now += 6  # the first of the pauses between failures
    async with asyncio.timeout(3):
        while shown(discovery) != [NOVA]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_listing_that_is_no_list_holds_nothing(plane) -> None:
    for junk in (7, "models", {"a": {"modelId": NOVA}}, None):
        plane.on("foundation_models").respond(json={"modelSummaries": junk})
        discovery = plane.discovery(interval=0)
        await discovery.fresh()
        assert shown(discovery) == []
        assert discovery.state().failed == {}


async def test_a_hanging_listing_holds_up_nothing(plane) -> None:
    plane.models(NOVA)
    plane.on("custom_models").mock(side_effect=hang)
    discovery = plane.discovery(limit=0.2, patience=0.05)
    discovery.start()
    assert (await discovery.resolve(SONNET)).id == f"us.{SONNET}"  # at once, from the table
    await discovery.fresh()  # loses patience first
    assert shown(discovery) == []
    await asyncio.wait({discovery.refresh()})
    assert shown(discovery) == [NOVA]
    assert discovery.state().failed == {f"{REGION}/custom_models": "timeout"}


async def test_one_flight_for_all_also_without_a_cache(plane) -> None:
    plane.models(NOVA)
    discovery = plane.discovery(interval=0)
    await asyncio.gather(*(discovery.fresh() for _ in range(50)))
    assert plane.calls["/foundation-models"] == 1
    await discovery.fresh()
    assert plane.calls["/foundation-models"] == 2


async def test_with_a_cache_a_reader_asks_nothing(plane) -> None:
    plane.models(NOVA)
    discovery = plane.discovery()
    for _ in range(3):
        await discovery.fresh()
    assert plane.calls["/foundation-models"] == 1


async def test_background_refresh_and_its_back_off(plane, monkeypatch) -> None:
    monkeypatch.setattr("proxy.bedrock.discovery._WATCH", 0.005)
    route = plane.models(NOVA)
    discovery = plane.discovery(interval=600)
    discovery.start()
    discovery.start()  # twice is once
    await until(lambda: len(plane.outcomes) == 1)
    await asyncio.sleep(0.03)
    plane.now += 599
    await asyncio.sleep(0.03)
    assert len(plane.outcomes) == 1
    plane.everything(side_effect=httpx.ConnectError("x"))
    plane.now += 2
    await until(lambda: len(plane.outcomes) == 2)
    await asyncio.sleep(0.03)
    assert plane.outcomes[-1] == (REGION, "error")
    assert shown(discovery) == [NOVA]
    plane.now += 4
    await asyncio.sleep(0.03)
    assert len(plane.outcomes) == 2
    plane.now += 2
    await until(lambda: len(plane.outcomes) == 3)
    assert discovery.state().at == 1000.0
    assert route.called


async def test_another_identity_gets_nothing_of_the_old_listing(plane, monkeypatch) -> None:
    monkeypatch.setattr("proxy.bedrock.discovery._WATCH", 0.005)
    plane.models(NOVA)
    discovery = plane.discovery()
    discovery.start()
    await until(lambda: shown(discovery) == [NOVA])
    plane.everything(return_value=httpx.Response(403))
    plane.who = "them"
    await until(lambda: shown(discovery) == [])


async def test_a_clients_own_listing_is_kept_from_everybody(plane) -> None:
    async def theirs(region, path, query):
        body = {"modelSummaries": [model(SONNET)]} if path == "/foundation-models" else {}
        return 200, {}, json.dumps(body).encode()

    discovery = plane.discovery()
    own = await discovery.ask(theirs)
    assert [row["id"] for row in own.list()] == [SONNET]
    assert shown(discovery) == []


async def test_switched_off_lists_nothing_and_resolves(plane) -> None:
    discovery = plane.discovery(enabled=False)
    discovery.start()
    await discovery.fresh()
    assert plane.calls.total() == 0
    assert (await discovery.resolve(NOVA)).id == NOVA


async def test_regions(plane) -> None:
    plane.models(NOVA)
    for source in SOURCES:
        west = f"https://bedrock.eu-west-1.amazonaws.com{source.path}"
        items = [model(SONNET)] if source.field == "foundation_models" else []
        plane.router.get(west).respond(json={source.key: items})
    discovery = plane.discovery(Options(regions=(REGION, "eu-west-1")))
    await discovery.fresh()
    assert (await discovery.resolve(SONNET)).region == "eu-west-1"
    assert (await discovery.resolve(NOVA)).region is None
    assert {region for region, _ in plane.outcomes} == {REGION, "eu-west-1"}


async def test_listing_elsewhere_than_at_home(plane) -> None:
    plane.models(NOVA)
    discovery = plane.discovery(Options(regions=("eu-west-1", REGION)), regions=[REGION])
    await discovery.fresh()
    assert (await discovery.resolve(NOVA)).region == REGION


# ---- what stands behind an ARN ------------------------------------------------------------------


def got(plane: Plane, path: str, arn: str, **answer: object) -> respx.Route:
    url = f"{HOST}{path}{segment(arn)}"
    return plane.router.get(url).respond(json=answer)


def foundation(model_id: str) -> str:
    return f"arn:aws:bedrock:{REGION}::foundation-model/{model_id}"


@pytest.mark.parametrize(
    ("kind", "path", "answer", "family"),
    [
        ("application-inference-profile", "/inference-profiles/",
         {"models": [{"modelArn": foundation(SONNET)}]}, "claude"),
        ("provisioned-model", "/provisioned-model-throughput/",
         {"foundationModelArn": foundation(NOVA), "modelArn": "x"}, "nova"),
        ("imported-model", "/imported-models/", {"modelArchitecture": "llama"}, "llama"),
        ("prompt-router", "/prompt-routers/",
         {"models": [{"modelArn": f"{ACCOUNT}:inference-profile/us.{SONNET}"}]}, "claude"),
        ("custom-model", "/custom-models/", {"baseModelArn": foundation(NOVA)}, "nova"),
    ],
)  # fmt: skip
async def test_lookup(plane, kind, path, answer, family) -> None:
    arn = f"{ACCOUNT}:{kind}/abcabcabcabc"
    got(plane, path, arn, **answer)
    discovery = plane.discovery()
    found = await asyncio.gather(*(discovery.resolve(arn) for _ in range(20)))
    assert {model.traits.family for model in found} == {family}
    assert {model.id for model in found} == {arn}
    assert plane.calls.total() == 1
    await discovery.fresh()  # a refresh does not forget it
    assert (await discovery.resolve(arn)).traits.family == family
    assert plane.calls[path + segment(arn)] == 1


async def test_lookup_of_a_deployment_takes_two_calls(plane) -> None:
    arn = f"{ACCOUNT}:custom-model-deployment/abcabcabcabc"
    custom = f"{ACCOUNT}:custom-model/imported/aaaaaaaaaaaa"
    got(plane, "/model-customization/custom-model-deployments/", arn, modelArn=custom)
    got(plane, "/custom-models/", custom, baseModelArn=foundation(NOVA))
    assert (await plane.discovery().resolve(arn)).traits.family == "nova"


async def test_recorded_profile_that_may_run_anywhere(plane) -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded GetInferenceProfile is not beside this project")
    recorded = json.loads(RECORDED.read_text())
    body = recorded["response"]["body"]
    route = plane.router.get(f"{HOST}{recorded['request']['path']}").respond(json=body)
    arn = body["inferenceProfileArn"]
    found = await plane.discovery().resolve(arn)
    assert found.foundation == "anthropic.claude-haiku-4-5-20251001-v1:0"
    assert route.called
    with pytest.raises(ProxyError, match="residency"):
        await plane.discovery(Options(geographies=("us",))).resolve(arn)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403, json={"message": "no"}),
        httpx.Response(200, json={"models": "junk"}),
        httpx.Response(200, json={"models": [{"modelArn": 7}, 3]}),
        httpx.Response(200, text="{"),
    ],
)
async def test_a_lookup_in_vain_is_not_repeated_for_a_while(plane, answer) -> None:
    arn = f"{ACCOUNT}:application-inference-profile/zzz"
    plane.router.get(f"{HOST}/inference-profiles/{segment(arn)}").mock(return_value=answer)
    discovery = plane.discovery()
    for _ in range(3):
        found = await discovery.resolve(arn)
        assert (found.id, found.traits.family) == (arn, "other")
    assert plane.calls.total() == 1
    plane.now += 301
    await discovery.resolve(arn)
    assert plane.calls.total() == 2


async def test_lookups_are_bounded(plane, monkeypatch) -> None:
    """A flood of made-up ARNs neither floods the control plane nor waits long for it."""
    monkeypatch.setattr("proxy.bedrock.discovery._LOOKUP_LIMIT", 0.05)
    plane.router.get(url__startswith=f"{HOST}/inference-profiles/").mock(side_effect=hang)
    discovery = plane.discovery()
    arns = [f"{ACCOUNT}:application-inference-profile/a{n}" for n in range(40)]
    async with asyncio.timeout(2):
        await asyncio.gather(*(discovery.resolve(arn) for arn in arns))
    assert plane.calls.total() == 4


async def until(true) -> None:
    async with asyncio.timeout(3):
        while not true():  # noqa: ASYNC110  # it waits for a background task
            await asyncio.sleep(0.005)
