"""Where calls go: each region's endpoints, signed for that region, over shared engines.

The runtime endpoint is a ``Target`` for ``Upstream``, in fail-over order; the control plane's is
one signed GET, as discovery needs it. A configured endpoint is used for every region, unless its
host names our region: a VPC endpoint serves no other one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.failover import Circuits, Course, Stop, Target
from proxy.bedrock.pager import Call
from proxy.bedrock.paths import query_string
from proxy.bedrock.regions import AwsConfig, Service, endpoint
from proxy.bedrock.transport import Outgoing, SignedTransport, headers_of, read_whole
from proxy.converse.exceptions import from_response

_LISTING_LIMIT: Final = 32_000_000

AuthorizerFor = Callable[[str], Authorizer]
"""An identity: what signs for it in a region."""

_Listed = tuple[int, Mapping[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Backup:
    """A fail-over target. ``identity`` ``None``: as ourselves; ``endpoint``: the runtime's URL."""

    name: str
    region: str
    identity: AuthorizerFor | None = None
    endpoint: str | None = None


class Targets:
    """A ``Target`` per region, built when first asked for. ``region`` is the default.

    ``fresh`` is an engine that never reuses a connection.
    """

    def __init__(
        self,
        region: str,
        aws: AwsConfig,
        pooled: httpx.AsyncBaseTransport,
        fresh: httpx.AsyncBaseTransport,
        own: AuthorizerFor,
        circuits: Circuits,
        backups: Sequence[Backup] = (),
    ) -> None:
        self._region = region
        self._aws = aws
        self._pooled = pooled
        self._fresh = fresh
        self._own = own
        self._circuits = circuits
        self._known: dict[str, Target] = {}
        self.backups = tuple((backup, self._backup(backup)) for backup in backups)

    def __call__(self, region: str | None) -> Target:
        region = region or self._region
        target = self._known.get(region)
        if target is None:
            base = self._base("bedrock-runtime", region)
            target = self._known[region] = self._made(region, base, self._own, region)
        return target

    def course(
        self,
        model_id: str,
        region: str | None,
        elsewhere: Mapping[str, str],
        authorizer: Authorizer | None = None,
    ) -> Course:
        """The stops of a call: where the model was found, then the backups that have it under the
        id in ``elsewhere``, by region. ``authorizer`` makes the call instead of ourselves."""
        own = self(region)
        if not self.backups:
            return Course((Stop(_as(own, authorizer), model_id),), self._circuits)
        stops = [Stop(_as(own, authorizer), model_id)]
        for backup, target in self.backups:
            called = elsewhere.get(target.region)
            same = target.base == own.base and backup.identity is None
            # Somebody else's key is worth nothing in an account of ours.
            if called is None or same or (authorizer and backup.identity):
                continue
            stops.append(Stop(_as(target, authorizer), called))
        return Course(stops, self._circuits)

    async def list(self, region: str, path: str, query: Mapping[str, str]) -> _Listed:
        """One signed GET of the control plane: status, headers in lower case, body.

        Raises ``ProxyError`` when it cannot be sent or its answer is cut.
        """
        return await self._get(region, path, query, self(region).transport)

    def list_as(self, authorizer: Authorizer) -> Call:
        """``list`` for somebody else."""

        async def listing(region: str, path: str, query: Mapping[str, str]) -> _Listed:
            transport = self(region).transport.signed_by(authorizer)
            return await self._get(region, path, query, transport)

        return listing

    async def close(self) -> None:
        """Close the engines."""
        await self._pooled.aclose()
        await self._fresh.aclose()

    async def _get(
        self, region: str, path: str, query: Mapping[str, str], transport: SignedTransport
    ) -> _Listed:
        url = httpx.URL(self._base("bedrock", region) + path)
        if query:
            url = url.copy_with(query=query_string(query).encode())
        for last in (False, True):
            request = Outgoing("GET", url)
            reply = await transport.send(request)
            headers = headers_of(reply)
            body = await read_whole(reply, _LISTING_LIMIT)
            if last or reply.status not in (400, 401, 403):
                break
            error = from_response(reply.status, headers, body)
            error.server_date = headers.get("date")
            if error.retry != "credentials":
                break
            if not await transport.authorizer.renew(error, request.signed):
                break
        return reply.status, headers, body

    def _backup(self, backup: Backup) -> Target:
        base = backup.endpoint or self._base("bedrock-runtime", backup.region)
        return self._made(backup.region, base, backup.identity or self._own, backup.name)

    def _made(self, region: str, base: str, identity: AuthorizerFor, name: str) -> Target:
        authorizer = identity(region)
        return Target(
            region,
            base,
            SignedTransport(self._pooled, authorizer),
            SignedTransport(self._fresh, authorizer),
            name,
        )

    def _base(self, service: Service, region: str) -> str:
        configured = self._aws.endpoints.get(service)
        if configured and (region == self._region or self._region not in configured):
            return configured
        return endpoint(service, region, self._aws.fips, self._aws.dualstack)


def _as(target: Target, authorizer: Authorizer | None) -> Target:
    return target if authorizer is None else target.signed_by(authorizer)
