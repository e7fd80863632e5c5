"""Where the contract runs: on the proven engine, and on the fast one under both event loops."""

from typing import Any

import pytest

SEATS = ("httpx-asyncio", "wire-asyncio", "wire-uvloop")


@pytest.fixture(params=SEATS)
def seat(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(seat: str) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": seat.endswith("uvloop")}


@pytest.fixture
def kind(seat: str) -> str:
    """The engine: ``httpx`` or ``wire``."""
    return seat.partition("-")[0]
