"""Exit 0 if the proxy in this container is alive, else 1 and a line of why.

For HEALTHCHECK and for ECS, which have no probe of their own. Liveness, not readiness: a container
that waits for credentials must not be killed for it. Only the standard library, so that it runs
with `python3 -IS` in a tenth of a second.
"""

import http.client
import os
import sys

PORT = int(os.environ.get("BEDROCK_PROXY_PORT", "8000"))
SECONDS = 4.0


def main() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as fault:
        sys.stderr.write(f"port {PORT}: {fault!r}\n")
        return 1
    finally:
        connection.close()
    if status != 200:
        sys.stderr.write(f"port {PORT}: /healthz answered {status}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
