"""Keeps this manager's own certificate current, and reports when its certificates end.

A signer signs its next certificate itself: it has the passphrase of the CA's key, and the encrypted
key is in its mirror. Another manager asks a signer. No leader is needed (docs/adr/0069).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from mgr.clock import utc_now
from mgr.config.values import ConfigValues
from mgr.errors import InvalidSettingError, MgrError, NotPermittedError
from mgr.host.cluster_view import ClusterView
from mgr.host.server_tls import ServerTls
from mgr.host.worker_context import WorkerContext
from mgr.link import CertificateReport, CertificatesChanged
from mgr.pki.authority import load_certificate, pin_of
from mgr.pki.private_key import PRIVATE, PrivateKey, write_file
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import LocalSigner
from mgr.pki.subject import addresses_of, manager_subject
from mgr.rpc.remote_signer import AnySigner, RemoteSigner
from mgr.settings import Settings
from mgr.store.api import Reader
from mgr.store.keys import Keys
from mgr.worker.guard_link import GuardLink
from mgr.x509_errors import UNUSABLE

UNPROTECTED: Final = "unprotected: it listens without TLS and client certificates"
RENEW_AT: Final = 0.5
"""The share of its lifetime after which a certificate is renewed."""
EVERY_S: Final = 10.0
FILES: Final = ("tls_cert", "tls_ca", "etcd_cert", "etcd_ca")

log = logging.getLogger(__name__)


class Certificates(NamedTuple):
    """What a manager tells of its certificates.

    Attributes:
        certificates: When each certificate in the settings ends.
        signs: It has the passphrase of the CA's key.

    """

    certificates: tuple[CertificateReport, ...]
    signs: bool


Report = Callable[[Certificates], None]


class ManagerCertificates:
    """The certificates of one manager."""

    def __init__(self, manager: WorkerContext, tls: ServerTls | None) -> None:
        """Renew the certificate of ``tls`` if the CA of the cluster has signed it."""
        self._manager = manager
        self._tls = tls
        self._sealed = SealedAuthority(manager.mirror, manager.keys, manager.settings.tls_dir)
        self._trouble = ""

    async def reports(self) -> Certificates:
        """Read when each certificate in the settings ends; unreadable files are left out."""
        has_authority = self._cluster_signs()
        renews = bool(self._manager.settings.tls_dir) and has_authority
        signs = has_authority and await asyncio.to_thread(self._sealed.has_passphrase)
        found = await asyncio.to_thread(_reports, self._manager.settings, renews=renews)
        return Certificates(found, signs)

    def start(self, tasks: asyncio.TaskGroup, guard_link: GuardLink) -> None:
        """Follow the files and renew the certificate in ``tasks``; changes go to the guard."""
        if self._tls is not None:
            tasks.create_task(self._tls.follow(), name="follow certificate files")

        def report(found: Certificates) -> None:
            guard_link.send(CertificatesChanged(certificates=found.certificates, signs=found.signs))

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

    def _cluster_signs(self) -> bool:
        try:
            self._sealed.record()
        except NotPermittedError:
            return False
        return True

    async def _renew_if_due(self, tls: ServerTls) -> None:
        present = load_certificate(tls.current.cert)
        if not is_due(present, self._lifetime()) or not self._cluster_signs():
            return
        if pin_of(load_certificate(self._sealed.record().certificate)) not in _pins(tls.current.ca):
            raise InvalidSettingError(
                f"{tls.current.ca_file} does not contain the CA of this cluster: join again"
            )
        key, signer = PrivateKey(), self._manager.signer
        subject = manager_subject(self._manager.settings, addresses_of(present))
        request = key.request(subject.name)
        if signer is None or await signer.is_here():
            authority = await self._sealed.open()
            signed = authority.sign(request, subject, self._lifetime())
        else:
            signed = await signer.renew_own(request)
            if not key.fits(signed):
                raise InvalidSettingError("a signer answered with a certificate of another key")
        content = key.with_certificate(signed)
        await asyncio.to_thread(write_file, Path(tls.current.cert_file), content, mode=PRIVATE)
        await tls.check()
        log.info("certificate renewed", extra={"file": tls.current.cert_file})

    def _lifetime(self) -> dt.timedelta:
        return dt.timedelta(seconds=self._manager.config.certificate_lifetime_s())


def make_signer(
    settings: Settings,
    mirror: Reader,
    keys: Keys,
    config: ConfigValues,
    view: ClusterView,
    tls: ServerTls | None,
) -> AnySigner:
    """Return what signs for the manager with ``settings``, and for others if it is a signer."""
    sealed = SealedAuthority(mirror, keys, settings.tls_dir)
    local = LocalSigner(sealed, config.certificate_lifetime_s)
    remote = RemoteSigner(settings.id, view.presences, lambda: tls.current if tls else None)
    return AnySigner(sealed, local, remote)


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
        except (OSError, *UNUSABLE):
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
