"""``mgrctl auth renew``: a new certificate in place of the one that ``mgrctl`` shows.

Agents and daemons renew theirs by themselves; people have no process that runs all the time.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from mgr.cli.invocation import Invocation
from mgr.cli.local import Front
from mgr.client.leader_cache import LeaderCache
from mgr.client.peers import Peers, addresses_in
from mgr.client.renewal import REACH_S, renew
from mgr.clock import CLOCK
from mgr.errors import InvalidSettingError
from mgr.pki.authority import common_name, load_certificate


@click.command()
@click.pass_obj
def command(front: Front) -> int:
    """Replace the certificate that mgrctl shows by a new one, which the active has signed."""
    return asyncio.run(run(front.invocation_of(("auth", "renew"))))


async def run(invocation: Invocation) -> int:
    """Renew the certificate; print whose it is and when the new one ends.

    Raises:
        InvalidSettingError: ``mgrctl`` shows no certificate, or certificate and key are two files.
        MgrError: As raised by ``mgr.client.renewal.renew``.

    """
    tls = invocation.tls
    if tls is None or not tls.cert_file:
        raise InvalidSettingError("mgrctl shows no certificate: there is nothing to renew")
    if tls.cert_file != tls.key_file:
        # Two files cannot be replaced at once, and one without the other locks their owner out.
        raise InvalidSettingError(
            f"{tls.cert_file} and {tls.key_file}: only one file with both is renewed, such as "
            "mgrd init and mgrd issue write"
        )
    peers = Peers(addresses_in(invocation.hosts), tls)
    try:
        cache = LeaderCache(peers, CLOCK, reach_s=REACH_S)
        await renew(cache, tls, timeout_s=invocation.timeout_s)
    except OSError as error:
        raise InvalidSettingError(f"{tls.cert_file}: {error.strerror}") from None
    finally:
        await peers.close()
    content = await asyncio.to_thread(Path(tls.cert_file).read_bytes)
    renewed = load_certificate(content)
    ends = f"{renewed.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    sys.stdout.write(f"renewed {common_name(renewed)} in {tls.cert_file}: ends at {ends}\n")
    return 0
