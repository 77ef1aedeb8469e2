"""Makes the issuer of certificates of one term."""

from __future__ import annotations

from mgr.config.manager_options import CERTIFICATE_LIFETIME
from mgr.host.worker_context import WorkerContext
from mgr.pki.issuer import CertificateIssuer, SealedAuthority
from mgr.store.api import FencedWriter


def make_issuer(manager: WorkerContext, fenced: FencedWriter) -> CertificateIssuer:
    """Return an issuer that writes by ``fenced``; the CA's key is opened at its first use."""
    sealed = SealedAuthority(manager.mirror, manager.keys, manager.settings.tls_dir)
    return CertificateIssuer(
        sealed,
        fenced,
        manager.store,
        lambda: float(str(manager.config.manager_option(CERTIFICATE_LIFETIME))),
    )
