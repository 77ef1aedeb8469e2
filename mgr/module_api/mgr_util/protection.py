"""The warning that a page has to show while the cluster is open to the network.

Ours, not ceph-mgr's: a module that uses it does not load in ceph-mgr.
"""

from __future__ import annotations

import json
from typing import Any, Final

UNPROTECTED: Final = "MGR_UNPROTECTED"
OPTION: Final = "mgr_unprotected"
WARNING: Final = (
    f"{UNPROTECTED}: managers of this cluster listen on the network without TLS and client "
    "certificates. Whoever reaches them controls the cluster."
)


def unprotected_warning(module: Any) -> str:
    """Return the warning for every page of ``module``, active or standby; empty if there is none.

    A mute of the health check does not hide it: who looks at a page may not be who muted it.
    """
    if module.get_ceph_option(OPTION):
        return WARNING
    # A standby's module sees no health; it knows of its own manager.
    get = getattr(module, "get", None)
    health = get("health") if get is not None else None
    checks = json.loads(health["json"]).get("checks", {}) if health else {}
    return WARNING if UNPROTECTED in checks else ""


def warning_html(module: Any) -> str:
    """Return the same as an HTML paragraph; empty if there is none."""
    text = unprotected_warning(module)
    return f'<p role="alert"><strong>{text}</strong></p>' if text else ""
