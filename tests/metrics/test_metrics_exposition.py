"""The page in slices is the page as a whole; workers' figures add up to what one would say."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from proxy.app import build
from proxy.bedrock.regions import AwsConfig
from proxy.metrics import Metrics, Record, exposition
from proxy.metrics.exposition import SLICE, Family, Merged
from proxy.settings import load

FORMATS = ["", "text/plain", "application/openmetrics-text; version=1.0.0"]


def registry() -> Metrics:
    return Metrics(version="1", mode="aws", stream_limit=10)


def ask(metrics: Metrics, model: str, count: int = 1, **values: Any) -> None:
    for number in range(count):
        record = Record("chat", model, True, request_id=f"req_{number}", began=1.0, ended=2.0)
        record.read = record.first_sent = record.sent = 1.001
        record.first_event, record.output_tokens, record.input_tokens = 1.25, 9, 4
        for name, value in values.items():
            setattr(record, name, value)
        for at in (1.5, 1.75):
            record.wrote(at, at, True)
        metrics.finish(record)


def figures(metrics: Metrics) -> list[Family]:
    return exposition.unpack(asyncio.run(exposition.snapshot(metrics.registry.collect())))


def rows(families: list[Family]) -> dict[tuple[str, Any], float]:
    """The service's own samples by name and labels."""
    return {
        (name, tuple(sorted(labels))): value
        for family in families
        if family.name.startswith("bedrock_proxy_")
        for name, labels, value, _ in family.rows
    }


# ---- slices -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("accept", FORMATS)
async def test_slices_give_the_same_bytes(accept: str) -> None:
    metrics = registry()
    for number in range(30):
        ask(metrics, f'a "model"\n{number}')
    pieces = list(metrics.registry.collect())
    whole: dict[str, Metric] = {}
    for one in pieces:
        known = whole.setdefault(
            one.name, Metric(one.name, one.documentation, one.type, one.unit)
        )  # fmt: skip
        known.samples += one.samples
    assert len(whole) < len(pieces)
    assert max(len(one.samples) for one in whole.values()) > 2 * SLICE
    encode, kind = choose_encoder(accept)

    class Whole:
        def collect(self) -> Any:
            return whole.values()

    expected: Any = encode(Whole())  # type: ignore[arg-type]
    for metrics_in_parts in (pieces, whole.values()):
        assert await exposition.page(metrics_in_parts, accept) == (expected, kind)


async def work_between_turns(read: Callable[[], Awaitable[object]]) -> tuple[int, int]:
    """Of ``read``: the most function calls between two turns of the event loop, and all of them.

    Calls and not seconds: a machine that others use too makes no difference to them.
    """
    calls = most = total = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += 1

    async def tick() -> None:
        nonlocal calls, most, total
        while True:
            most, total, calls = max(most, calls), total + calls, 0
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        sys.setprofile(count)
        try:
            await read()
            await asyncio.sleep(0)
        finally:
            sys.setprofile(None)
        ticking.cancel()
    return most, total


def scrape(app: Any) -> Callable[[], Awaitable[object]]:
    """``GET /metrics`` as the server passes it on."""
    scope = {
        "type": "http", "method": "GET", "path": "/metrics", "raw_path": b"/metrics",
        "query_string": b"", "headers": [], "state": {}, "root_path": "", "http_version": "1.1",
    }  # fmt: skip

    async def read() -> object:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await app({**scope, "state": {}}, None, send)
        assert sent[0]["status"] == 200
        return sent

    return read


@pytest.mark.anyio
@pytest.mark.parametrize(("what", "growth", "share"), [("page", 1.3, 15), ("snapshot", 4, 8)])
async def test_a_larger_page_holds_the_loop_no_longer(what: str, growth: float, share: int) -> None:
    """Between two turns no more of a page is rendered at 64 models than at 16: only the turns are
    more. A snapshot, which is cheap, goes by whole families."""
    measured = []
    for models in (16, 64):
        aws = AwsConfig(region="us-east-1", fips=False, dualstack=False, endpoints={})
        service = build(load({}, None, {}), aws)
        for number in range(models):
            ask(service.metrics, f"model-{number}")
        read = scrape(service.asgi) if what == "page" else service.metrics.snapshot
        measured.append(await work_between_turns(read))
    (most_of_few, few), (most_of_many, many) = measured
    assert many > 3 * few
    assert most_of_many < growth * most_of_few
    assert most_of_many < many / share


# ---- merging ----------------------------------------------------------------------------------

ASKED = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", "c"]), st.sampled_from(["ok", "bad"])),
    max_size=12,
)


@settings(max_examples=15)
@given(asked=ASKED)
def test_workers_add_up_to_what_one_would_have_counted(asked: list[tuple[int, str, str]]) -> None:
    workers, whole = [registry() for _ in range(3)], registry()
    for place, model, code in asked:
        ask(workers[place], model, code=code)
        ask(whole, model, code=code)
    merged = Merged()
    for place, worker in enumerate(workers, 1):
        merged.add(figures(worker), str(place))
    ours, expected = rows(merged.families()), rows(figures(whole))
    threefold = {"bedrock_proxy_stream_limit", "bedrock_proxy_workers"}
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert ours[key] == pytest.approx(value * (3 if key[0] in threefold else 1)), key


def test_gauges_are_summed_or_the_worst_is_shown() -> None:
    one, other = registry(), registry()
    for metrics, open_, at in ((one, 2, 1000.0), (other, 5, 2000.0)):
        metrics.streams_in_flight.labels("m").set(open_)
        metrics.discovery_success.labels("us-east-1").set(at)
        metrics.credentials_expiry.labels("env").set(float("inf") if at > 1500 else at)
        metrics.discovered_models.labels("us-east-1", "foundation").set(7)
    merged = Merged()
    merged.add(figures(one), "1")
    merged.add(figures(other), "2")
    shown = {name: value for (name, _), value in rows(merged.families()).items()}
    assert shown["bedrock_proxy_streams_in_flight"] == 7
    assert shown["bedrock_proxy_discovery_last_success_timestamp_seconds"] == 1000
    assert shown["bedrock_proxy_credentials_expiry_timestamp_seconds"] == 1000
    assert shown["bedrock_proxy_discovered_models"] == 7
    assert shown["bedrock_proxy_stream_limit"] == 20
    assert shown["bedrock_proxy_workers"] == 2
    assert shown["bedrock_proxy_build_info"] == 1


def test_what_belongs_to_a_process_is_kept_apart() -> None:
    merged = Merged()
    for place in ("1", "2"):
        merged.add(figures(registry()), place)
    found = {
        (name, dict(labels)["worker"])
        for family in merged.families()
        if family.name.startswith(("process_", "python_"))
        for name, labels, _, _ in family.rows
    }
    assert {("process_resident_memory_bytes", "1"), ("process_resident_memory_bytes", "2")} <= found
    assert {("python_info", "1"), ("python_info", "2")} <= found


def test_of_a_departed_worker_the_counts_stay_and_the_gauges_go() -> None:
    gone, here = registry(), registry()
    ask(gone, "m", 3)
    gone.streams_in_flight.labels("m").set(4)
    ask(here, "m", 2)
    merged = Merged()
    merged.add(figures(here), "1")
    merged.add_departed(figures(gone))
    shown = rows(merged.families())
    total = {name: 0.0 for name, _ in shown}
    for (name, _), value in shown.items():
        total[name] += value
    assert total["bedrock_proxy_requests_total"] == 5
    assert total["bedrock_proxy_inter_chunk_seconds_count"] == 5
    assert total.get("bedrock_proxy_streams_in_flight", 0) == 0
    assert total["bedrock_proxy_stream_limit"] == 10
    assert not any(dict(labels).get("worker") == "2" for _, labels in shown)


@pytest.mark.anyio
async def test_the_newest_exemplar_is_kept_and_the_page_is_whole() -> None:
    one, other = registry(), registry()
    ask(one, "m", request_id="older")
    ask(other, "m", request_id="newer")
    merged = Merged()
    for place, worker in (("2", other), ("1", one)):
        merged.add(exposition.unpack(await worker.snapshot()), place)
    page, _ = await exposition.page(merged.metrics(), FORMATS[2])
    text = page.decode()
    assert '# {request_id="newer"}' in text
    assert '# {request_id="older"}' not in text
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
    assert len(list(text_string_to_metric_families(text))) > 30  # a strict parser takes it
