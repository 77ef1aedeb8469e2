"""The pytest plug-in: installed with the product, it gives every test the fixture ``mgr_host``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mgr.testing.host import Host


@pytest.fixture
def mgr_host() -> Iterator[Host]:
    """A host for one module: see ``mgr.testing.host.Host``. It is closed after the test."""
    # Not at the top: pytest imports plug-ins in every session, also where no module is tested.
    from mgr.testing.host import Host  # noqa: PLC0415 - as said

    with Host() as host:
        yield host
