"""A name belongs to one live manager."""

from __future__ import annotations

from tests.support.cluster import Manager


def test_a_second_manager_with_the_same_name_refuses_to_start(cluster, tmp_path):
    """It says who holds the name, and the first is not disturbed."""
    holder = cluster.settled()
    second: Manager = cluster._manager(holder.name)
    second.log = tmp_path / "second.log"
    second.start()

    status = second.wait(20)

    said = second.log.read_text()
    assert status != 0
    assert holder.name in said
    assert str(holder.guard_pid) in said
    assert cluster.active().name == holder.name
