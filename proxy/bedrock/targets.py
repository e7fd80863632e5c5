"""Where a region's calls go: its endpoints, signed for it, over the engines that all regions share.

The runtime's endpoint is a ``Target`` for ``Upstream``; the control plane beside it is one signed
GET, as discovery wants it. A configured endpoint counts for every region.
"""

from collections.abc import Callable, Mapping
from typing import Final

import httpx

from proxy.bedrock.credentials import Authorizer
from proxy.bedrock.paths import query_string
from proxy.bedrock.regions import AwsConfig, Service, endpoint
from proxy.bedrock.transport import SignedTransport, build_request, read_whole
from proxy.bedrock.upstream import Target

_LISTING_LIMIT: Final = 32_000_000


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
        authorizer_for: Callable[[str], Authorizer],
    ) -> None:
        self._region = region
        self._aws = aws
        self._pooled = pooled
        self._fresh = fresh
        self._authorizer_for = authorizer_for
        self._known: dict[str, Target] = {}

    def __call__(self, region: str | None) -> Target:
        region = region or self._region
        target = self._known.get(region)
        if target is None:
            authorizer = self._authorizer_for(region)
            target = self._known[region] = Target(
                region,
                self._base("bedrock-runtime", region),
                SignedTransport(self._pooled, authorizer),
                SignedTransport(self._fresh, authorizer),
            )
        return target

    async def list(
        self, region: str, path: str, query: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One signed GET of the control plane: status, headers in lower case, body.

        Raises ``ProxyError`` when it cannot be sent or its answer is cut.
        """
        url = httpx.URL(self._base("bedrock", region) + path)
        if query:
            url = url.copy_with(query=query_string(query).encode())
        response = await self(region).transport.handle_async_request(build_request("GET", url))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status_code, headers, await read_whole(response, _LISTING_LIMIT)

    async def close(self) -> None:
        """Close the engines."""
        await self._pooled.aclose()
        await self._fresh.aclose()

    def _base(self, service: Service, region: str) -> str:
        configured = self._aws.endpoints.get(service)
        return configured or endpoint(service, region, self._aws.fips, self._aws.dualstack)
