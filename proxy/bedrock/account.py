"""The proxy's AWS accounts: identities, where calls go, and what can be called.

An ``Identity`` is one way to authenticate: a Bedrock API key, or a credentials engine over one
chain of sources. Each has its own thread, since a hanging source blocks everything queued behind
it. The first identity is the proxy's main one; fail-over targets may use others (a profile, a
role).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.bedrock.bearer import Bearer
from proxy.bedrock.chain import Chain, Role
from proxy.bedrock.credentials import Credentials, Observer, SigV4, State
from proxy.bedrock.discovery import Discovery
from proxy.bedrock.sources import bearer_key
from proxy.bedrock.targets import AuthorizerFor, Targets
from proxy.bedrock.worker import Worker


@dataclass(frozen=True, slots=True)
class Identity:
    """``credentials`` and ``worker`` are ``None`` for a Bedrock API key. ``name`` is for people."""

    name: str
    authorizer_for: AuthorizerFor
    state: Callable[[], State]
    credentials: Credentials | None = None
    worker: Worker | None = None

    def start(self) -> None:
        if self.credentials is not None:
            self.credentials.start()

    async def settled(self, within: float) -> State:
        """Wait for the first attempt, at most ``within`` seconds; then the state."""
        if self.credentials is None:
            return self.state()
        return await self.credentials.settled(within)

    async def close(self) -> None:
        if self.credentials is not None:
            await self.credentials.close()
        if self.worker is not None:
            self.worker.close()


@dataclass(frozen=True, slots=True)
class Account:
    """``identities``: ours first, then those of the fail-over targets.

    ``clients_pay``: every client comes with a Bedrock API key, so nobody needs to be ourselves.
    """

    region: str
    targets: Targets
    discovery: Discovery
    identities: Sequence[Identity]
    clients_pay: bool = False

    @property
    def own(self) -> Identity:
        return self.identities[0]

    @property
    def credentials(self) -> Credentials | None:
        return self.own.credentials

    def state(self) -> State:
        """Whether a request could be made now, as whom."""
        if self.clients_pay:
            return State("client", "client", True, "each client's own Bedrock API key")
        return self.own.state()

    def start(self) -> None:
        """Begin to resolve and to list; returns at once."""
        if not self.clients_pay or self.discovery.state().enabled:
            for identity in self.identities:
                identity.start()
        self.discovery.start()

    async def close(self) -> None:
        await self.discovery.close()
        for identity in self.identities:
            await identity.close()
        await self.targets.close()


def by_key(environment: Mapping[str, str], observe: Observer) -> Identity | None:
    """We, by the Bedrock API key of the environment; ``None`` if there is none."""
    key = bearer_key(environment)
    if key is None:
        return None
    bearer = Bearer(key)
    state = bearer.state()
    observe(state.source, "ok", state.expiry)
    return Identity("bearer", lambda region: bearer, bearer.state)


def by_chain(
    environment: Mapping[str, str],
    region: str,
    observe: Observer,
    *,
    profile: str | None = None,
    role: Role | None = None,
    name: str = "own",
) -> Identity:
    """Somebody by a chain of sources; STS is asked in ``region``."""
    worker = Worker()
    chain = Chain(environment, region=region, profile=profile, role=role)
    credentials = Credentials.over(chain, worker, observe=observe)
    return Identity(
        name, lambda region: SigV4(credentials, region), credentials.state, credentials, worker
    )
