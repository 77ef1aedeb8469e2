"""What holds for every test."""

from __future__ import annotations

import gc
import logging
import os
import re
import signal

import pytest

from tests.support.etcd import (  # noqa: F401 - fixtures are found by their names
    etcd,
    etcd_cluster,
    etcd_directory,
    etcd_program,
    own_etcd,
)
from tests.support.etcd_tools import etcd_tools  # noqa: F401 - as above
from tests.support.fetch_promtool import promtool  # noqa: F401 - as above

SLOW_CALLBACK_S = 1.0
"""The loop complains above 0.1 s; between the two, a slow machine may be to blame."""


def pytest_configure():
    """Interrupts interrupt, also where the tests run in the background of a shell.

    Such a shell has its children ignore SIGINT, and theirs inherit it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Thousands of collected tests are not searched for garbage in the middle of one of them."""
    gc.collect()
    gc.freeze()


class SlowCallbacks(logging.Handler):
    """Collects asyncio's complaints about callbacks that kept the loop from turning."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found = []

    def emit(self, record):
        took = re.search(r"took ([0-9.]+) seconds", message := record.getMessage())
        if took and float(took[1]) > SLOW_CALLBACK_S:
            self.found.append(message)


@pytest.fixture(autouse=True)
def no_callback_blocks_the_loop(request):
    """Nothing slow between two renewals: what blocks the loop of a fast test fails it."""
    slow = SlowCallbacks()
    logger = logging.getLogger("asyncio")
    logger.addHandler(slow)
    try:
        yield
    finally:
        logger.removeHandler(slow)
    real = {"etcd", "e2e", "slow"} & {mark.name for mark in request.node.iter_markers()}
    # More runnable processes than cores: somebody else had the processor.
    crowded = os.getloadavg()[0] > (os.cpu_count() or 1) + 1
    if slow.found and not real and not crowded:
        pytest.fail("the loop was blocked: " + "; ".join(slow.found))
