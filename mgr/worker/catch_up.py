"""Waits until this worker's copy of the store has what an earlier term wrote."""

from __future__ import annotations

import logging
from typing import Final

from mgr.errors import StoreUnavailableError
from mgr.store.api import Revision
from mgr.store.mirror import Mirror

LOG_EVERY_S: Final = 10.0

log = logging.getLogger(__name__)


async def wait_for_revision(mirror: Mirror, revision: Revision) -> None:
    """Wait until ``mirror`` contains everything up to ``revision``, without a limit."""
    while True:
        try:
            await mirror.wait_for_revision(revision, LOG_EVERY_S)
        except StoreUnavailableError as error:
            log.warning("waiting for the store", extra={"error": str(error)})
        else:
            return
