"""Which memory an operator gets: this process's own, or one that replicas share.

A misconfiguration is a ``ValueError`` whose message says what to write instead; nothing is
connected yet.
"""

import time
from typing import Final

from proxy.memory.sealing import LEAST_SECRET, Sealer
from proxy.memory.shared import SharedMemory, connect
from proxy.memory.store import LocalMemory, Memory

_EXTRA: Final = (
    "needs the packages of the extra `valkey`: pip install 'bedrock-openai-proxy[valkey]'"
)


def open_memory(*, room: int, ttl: float, url: str | None, secret: str | None) -> Memory:
    """``room`` in bytes for this process, ``ttl`` in seconds; with ``url`` the memory is shared."""
    local = LocalMemory(room, ttl, time.monotonic)
    if url is None:
        return local
    if secret is None or len(secret) < LEAST_SECRET:
        raise ValueError(
            f"what is remembered leaves the process encrypted; set valkey_key to a secret of"
            f" {LEAST_SECRET} characters or more (openssl rand -hex 32), the same for all replicas"
        )
    try:
        client, faults = connect(url)
        sealer = Sealer(secret)
    except ImportError:
        raise ValueError(f"valkey_url {_EXTRA}") from None
    except ValueError:
        raise ValueError(
            "valkey_url must be like redis://host:6379/0, rediss://… or unix://…"
        ) from None
    return SharedMemory(client, faults, sealer, local, ttl=ttl, clock=time.monotonic)
