"""Scraping never stalls a stream: measured on the event loop, and by a hundred streams' clients.

Seconds are the machine's, too. What is rendered between two turns of the loop is counted, by the
same endpoint and on any machine, in ``test_metrics_exposition.py``.
"""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from proxy.metrics import Metrics, Record
from proxy.simulator import Simulator
from tests.support.running import QUIET, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
STREAMS = 100
PACE = 0.05
TRIES = 3
"""A machine that others use too is noisier than any scrape; a scrape that stalls does so always."""


def filled(models: int) -> Metrics:
    metrics = Metrics(version="1", mode="aws", stream_limit=10)
    for number in range(models):
        model = metrics.model(f"vendor.model-{number}-v1:0")
        for stream in (True, False):
            for code, status in (("ok", 200), ("rate_limit_exceeded", 429), ("upstream", 502)):
                record = Record("chat", model, stream, began=1.0, ended=2.0, status=status)
                record.code, record.output_tokens, record.first_event = code, 9, 1.5
                for at in (1.6, 1.7):
                    record.wrote(at, at, True)
                metrics.finish(record)
        metrics.calls("converse-stream", model, "us-east-1")
    return metrics


async def worst_stall(metrics: Metrics, whole: bool) -> float:
    """The longest that anything else on the loop waits while the page is rendered: of ten times
    the best, for what else the machine does only adds to it."""
    gaps: list[float] = []

    async def tick() -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.append(now - before)
            before = now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    worst: list[float] = []
    for _ in range(10):
        gaps.clear()
        if whole:
            from prometheus_client.exposition import generate_latest

            generate_latest(metrics.registry)
            await asyncio.sleep(0)
        else:
            await metrics.page("")
        worst.append(max(gaps))
    ticking.cancel()
    return min(worst)


@pytest.mark.anyio
async def test_the_loop_turns_while_a_big_page_is_rendered() -> None:
    metrics = filled(64)
    page, _ = await metrics.page("")
    sliced, whole = await worst_stall(metrics, False), await worst_stall(metrics, True)
    print(f"{len(page)} bytes: {sliced * 1e3:.1f} ms in slices, {whole * 1e3:.1f} ms whole")  # noqa: T201
    assert len(page) > 500_000
    assert sliced < whole / 5


@contextmanager
def serving_apart(simulator: Simulator) -> Iterator[str]:
    """The proxy in a process of its own, so that its clients cannot hold it up."""
    environment = {
        **QUIET,
        "AWS_ACCESS_KEY_ID": simulator.access_key,
        "AWS_SECRET_ACCESS_KEY": simulator.secret_key,
        "AWS_ENDPOINT_URL": simulator.url,
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            wait_until(lambda: any("listening on" in line for line in said), within=20)
            [line] = [line for line in said if "listening on" in line]
            yield line.split()[-1]
        finally:
            process.terminate()
            process.wait(20)


async def flow(client: httpx.AsyncClient, gaps: list[float]) -> None:
    body = {
        "model": "us.amazon.nova-pro-v1:0", "stream": True,
        "messages": [{"role": "user", "content": "Write 100 words about the sea."}],
    }  # fmt: skip
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        before = 0.0
        async for _ in answer.aiter_raw():
            now = time.perf_counter()
            if before:
                gaps.append(now - before)
            before = now


async def hundred(url: str, scrape: bool) -> tuple[list[float], int]:
    """The gaps that the clients of a hundred streams see, and how often was scraped meanwhile."""
    limits = httpx.Limits(max_connections=None)
    gaps: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        flowing = asyncio.gather(*(flow(client, gaps) for _ in range(STREAMS)))
        scrapes = 0
        while not flowing.done():
            await asyncio.sleep(0.2)
            if scrape:
                assert len((await client.get("/metrics")).content) > 200_000
                scrapes += 1
        await flowing
    return gaps, scrapes


@pytest.mark.anyio
async def test_a_hundred_streams_flow_on_while_prometheus_reads() -> None:
    with Simulator(pace=0.0) as simulator, serving_apart(simulator) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            listed = (await client.get("/v1/models")).json()["data"]
            for model in [one["id"] for one in listed][:60]:  # a page as big as it gets
                question = [{"role": "user", "content": "Hi"}]
                for stream in (True, False):
                    body = {"model": model, "stream": stream, "messages": question}
                    answer = await client.post("/v1/chat/completions", json=body)
                    assert answer.status_code == 200, (model, answer.text)
        simulator.control(pace=PACE)
        for _ in range(TRIES):
            calm, _ = await hundred(url, False)
            read, scrapes = await hundred(url, True)
            assert scrapes >= 2  # a busy machine is slow to read a page
            assert len(read) > STREAMS * 20
            late = {name: quantile(gaps, 0.99) for name, gaps in (("calm", calm), ("read", read))}
            print(f"{scrapes} scrapes; p99 gap {late['calm']:.4f} s calm, {late['read']:.4f} s "  # noqa: T201
                  f"read; worst {max(calm):.4f} s, {max(read):.4f} s")  # fmt: skip
            if late["read"] < 1.5 * late["calm"] + 0.05:
                break
        else:
            pytest.fail(f"streams wait for scrapes: {late}")


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]
