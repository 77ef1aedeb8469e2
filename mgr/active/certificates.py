"""Makes the issuer of certificates of one term."""

from __future__ import annotations

from mgr.host.worker_context import WorkerContext
from mgr.pki.issuer import CertificateIssuer
from mgr.pki.sealed_authority import SealedAuthority
from mgr.pki.signer import LocalSigner
from mgr.store.api import FencedWriter


def make_issuer(manager: WorkerContext, fenced: FencedWriter) -> CertificateIssuer:
    """Return an issuer that writes by ``fenced``."""
    sealed = SealedAuthority(manager.mirror, manager.keys, manager.settings.tls_dir)
    signer = manager.signer or LocalSigner(sealed, manager.config.certificate_lifetime_s)
    return CertificateIssuer(sealed, fenced, manager.store, signer)
