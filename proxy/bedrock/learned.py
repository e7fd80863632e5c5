"""What refusals have taught about models, remembered for a while by this process.

``catalog/repairs.py`` says which refusal teaches which fact; here the facts are stored by model and
region, so that the next request is right from the start. A fact is stored only once the repaired
call got further than the refused one. It expires, since the service may change and a new release
brings a better table; learning another fact renews the model's earlier ones. Seconds are of a
monotonic clock.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from proxy.catalog.repairs import Changes, Repair

LASTS: Final = 24 * 3600.0
_MODELS: Final = 1024


@dataclass(frozen=True, slots=True)
class Lessons:
    """``names`` of repairs in the order they were learned, and all they change of the traits."""

    names: tuple[str, ...] = ()
    changes: Changes = field(default_factory=lambda: MappingProxyType({}))
    until: float = 0.0


NONE: Final = Lessons()


class Learned:
    """``lasts`` in seconds; of more than ``models`` the longest unused are forgotten."""

    def __init__(
        self, clock: Callable[[], float], lasts: float = LASTS, models: int = _MODELS
    ) -> None:
        self._clock = clock
        self._lasts = lasts
        self._models = models
        self._lessons: OrderedDict[tuple[str, str | None], Lessons] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lessons)

    def of(self, model_id: str, region: str | None) -> Lessons:
        """What is known of a model; ``region`` ``None`` is the runtime's own."""
        lessons = self._lessons.get((model_id, region), NONE)
        if lessons is NONE:
            return NONE
        if lessons.until <= self._clock():
            del self._lessons[model_id, region]
            return NONE
        self._lessons.move_to_end((model_id, region))
        return lessons

    def learn(self, model_id: str, region: str | None, repair: Repair) -> None:
        before = self.of(model_id, region)
        self._lessons[model_id, region] = Lessons(
            tuple(dict.fromkeys((*before.names, repair.name))),
            MappingProxyType({**before.changes, **repair.changes}),
            self._clock() + self._lasts,
        )
        self._lessons.move_to_end((model_id, region))
        if len(self._lessons) > self._models:
            self._lessons.popitem(last=False)

    def shown(self, model_id: str, region: str | None) -> Mapping[str, object] | None:
        """For a model's listing: what is known, and for how many seconds more."""
        lessons = self.of(model_id, region)
        if not lessons.names:
            return None
        left = max(0, int(lessons.until - self._clock()))
        return {"repairs": list(lessons.names), "expires_in": left}
