"""What refusals taught is known for a while, by model and region, and of so many models."""

from types import MappingProxyType

import pytest

from proxy.bedrock.learned import Learned
from proxy.catalog.repairs import Repair

NO_STOP = Repair("stop", MappingProxyType({"stop": False}))
NO_SYSTEM = Repair("system", MappingProxyType({"system": False}))


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_lessons_add_up_by_model_and_region(clock: Clock) -> None:
    learned = Learned(clock, 100)
    assert learned.of("m", None).names == ()
    assert learned.shown("m", None) is None
    learned.learn("m", None, NO_STOP)
    learned.learn("m", None, NO_SYSTEM)
    learned.learn("m", None, NO_STOP)
    learned.learn("m", "eu-west-1", NO_STOP)
    assert learned.of("m", None).names == ("stop", "system")
    assert learned.of("m", None).changes == {"stop": False, "system": False}
    assert learned.of("m", "eu-west-1").changes == {"stop": False}
    assert learned.of("other", None).names == ()


def test_lessons_expire_and_new_ones_renew_them(clock: Clock) -> None:
    learned = Learned(clock, 100)
    learned.learn("m", None, NO_STOP)
    clock.now += 90
    assert learned.shown("m", None) == {"repairs": ["stop"], "expires_in": 10}
    learned.learn("m", None, NO_SYSTEM)
    clock.now += 99
    assert learned.shown("m", None) == {"repairs": ["stop", "system"], "expires_in": 1}
    clock.now += 1
    assert learned.of("m", None).names == ()
    assert len(learned) == 0


def test_so_many_models_and_no_more(clock: Clock) -> None:
    learned = Learned(clock, 100, models=3)
    for name in "abcd":
        learned.learn(name, None, NO_STOP)
    assert len(learned) == 3
    assert learned.of("a", None).names == ()
    assert learned.of("d", None).names == ("stop",)


def test_the_longest_unused_goes_first(clock: Clock) -> None:
    learned = Learned(clock, 100, models=2)
    learned.learn("busy", None, NO_STOP)
    learned.learn("idle", None, NO_STOP)
    learned.of("busy", None)
    learned.learn("new", None, NO_STOP)
    assert learned.of("busy", None).names == ("stop",)
    assert learned.of("idle", None).names == ()
