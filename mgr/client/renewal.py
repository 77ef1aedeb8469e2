"""Renews the certificate of a daemon or an agent before it ends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from mgr.client.call import LeaderCall
from mgr.client.leader_cache import LeaderCache
from mgr.client.peers import Peers
from mgr.clock import CLOCK, utc_now
from mgr.errors import MgrError
from mgr.pki.authority import common_name, load_certificate
from mgr.pki.private_key import PRIVATE, PrivateKey, prove, write_file
from mgr.rpc.v1.certificate_pb2 import RenewRequest, RenewResponse
from mgr.tls import Tls

RENEW_AT: Final = 0.5
"""The share of its lifetime after which a certificate is renewed."""
EVERY_S: Final = 10.0
TIMEOUT_S: Final = 10.0
REACH_S: Final = 5.0

log = logging.getLogger(__name__)


async def keep_renewed(peers: Peers, tls: Tls) -> None:
    """Renew the certificate in the file of ``tls`` whenever it is due; never returns.

    ``peers`` use the new one for their next connections; those that exist are not touched.
    """
    cache = LeaderCache(peers, CLOCK, reach_s=REACH_S)
    trouble = ""
    while True:
        try:
            if await asyncio.to_thread(_is_due, tls.cert_file):
                await renew(cache, tls)
            trouble = ""
        except (MgrError, OSError) as error:
            if trouble != str(error):
                trouble = str(error)
                log.warning("certificate not renewed: %s", trouble)
        await asyncio.sleep(EVERY_S)


async def renew(cache: LeaderCache, tls: Tls, *, timeout_s: float = TIMEOUT_S) -> None:
    """Replace the certificate in the file of ``tls`` by a new one, which the active has signed.

    Raises:
        InvalidArgumentError: The file has no certificate, or its key is of another kind.
        NotAuthorizedError: The cluster's CA did not sign it, or its name has no capabilities.
        UnreachableError: No active was found in time.
        OSError: The file cannot be read or written.

    """
    present = load_certificate(await asyncio.to_thread(Path(tls.cert_file).read_bytes))
    key = PrivateKey()
    wanted = key.request(common_name(present))
    proof = prove(await asyncio.to_thread(Path(tls.key_file).read_bytes), wanted)
    request = RenewRequest(signing_request=wanted, proof=proof)
    call: LeaderCall[RenewResponse] = LeaderCall(
        cache,
        lambda peer, left_s: peer.certificates.Renew(request, timeout=left_s),
        timeout_s=timeout_s,
    )
    answer = await call.run()
    content = key.with_certificate(answer.certificate.decode())
    await asyncio.to_thread(write_file, Path(tls.cert_file), content, mode=PRIVATE)
    log.info("certificate renewed", extra={"file": tls.cert_file})


def _is_due(file: str) -> bool:
    present = load_certificate(Path(file).read_bytes())
    begins, ends = present.not_valid_before_utc, present.not_valid_after_utc
    return utc_now() >= begins + (ends - begins) * RENEW_AT
