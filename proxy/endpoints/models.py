"""Model listings: the catalog as the client API shows it.

``GET …/models`` and ``GET …/models/{id}``; an id may hold dots, colons and slashes, encoded or not.
The answer comes from the snapshot; only a cache that the operator switched off is waited for.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from proxy.errors import invalid

Entry = Mapping[str, object]


class Listing(Protocol):
    """What discovery offers to a listing."""

    async def entries(self) -> Sequence[Entry]:
        """The listed models, freshly asked for where no cache is wanted."""
        ...


def list_models(
    listing: Listing, render: Callable[[Sequence[Entry]], bytes]
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of the whole list."""

    async def endpoint(request: Request) -> Response:
        return Response(render(await listing.entries()), media_type="application/json")

    return endpoint


def one_model(
    listing: Listing, render: Callable[[Entry], bytes]
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of one entry. Raises ``ProxyError`` 404 that names the nearest ids."""

    async def endpoint(request: Request) -> Response:
        asked = request.path_params["model"]
        entries = {str(entry["id"]): entry for entry in await listing.entries()}
        if asked not in entries:
            near = get_close_matches(asked, entries, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise invalid(
                f"The model {asked[:200]!r} is not listed here.{hint}",
                "model", "model_not_found", status=404,
            )  # fmt: skip
        return Response(render(entries[asked]), media_type="application/json")

    return endpoint
