"""Options and profiles that every room's tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

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


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Files side by side, one more than there are cores: many tests wait more than they work. But
    what measures times wants the machine to itself."""
    if config.option.markexpr.strip() in {"long", "clients"}:
        config.option.dist = "no"
        return 0
    return (os.cpu_count() or 1) + 1
