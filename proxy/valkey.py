"""The connection to the Valkey or Redis server that replicas share, for their limits and memory.

Needs the package ``redis`` (it speaks to both servers), of the extra ``valkey``: imported only when
an operator asks for a server. Source: redis-py's documentation, *Asyncio* and *Connection pools*.
"""

from importlib import import_module
from typing import Any, Final

MISSING: Final = "valkey_url needs the extra `valkey`: pip install 'bedrock-openai-proxy[valkey]'"
_CONNECTIONS: Final = 32


def connect(
    url: str, timeout: float = 0.5, *, text: bool = False
) -> tuple[Any, tuple[type[Exception], ...]]:
    """A ``redis.asyncio.Redis`` for ``url`` (``redis://``, ``rediss://``, ``unix://``), not
    connected yet, and its errors.

    ``timeout``, in seconds, bounds each connection and each answer; with ``text`` answers are
    decoded. Raises ``ValueError`` that says what to do.
    """
    try:
        client = import_module("redis.asyncio")
        retries = import_module("redis.asyncio.retry")
        backoff = import_module("redis.backoff")
        errors = import_module("redis.exceptions")
    except ImportError:
        raise ValueError(MISSING) from None
    try:
        pool = client.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            decode_responses=text,
            # Once more is for connections that went stale; all that is sent may be sent twice.
            retry=retries.Retry(backoff.NoBackoff(), 1),
        )
    except ValueError:
        raise ValueError(
            "valkey_url must be like redis://host:6379/0, rediss://… or unix://…"
        ) from None
    return client.Redis.from_pool(pool), (errors.RedisError,)  # which then closes the pool
