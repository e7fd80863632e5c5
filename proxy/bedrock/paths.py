"""How names travel in a request target: one percent-encoded segment, one sorted query.

AWS leaves only ``A-Z a-z 0-9 - _ . ~`` bare, in a path segment and in a query alike. What is sent
and what is signed must be this same string. Source: Smithy, *HTTP bindings*, 9.2 (httpLabel).
"""

from collections.abc import Mapping
from urllib.parse import quote


def segment(text: str) -> str:
    """``text`` as one path segment: ``/`` and ``:`` are encoded too."""
    return quote(text, safe="-_.~")


def query_string(query: Mapping[str, str]) -> str:
    """``query`` in SigV4's canonical form: sorted, each part encoded once, without ``?``."""
    return "&".join(f"{segment(k)}={segment(v)}" for k, v in sorted(query.items()))
