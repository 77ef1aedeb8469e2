#!/opt/mgr/bin/python -IS
"""Ask the manager in this container one of its probes: ``mgr-probe readyz``, ``mgr-probe active``.

Prints the answer; exit status 0 if it was 200. The standard library alone: this runs every few
seconds, and our own packages take longer to import than the answer takes.
"""

import http.client
import os
import sys

LIMIT_S = 2.0


def main(probe: str = "readyz") -> int:
    """Ask, print, and say by the exit status whether it was a yes."""
    port = int(os.environ.get("MGR_HTTP_LISTEN", "127.0.0.1:7480").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", f"/{probe}")
        answer = connection.getresponse()
        text = answer.read(2000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer: {error}\n")
        return 1
    sys.stdout.write(f"{answer.status} {text}\n")
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
