"""Checks periodically that every endpoint of etcd answers, and how full etcd is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from mgr.clock import CLOCK
from mgr.errors import StoreError
from mgr.store.endpoint_health import EndpointHealth
from mgr.store.etcd import EtcdStore
from mgr.store.space import StoreSpace

CHECK_ENDPOINTS_EVERY_S: Final = 10.0
"""Interval of checks which cluster each endpoint of etcd belongs to."""

log = logging.getLogger(__name__)


async def check_endpoints(store: EtcdStore, endpoints: EndpointHealth, space: StoreSpace) -> None:
    """Check periodically that every endpoint answers and is of the right cluster; never returns.

    Also observes how full etcd is.
    """
    while True:
        with contextlib.suppress(StoreError):
            status = await store.status()
            if status.used_bytes:
                space.observe(status.used_bytes, status.quota_bytes)
        await asyncio.sleep(CHECK_ENDPOINTS_EVERY_S)
        answers = await store.check_endpoints()
        if endpoints.observe(answers, CLOCK.now()):
            silent = ",".join(endpoints.silent) or "none"
            log.warning("silent etcd endpoints changed", extra={"silent": silent})
