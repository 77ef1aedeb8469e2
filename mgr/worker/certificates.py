"""Keeps this manager's own certificate current, and reports when its certificates end.

A manager signs its next certificate itself: every one has the passphrase of the CA's key, and the
encrypted key is in its mirror. So no other manager is needed, and no leader.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509

from mgr.clock import utc_now
from mgr.config.manager_options import CERTIFICATE_LIFETIME
from mgr.errors import InvalidSettingError, MgrError, NotPermittedError
from mgr.host.server_tls import ServerTls
from mgr.host.worker_context import WorkerContext
from mgr.link import CertificateReport, CertificatesChanged
from mgr.pki.authority import Authority, load_certificate, pin_of
from mgr.pki.issuer import SealedAuthority
from mgr.pki.private_key import PRIVATE, PrivateKey, write_file
from mgr.pki.subject import addresses_of, manager_subject
from mgr.settings import Settings
from mgr.worker.guard_link import GuardLink

UNPROTECTED: Final = "unprotected: it listens without TLS and client certificates"
RENEW_AT: Final = 0.5
"""The share of its lifetime after which a certificate is renewed."""
EVERY_S: Final = 10.0
FILES: Final = ("tls_cert", "tls_ca", "etcd_cert", "etcd_ca")

log = logging.getLogger(__name__)

Report = Callable[[tuple[CertificateReport, ...]], None]


class ManagerCertificates:
    """The certificates of one manager."""

    def __init__(self, manager: WorkerContext, tls: ServerTls | None) -> None:
        """Renew the certificate of ``tls`` if the CA of the cluster has signed it."""
        self._manager = manager
        self._tls = tls
        self._sealed = SealedAuthority(manager.mirror, manager.keys, manager.settings.tls_dir)
        self._trouble = ""

    async def reports(self) -> tuple[CertificateReport, ...]:
        """Read when each certificate in the settings ends; unreadable files are left out."""
        renews = bool(self._manager.settings.tls_dir) and self._can_sign()
        return await asyncio.to_thread(_reports, self._manager.settings, renews=renews)

    def start(self, tasks: asyncio.TaskGroup, guard_link: GuardLink) -> None:
        """Follow the files and renew the certificate in ``tasks``; changes go to the guard."""
        if self._tls is not None:
            tasks.create_task(self._tls.follow(), name="follow certificate files")

        def report(found: tuple[CertificateReport, ...]) -> None:
            guard_link.send(CertificatesChanged(certificates=found))

        tasks.create_task(self.run(report), name="certificates")

    async def run(self, report: Report) -> None:
        """Renew the certificate in time, and ``report`` changes; never returns."""
        reported = await self.reports()
        while True:
            try:
                if self._tls is not None and self._manager.settings.tls_dir:
                    await self._renew_if_due(self._tls)
                self._trouble = ""
            except (MgrError, OSError) as error:
                if self._trouble != str(error):
                    self._trouble = str(error)
                    log.warning("certificate not renewed", extra={"why": self._trouble})
            present = await self.reports()
            if present != reported:
                reported = present
                report(present)
            await asyncio.sleep(EVERY_S)

    def _can_sign(self) -> bool:
        try:
            self._sealed.record()
        except NotPermittedError:
            return False
        return True

    async def _renew_if_due(self, tls: ServerTls) -> None:
        present = load_certificate(tls.current.cert)
        if not is_due(present, self._lifetime()) or not self._can_sign():
            return
        authority = await self._sealed.open()
        if authority.pin not in _pins(tls.current.ca):
            raise InvalidSettingError(
                f"{tls.current.ca_file} does not contain the CA of this cluster: join again"
            )
        await asyncio.to_thread(self._write, authority, present, tls.current.cert_file)
        await tls.check()
        log.info("certificate renewed", extra={"file": tls.current.cert_file})

    def _write(self, authority: Authority, present: x509.Certificate, file: str) -> None:
        key = PrivateKey()
        subject = manager_subject(self._manager.settings, addresses_of(present))
        certificate = authority.sign(key.request(subject.name), subject, self._lifetime())
        write_file(Path(file), key.with_certificate(certificate), mode=PRIVATE)

    def _lifetime(self) -> dt.timedelta:
        return dt.timedelta(
            seconds=float(str(self._manager.config.manager_option(CERTIFICATE_LIFETIME)))
        )


def with_protection(note: str, settings: Settings) -> str:
    """Return ``note``, and beside it that the manager listens without protection, if it does."""
    if not settings.unprotected_listeners:
        return note
    return f"{note}; {UNPROTECTED}" if note else UNPROTECTED


def is_due(certificate: x509.Certificate, lifetime: dt.timedelta) -> bool:
    """Return whether ``certificate`` is to be renewed now.

    ``lifetime`` is what a new one would have: after it was lowered, one of a longer life is due.
    """
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return utc_now() >= begins + min(ends - begins, lifetime) * RENEW_AT


def _reports(settings: Settings, *, renews: bool) -> tuple[CertificateReport, ...]:
    found = []
    for setting in FILES:
        name = getattr(settings, setting)
        try:
            certificates = x509.load_pem_x509_certificates(Path(name).read_bytes()) if name else []
        except (OSError, ValueError):
            continue
        if not certificates:
            continue
        # Of a bundle of authorities the one that ends first; of a chain the first.
        first = (
            min(certificates, key=lambda each: each.not_valid_after_utc)
            if setting.endswith("_ca")
            else certificates[0]
        )
        found.append(
            CertificateReport(
                setting=setting,
                begins_at=first.not_valid_before_utc.isoformat(),
                ends_at=first.not_valid_after_utc.isoformat(),
                renews=renews and setting == "tls_cert",
            )
        )
    return tuple(found)


def _pins(bundle: bytes) -> set[str]:
    return {pin_of(each) for each in x509.load_pem_x509_certificates(bundle)}
