"""Every metric: what the table promises is what the registry holds, and a record says it right."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as LibraryHistogram
from prometheus_client.parser import text_string_to_metric_families

from proxy.metrics import Metrics, Record, exposition, table
from proxy.metrics.histogram import Histogram
from proxy.metrics.news import credentials_news
from proxy.metrics.registry import MOST_WORDS
from proxy.metrics.table import BY_NAME, DEFINITIONS, PACE_EDGES

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MODEL = "amazon.nova-pro-v1:0"


def registry(**options: Any) -> Metrics:
    return Metrics(version="1", mode="aws", stream_limit=10, **options)


def streamed(**changes: Any) -> Record:
    """A stream of 3 gaps: received at 100, first content at 101, ended at 102."""
    record = Record(
        "chat", MODEL, True, request_id="req_1", began=100.0, read=100.001, first_sent=100.002,
        sent=100.002, first_event=100.9, ended=102.0, input_tokens=5, output_tokens=11,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(record, name, value)
    for at in (101.0, 101.02, 101.5, 101.6):
        record.wrote(at, at - 0.0004, True)
    return record


def of(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    return sum(
        value
        for key, value in metrics.samples()
        if key.partition("{")[0] == table.PREFIX + name and wanted <= set(_pairs(key))
    )


def _pairs(key: str) -> list[str]:
    return re.findall(r'[a-z_]+="[^"]*"', key)


# ---- the table --------------------------------------------------------------------------------


def test_names_are_unique_and_helped() -> None:
    assert len(BY_NAME) == len(DEFINITIONS)
    for one in DEFINITIONS:
        assert one.help.endswith("."), one.name
        assert one.edges == tuple(sorted(one.edges)), one.name
        assert bool(one.edges) == (one.kind == "histogram"), one.name
        assert one.kind != "gauge" or not one.exported.endswith("_total"), one.name


def test_the_registry_holds_what_the_table_defines() -> None:
    for key_label in (False, True):
        families = {
            family.name: family
            for family in registry(key_label=key_label).registry.collect()
            if family.name.startswith(table.PREFIX)
        }
        expected = {one.family for one in DEFINITIONS if key_label or not one.optional}
        assert set(families) == expected
        for one in DEFINITIONS:
            if one.family in families:
                assert families[one.family].documentation == one.help
                assert families[one.family].unit == one.unit


def test_process_and_python_are_kept() -> None:
    names = {key.partition("{")[0] for key, _ in registry().samples()}
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections_total"} <= names


def test_known_words_start_at_zero() -> None:
    metrics = registry()
    shown = dict(metrics.samples())
    for reason in table.REJECTIONS:
        assert shown[f'bedrock_proxy_requests_rejected_total{{reason="{reason}"}}'] == 0
    for outcome in table.FETCHES:
        assert shown[f'bedrock_proxy_image_fetches_total{{outcome="{outcome}"}}'] == 0
    metrics.begin(Record("chat", MODEL, True))
    metrics.calls("converse-stream", MODEL, "us-east-1")
    names = [key for key, value in metrics.samples() if MODEL in key and value == 0]
    for name in (
        "requests_total", "tokens_total", "client_disconnects_total", "upstream_throttles_total",
        "time_to_first_token_seconds_count", "request_duration_seconds_count",
    ):  # fmt: skip
        assert any(one.startswith(f"bedrock_proxy_{name}{{") for one in names), name
    for outcome in table.OUTCOMES:
        assert any(f'outcome="{outcome}"' in one for one in names), outcome


def test_build_info_tells_version_python_and_mode() -> None:
    [info] = [key for key, _ in registry().samples() if "build_info" in key]
    assert 'mode="aws"' in info
    assert 'version="1"' in info
    assert re.search(r'python="3\.\d+\.\d+', info)


# ---- one request ------------------------------------------------------------------------------


def test_a_whole_stream_is_written_once() -> None:
    metrics = registry()
    metrics.finish(streamed(cache_read_tokens=7, cache_write_tokens=2, retries=1))
    labels = {"model": MODEL}
    assert of(metrics, "requests_total", code="ok", status="200", stream="true", **labels) == 1
    assert of(metrics, "request_duration_seconds_sum", **labels) == pytest.approx(2.0)
    assert of(metrics, "time_to_first_token_seconds_sum", **labels) == pytest.approx(1.0)
    assert of(metrics, "upstream_first_event_seconds_sum", **labels) == pytest.approx(0.898)
    assert of(metrics, "time_per_output_token_seconds_sum", **labels) == pytest.approx(0.1)
    assert of(metrics, "inter_chunk_seconds_count", **labels) == 3
    assert of(metrics, "inter_chunk_seconds_sum", **labels) == pytest.approx(0.6)
    assert of(metrics, "overhead_seconds_sum", phase="request") == pytest.approx(0.001)
    assert of(metrics, "overhead_seconds_sum", phase="first_event") == pytest.approx(0.0004)
    assert of(metrics, "overhead_seconds_count", phase="response") == 0
    for word, count in (("input", 5), ("output", 11), ("cache_read", 7), ("cache_write", 2)):
        assert of(metrics, "tokens_total", type=word, **labels) == count


def test_an_answer_that_does_not_stream_has_no_first_token() -> None:
    metrics = registry()
    record = Record(
        "chat", MODEL, began=10.0, read=10.1, first_sent=10.2, sent=10.2, first_event=11.0,
        answered=11.5, first_write=11.502, ended=11.6, output_tokens=9,
    )  # fmt: skip
    metrics.finish(record)
    assert of(metrics, "requests_total", stream="false") == 1
    assert of(metrics, "time_to_first_token_seconds_count") == 0
    assert of(metrics, "inter_chunk_seconds_count") == 0
    assert of(metrics, "overhead_seconds_sum", phase="response") == pytest.approx(0.002)


def test_a_stream_that_failed_inside() -> None:
    metrics = registry()
    metrics.finish(streamed(code="upstream_truncated", in_band=True))
    assert of(metrics, "requests_total", status="200", code="upstream_truncated") == 1
    assert of(metrics, "stream_errors_total", model=MODEL, code="upstream_truncated") == 1
    assert of(metrics, "time_per_output_token_seconds_count") == 0


def test_a_client_that_left() -> None:
    metrics = registry()
    metrics.finish(streamed(status=499, code="client_disconnected", disconnect="streaming"))
    assert of(metrics, "requests_total", status="499", code="client_disconnected") == 1
    assert of(metrics, "client_disconnects_total", model=MODEL, phase="streaming") == 1


def test_notes_retries_repairs() -> None:
    metrics = registry()
    metrics.finish(streamed(notes=("top_k:dropped", "name:dropped")))
    calls = metrics.calls("converse", MODEL, "us-east-1")
    calls.retried("throttlingException")
    calls.count("throttled")
    metrics.repaired("cache_places", learned=True)
    metrics.repaired("cache_places", learned=False)
    assert of(metrics, "translation_notes_total", note="top_k:dropped") == 1
    assert of(metrics, "upstream_retries_total", reason="throttlingException") == 1
    assert of(metrics, "upstream_requests_total", outcome="throttled", region="us-east-1") == 1
    assert of(metrics, "upstream_throttles_total", model=MODEL, region="us-east-1") == 1
    assert of(metrics, "repairs_total", repair="cache_places", how="learned") == 1
    assert of(metrics, "repairs_total", repair="cache_places", how="known") == 1


@pytest.mark.parametrize(
    ("price", "usd"),
    [
        (None, 0.0),
        ({"input": 3.0, "output": 15.0}, (5 * 3 + 11 * 15) / 1e6),
        ({"input": 3.0, "output": 15.0, "cache_read": 0.3, "cache_write": 3.75},
         (5 * 3 + 11 * 15 + 100 * 0.3 + 10 * 3.75) / 1e6),
    ],
)  # fmt: skip
def test_cost(price: Mapping[str, float] | None, usd: float) -> None:
    metrics = registry()
    record = streamed(price=price, cache_read_tokens=100, cache_write_tokens=10)
    metrics.finish(record)
    assert record.cost == pytest.approx(usd)
    assert of(metrics, "cost_usd_total", model=MODEL) == pytest.approx(usd)
    assert any("cost_usd" in key for key, _ in metrics.samples()) == (price is not None)


def test_keys_are_told_apart_only_where_that_is_wanted() -> None:
    record = streamed(key="team-red", price={"input": 1.0, "output": 1.0})
    for key_label in (False, True):
        metrics = registry(key_label=key_label)
        metrics.finish(record)
        assert any("team-red" in key for key, _ in metrics.samples()) == key_label
    assert of(metrics, "key_requests_total", key="team-red", status="200") == 1
    assert of(metrics, "key_tokens_total", key="team-red", type="output") == 11
    assert of(metrics, "key_cost_usd_total", key="team-red") == pytest.approx(16e-6)


# ---- gaps -------------------------------------------------------------------------------------

GAPS = st.lists(st.lists(st.sampled_from([*PACE_EDGES, 0.0, 0.0007, 0.012, 0.2001, 9.0])))


@given(streams=GAPS)
def test_gaps_are_bucketed_as_the_library_does(streams: list[list[float]]) -> None:
    one = BY_NAME["inter_chunk_seconds"]
    oracle = LibraryHistogram(
        one.family, one.help, one.labels, buckets=one.edges, registry=CollectorRegistry()
    )
    singly, bulk = Histogram(one), Histogram(one)
    for series in (oracle.labels(MODEL), singly.labels(MODEL), bulk.labels(MODEL)):
        assert series is not None
    for gaps in streams:
        record = Record("chat", MODEL, True)
        record.first_content = 1e-300  # a time of 0 means "never"
        for gap in gaps:
            record.last_content = 0.0  # keeps the sums exact
            record.wrote(gap, gap, True)
            oracle.labels(MODEL).observe(gap)
            singly.labels(MODEL).observe(gap)
        bulk.labels(MODEL).add(record.gaps, sum(gaps))
    expected = exported(oracle)
    for ours in (singly, bulk):
        shown = exported(ours)
        assert list(shown) == list(expected)
        for key, value in expected.items():
            assert shown[key] == pytest.approx(value), key


def exported(collector: Any) -> dict[tuple[str, str], float]:
    return {
        (sample.name, str(sample.labels)): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def test_a_big_histogram_comes_in_pieces() -> None:
    one = BY_NAME["request_duration_seconds"]
    ours, oracle = Histogram(one), LibraryHistogram(
        one.family, one.help, one.labels, buckets=one.edges, registry=CollectorRegistry()
    )  # fmt: skip
    for number in range(100):
        for histogram in (ours, oracle):
            histogram.labels("chat", f"model-{number}", "true").observe(number / 7)
    pieces = list(ours.collect())
    assert len(pieces) > 5
    assert max(len(piece.samples) for piece in pieces) <= exposition.SLICE
    assert exported(ours) == exported(oracle)


def test_only_writes_of_content_make_gaps() -> None:
    record = Record("chat", MODEL, True)
    record.wrote(1.0, 0.9995, False)  # the role
    record.wrote(2.0, 2.0, True)
    record.wrote(2.3, 2.3, True)
    assert (record.first_write, record.first_content, record.last_content) == (1.0, 2.0, 2.3)
    assert record.first_lag == pytest.approx(0.0005)
    assert sum(record.gaps) == 1


# ---- bounds -----------------------------------------------------------------------------------


def test_labels_are_bounded() -> None:
    metrics = registry()
    for number in range(3 * MOST_WORDS):
        label = metrics.model(f"model-{number}")
        metrics.finish(
            streamed(model=label, code=f"code-{number}", notes=(f"note-{number}",), in_band=True)
        )
        metrics.retried("converse", f"reason-{number}")
        metrics.repaired(f"repair-{number}", learned=True)
    for label in ("model", "code", "note", "reason", "repair"):
        words = {
            found[1]
            for key, _ in metrics.samples()
            if (found := re.search(rf'[{{,]{label}="({label}-\d+|other)"', key))
        }
        assert len(words) == MOST_WORDS + 1, label
        assert "other" in words
    assert metrics.model("model-0") == "model-0"


# ---- the page ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_exemplars_are_on_first_token_and_duration_in_openmetrics_only() -> None:
    metrics = registry()
    metrics.finish(streamed())
    page, kind = await metrics.page(OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    marked = [line for line in page.decode().splitlines() if "# {" in line]
    assert len(marked) == 2
    assert all('# {request_id="req_1"}' in line for line in marked)
    assert {line.partition("_bucket")[0] for line in marked} == {
        "bedrock_proxy_time_to_first_token_seconds",
        "bedrock_proxy_request_duration_seconds",
    }
    page, kind = await metrics.page("text/plain")
    assert kind.startswith("text/plain")
    assert b"# {" not in page


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        ({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, b'# {trace_id="4bf92f35'),
        ({"request_id": "r" * 100}, b'# {request_id="rrr'),
        ({"request_id": "r" * 101}, None),
        ({"request_id": ""}, None),
    ],
)
async def test_what_an_exemplar_leads_to(ids: dict[str, str], shown: bytes | None) -> None:
    metrics = registry()
    metrics.finish(streamed(**ids))
    page, _ = await metrics.page(OPENMETRICS)
    assert (shown or b"# {") in page if shown else b"# {" not in page


@pytest.mark.anyio
@pytest.mark.parametrize("accept", ["", OPENMETRICS])
async def test_no_created_series(accept: str) -> None:
    metrics = registry()
    metrics.finish(streamed())
    page, _ = await metrics.page(accept)
    assert b"_created" not in page


@pytest.mark.anyio
async def test_openmetrics_tells_units() -> None:
    page, _ = await registry().page(OPENMETRICS)
    assert b"# UNIT bedrock_proxy_overhead_seconds seconds\n" in page
    assert b"# UNIT bedrock_proxy_tokens tokens\n" in page


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    metrics = registry(key_label=True)
    metrics.finish(streamed(notes=("a:dropped",), price={"input": 1.0}, key="k", in_band=True))
    metrics.repaired("x", learned=True)
    page, _ = asyncio.run(metrics.page(""))
    assert list(text_string_to_metric_families(page.decode()))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_definitions_are_all_that_is_merged() -> None:
    assert set(exposition.MERGES) == {one.family for one in DEFINITIONS}


def test_credentials_that_never_came_have_ended_until_they_come() -> None:
    """By their figure the alert fires: where nothing is ready nobody asks, and no request fails."""
    metrics = registry()
    for name in ("", "targets[1] us-west-2 "):
        credentials_news(metrics, f"{name}none", "NoCredentials", None)
    ends = [value for key, value in metrics.samples() if "credentials_expiry" in key]
    assert ends == [0, 0]
    credentials_news(metrics, "iam-role", "ok", 4711.0)
    credentials_news(metrics, "targets[1] us-west-2 env", "ok", None)
    credentials_news(metrics, "iam-role", "NoCredentials", 4711.0)  # a renewal that failed
    ends = [value for key, value in metrics.samples() if "credentials_expiry" in key]
    assert ends == [4711.0, float("inf")]
