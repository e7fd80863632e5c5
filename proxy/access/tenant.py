"""The caller's identity: a frozen value, put into ``scope["state"]["tenant"]`` by the guard.

A tenant is what a key stands for: a name for logs and metrics (chosen by the operator, so label
cardinality is bounded), the models it may use, its limits, and its fixed parameters. It contains
neither the key nor its hash, so code behind the guard cannot leak them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final

from proxy.errors import ProxyError

SINGLE: Final = "default"
"""The tenant of the one key that comes from the environment."""
ANYONE: Final = "anonymous"
"""The tenant where no key is needed."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much may be used; ``None`` is without limit.

    ``streams`` are concurrent answers, ``tokens_per_minute`` counts input and output,
    ``daily_budget_usd`` runs from midnight to midnight UTC.
    """

    streams: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    daily_budget_usd: float | None = None

    @property
    def unlimited(self) -> bool:
        return self == _UNLIMITED


_UNLIMITED: Final = Allowance()


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a key stands for. ``models`` are globs; none of them means every model.

    ``guardrail`` (a ``guardrailConfig``), ``request_metadata`` and ``service_tier`` are the
    operator's, for every request of this tenant: no field or header of a request removes them.
    """

    name: str
    models: tuple[str, ...] = ()
    allowance: Allowance = Allowance()
    guardrail: Mapping[str, str] | None = None
    request_metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    service_tier: str | None = None

    def may_use(self, *names: str) -> bool:
        """Whether a model known under ``names`` (the operator's alias, the resolved id, its
        foundation model) is allowed: one glob on one of them is enough, in any case. No name may
        be the caller's own invention."""
        if not self.models:
            return True
        spelled = [name.lower() for name in names if name]
        return any(fnmatchcase(name, glob.lower()) for glob in self.models for name in spelled)

    def check_model(self, shown: str, *names: str) -> None:
        """Raises ``ProxyError`` 403 for a model that ``may_use`` denies by all its ``names``."""
        if not self.may_use(*names):
            raise ProxyError(
                403,
                f"This API key may not use the model {shown[:200]!r}.",
                type="permission_error",
                code="model_not_allowed",
                param="model",
            )
