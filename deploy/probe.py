#!/opt/mgr/bin/python -IS
"""Ask the manager in this container one of its probes: ``mgr-probe readyz``, ``mgr-probe active``.

Prints the answer; exit status 0 if it was 200. The standard library alone: this runs every few
seconds, and our own packages take longer to import than the answer takes.
"""

import http.client
import os
import sys

LIMIT_S = 2.0
EVERYWHERE = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where to ask a manager that listens on every interface."""


def connect(listen: str) -> http.client.HTTPConnection:
    """Return a connection to the manager that listens at ``listen``; nothing is sent yet."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    host = EVERYWHERE.get(host, host)
    if not (os.environ.get("MGR_TLS_CERT") or os.environ.get("MGR_TLS_DIR")):
        return http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)
    import ssl  # noqa: PLC0415 - half of the time that this program takes

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # As other probes do: the certificate is for the name that clients use, not for this address.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, int(port), timeout=LIMIT_S, context=context)


def main(probe: str = "readyz") -> int:
    """Ask, print, and say by the exit status whether it was a yes."""
    listen = os.environ.get("MGR_HTTP_LISTEN", "127.0.0.1:7480")
    connection = connect(listen)
    try:
        connection.request("GET", f"/{probe}")
        answer = connection.getresponse()
        text = answer.read(2000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer at {listen}: {error}\n")
        return 1
    sys.stdout.write(f"{answer.status} {text}\n")
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
