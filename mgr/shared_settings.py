"""Settings that should be the same on every manager of a cluster, as one manager shows its own.

They stand in its presence key, and ``mgr compare`` lists those that differ. A difference stops
nothing: an upgrade changes one manager after the other.
"""

from __future__ import annotations

import hashlib
from typing import Final

from mgr.settings import Settings

SHARED: Final = (
    "etcd_quota_bytes",
    "etcd_timeout_s",
    "profile",
    "lease_ttl_s",
    "watchdog_s",
    "drain_s",
    "hold_s",
    "module_load_s",
    "audit_required",
    "audit_timeout_s",
    "seal_skip_unreadable",
    "grpc_message_bytes_max",
    "grpc_streams_max",
    "commands_max",
)
"""Settings that are compared as they are."""
CHARS_MAX: Final = 64


def shared_settings(settings: Settings) -> dict[str, str]:
    """Return the shared settings as text, no secret among them."""
    shown = {name: _text(getattr(settings, name)) for name in SHARED}
    return shown | {
        "etcd": ",".join(sorted(settings.etcd))[:CHARS_MAX],
        "etcd_tls": _text(bool(settings.etcd_ca)),
        "bundled_skip": ",".join(sorted(settings.bundled_skip))[:CHARS_MAX],
        "sealing": _sealing(settings),
        "protected": _text(bool(settings.tls_cert or settings.tls_dir)),
    }


def _sealing(settings: Settings) -> str:
    if settings.seal_command:
        # Its digest: what is called, and with which words, is nobody's business.
        return f"command {hashlib.sha256(settings.seal_command.encode()).hexdigest()[:12]}"
    return "file" if settings.seal_key_file else "off"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
