"""Options and profiles that every room's tests share."""

import os
import threading
import time
from collections.abc import Iterator

import openai
import pytest
from hypothesis import HealthCheck, settings

from proxy.simulator import Simulator
from tests.support.running import Running, serving

settings.register_profile(
    "house",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regold",
        action="store_true",
        help="write what the code gives now into the golden files (then read every one of them)",
    )


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The house runs on asyncio; its async tests do too."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def no_thread_stays() -> Iterator[None]:
    """A thread that outlives its module disturbs another's tests at some other time: botocore
    drew from the global ``random`` in one while Hypothesis watched for just that."""
    before = {*threading.enumerate()}
    yield
    ends = time.monotonic() + 10
    while stays := [
        thread
        for thread in {*threading.enumerate()} - before
        if thread.name != "simulated-bedrock"  # serves the whole session
    ]:
        assert time.monotonic() < ends, f"{stays} stayed behind"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as one:
        yield one


@pytest.fixture(scope="module")
def proxy(simulator: Simulator) -> Iterator[Running]:
    with serving(
        simulator.url,
        access_key=simulator.access_key,
        secret_key=simulator.secret_key,
        mode="simulator",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(proxy: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="unused", max_retries=0) as one:
        yield one


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Files side by side, one more than there are cores: many tests wait more than they work. But
    what measures times wants the machine to itself."""
    if config.option.markexpr.strip() in {"long", "clients"}:
        config.option.dist = "no"
        return 0
    return (os.cpu_count() or 1) + 1
