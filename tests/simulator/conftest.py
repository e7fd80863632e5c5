"""One simulator and its botocore clients for this folder: starting them is the slow part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from proxy.simulator import Simulator

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def make_client(simulator: Simulator, service: str, **session: Any) -> Any:
    """A real botocore client: no retries, so that every refusal is seen."""
    made = botocore.session.Session()
    credentials = {
        "access_key": simulator.access_key,
        "secret_key": simulator.secret_key,
        "token": simulator.session_token,
        **session,
    }
    made.set_credentials(*credentials.values())
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=10,
        parameter_validation=False,
        max_pool_connections=20,
    )
    return made.create_client(
        service, region_name=simulator.region, endpoint_url=simulator.url, config=config
    )


@pytest.fixture(scope="session")
def running() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Simulator:
    """The shared simulator, with nothing left over from the test before."""
    running.reset()
    return running


@pytest.fixture(scope="session")
def shared_runtime(running: Simulator) -> Any:
    return make_client(running, "bedrock-runtime")


@pytest.fixture(scope="session")
def shared_bedrock(running: Simulator) -> Any:
    return make_client(running, "bedrock")


@pytest.fixture
def runtime(simulator: Simulator, shared_runtime: Any) -> Any:
    return shared_runtime


@pytest.fixture
def bedrock(simulator: Simulator, shared_bedrock: Any) -> Any:
    return shared_bedrock


@pytest.fixture
def ask(runtime: Any) -> Callable[..., dict[str, Any]]:
    """`ask("text", model, **members)`: one Converse answer."""

    def asked(text: str, model: str = SONNET, **members: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": [{"text": text}]}]
        return runtime.converse(**{"modelId": model, "messages": messages, **members})

    return asked
