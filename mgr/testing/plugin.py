"""The pytest plug-in with the fixture ``mgr_host``. It is active wherever mgr is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mgr.testing.host import Host


@pytest.fixture
def mgr_host() -> Iterator[Host]:
    """Run one module in a test: see ``mgr.testing.host.Host``. It is closed after the test."""
    # Not at the top: pytest imports plug-ins in every session, even if no module is tested.
    from mgr.testing.host import Host  # noqa: PLC0415 - as said

    with Host() as host:
        yield host
