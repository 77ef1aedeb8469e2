"""A name and a port belong to one live manager."""

from __future__ import annotations

import errno

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


def test_a_manager_whose_port_is_taken_refuses_to_start(cluster, tmp_path):
    """In one line that names setting and port; the holder is not disturbed."""
    holder = cluster.settled()
    second: Manager = cluster._manager("late")
    second._command.extend(["--grpc-listen", holder.grpc_address])
    second.log = tmp_path / "late.log"
    second.start()

    status = second.wait(20)

    *_, last = second.log.read_text().splitlines()
    assert status == errno.EADDRINUSE
    assert last.startswith(f"mgrd: grpc_listen: cannot listen on {holder.grpc_address}: ")
    assert cluster.active().name == holder.name
