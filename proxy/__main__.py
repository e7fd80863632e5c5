"""``python -m proxy`` is the command line.

Without the dependencies it prints how to get them instead of a traceback: this is what a fresh
clone shows to who tries it first.
"""

import os
import sys
from importlib.util import find_spec

_NEEDED = ("click", "starlette", "uvicorn", "httpx", "botocore", "orjson", "prometheus_client")
_SET_UP = """\
bedrock-openai-proxy needs its dependencies. From the folder of the clone:

  python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/bedrock-openai-proxy demo

(on Debian and Ubuntu first: apt install python3-venv). With uv or pipx:

  uvx --from . bedrock-openai-proxy demo
  pipx run --spec . bedrock-openai-proxy demo
"""


def main() -> None:
    """Run the command line; exits with its code."""
    _take_standard_descriptors()
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"Missing: {', '.join(missing)}. {_SET_UP}")
        raise SystemExit(1)
    from proxy.cli import command

    command()


def _take_standard_descriptors() -> None:
    """Who starts us may have closed them: a socket of ours would become the next one's stderr."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


if __name__ == "__main__":
    main()
