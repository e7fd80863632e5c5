"""Opens the memory that the operator configured: of this process, or shared by replicas.

A misconfiguration is a ``ValueError`` whose message says what to write instead; nothing is
connected yet.
"""

import time

from proxy.memory.sealing import LEAST_SECRET, Sealer
from proxy.memory.shared import SharedMemory
from proxy.memory.store import LocalMemory, Memory
from proxy.valkey import MISSING, connect


def open_memory(*, room: int, ttl: float, url: str | None, secret: str | None) -> Memory:
    """``room`` in bytes for this process, ``ttl`` in seconds; with ``url`` the memory is shared."""
    local = LocalMemory(room, ttl, time.monotonic)
    if url is None:
        return local
    if secret is None or len(secret) < LEAST_SECRET:
        raise ValueError(
            f"entries are encrypted before they leave the process; set valkey_key to a secret of"
            f" {LEAST_SECRET} characters or more (openssl rand -hex 32), the same for all replicas"
        )
    client, faults = connect(url)
    try:
        sealer = Sealer(secret)
    except ImportError:
        raise ValueError(MISSING) from None
    return SharedMemory(client, faults, sealer, local, ttl=ttl, clock=time.monotonic)
