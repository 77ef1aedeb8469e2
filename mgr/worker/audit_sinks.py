"""The audit's sinks of this process, as the settings name them."""

from __future__ import annotations

import asyncio

from mgr.audit.delivery import Delivery
from mgr.audit.sinks import FILE, configured_sinks, opened_line
from mgr.host.bridge import run_in_thread
from mgr.link import AuditTrouble
from mgr.settings import Settings
from mgr.worker.guard_link import GuardLink


def start_audit_sinks(
    settings: Settings, guard_link: GuardLink, tasks: asyncio.TaskGroup
) -> Delivery | None:
    """Return the configured sinks of the audit, which run in ``tasks``; None if there are none."""
    sinks = configured_sinks(
        file=settings.audit_file,
        syslog=settings.audit_syslog,
        durable=FILE in settings.audit_required,
    )
    if not sinks:
        return None
    delivery = Delivery(
        sinks, run_in_thread, required=settings.audit_required, timeout_s=settings.audit_timeout_s
    )
    delivery.subscribe(lambda: guard_link.send(AuditTrouble(why=delivery.trouble)))
    # The first line shows whether they keep records, before this manager may have to lead.
    delivery.offer(opened_line(settings.id))
    tasks.create_task(delivery.run(), name="audit sinks")
    return delivery
