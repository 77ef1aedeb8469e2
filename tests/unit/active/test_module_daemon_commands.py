"""Commands that modules send to daemons: over their streams, answered as from the manager."""

import errno
import json

from mgr.module_api.result import CommandResult
from tests.unit.active.fleet.test_reader import join
from tests.unit.active.probe import Probe


async def test_a_module_sends_a_daemon_a_command_and_waits_for_its_answer(cluster, run):
    """What is no prefix is an argument of the daemon's command, typed."""
    _, line = join(cluster.role.fleet, "eu.1")

    answer = await run(
        lambda m: m.tell_command("rgw", "eu.1", {"prefix": "cache drop", "count": 3}, "in")
    )

    assert answer == (-errno.ENOENT, "data", "words")
    [order] = line.orders
    assert (order.words, order.arguments, order.input) == (["cache", "drop"], {"count": 3}, b"in")


async def test_a_background_answer_is_notified_by_its_tag(cluster, run):
    """After the result has it."""
    join(cluster.role.fleet)
    result = CommandResult()

    await run(lambda m: m.send_command(result, "rgw", "a", json.dumps({"prefix": "x"}), "tag-1"))
    await cluster.until(lambda: ("command", "tag-1") in Probe.received)

    assert result.wait() == (-errno.ENOENT, "data", "words")


async def test_a_daemon_that_is_not_there_is_answered_for(cluster, run):
    """Unknown, away, or of a type that nobody has: each says so."""
    daemon, line = join(cluster.role.fleet)
    cluster.role.fleet.on_stream_lost(daemon, line)

    away = await run(lambda m: m.tell_command("rgw", "a", {"prefix": "x"}))
    unknown = await run(lambda m: m.tell_command("rgw", "b", {"prefix": "x"}))
    refused = await run(lambda m: m.tell_command("nfs", "a", {"prefix": "x"}))

    assert away[0] == -errno.EHOSTUNREACH
    assert unknown == (-errno.ENXIO, "", "rgw.b is not known here")
    assert isinstance(refused, ValueError)
    assert str(refused) == "unknown service type: nfs"
