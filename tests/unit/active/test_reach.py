"""What a module of the active learns of others and has others do, from its own thread."""

import asyncio
import errno
import json

import pytest

from mgr.active.documents.empty import EMPTY_CEPH_DOCUMENTS
from mgr.active.modules import background_commands
from mgr.election.records import Presence
from mgr.election.records import encode as encode_record
from mgr.module_api.result import CommandResult
from tests.support.held_store import HeldStore, turn_the_loop
from tests.unit.active.probe import Peer, Probe

PLACE = {"name": "mgr/probe/place", "value": "Oslo"}
PRESENCE = Presence(
    name="a",
    incarnation="i",
    host="here",
    boot_id="b",
    pid_namespace="n",
    pid=1,
    pid_started=1,
    grpc_address="10.0.0.1:7400",
    http_address="10.0.0.1:7480",
    version="1.2",
)


async def test_a_background_command_is_completed_and_notified(cluster, run):
    """On a thread of its own: whoever waits for it in a command is woken; then all are told."""

    def work(module):
        command = json.dumps({"prefix": "config set", "who": "mgr", **PLACE})
        result = CommandResult("tag")
        module.send_command(result, "mon", "", command, "tag")
        return result.wait()[0], module.get_module_option("place")

    assert await run(work) == (0, "Oslo")
    await cluster.until(lambda: ("command", "tag") in Probe.received)


async def test_a_command_may_be_waited_for_in_the_modules_own_command(run):
    """Which keeps the thread that notifications need, and not the one that completes."""

    def work(module):
        return [module.tell_command("mon", "a", {"prefix": "peer say"})[:2] for _ in range(3)]

    assert await run(work) == [(0, "said")] * 3


async def test_a_result_that_raises_disturbs_nobody(cluster, run):
    """It is logged; the others are told all the same."""

    class Odd:
        def complete(self, r, outb, outs):
            raise ValueError("odd")

    await run(lambda module: module.send_command(Odd(), "osd", "1", "{}", "odd"))

    await cluster.until(lambda: ("command", "odd") in Probe.received)
    assert await run(lambda module: module.get_term()) == cluster.term


async def test_commands_that_nobody_answers_end_with_the_manager(cluster, run):
    """No module waits for ever for a manager that is over."""
    result = CommandResult()
    await run(lambda m: m.send_command(result, "mon", "", '{"prefix": "peer wait"}', ""))
    await cluster.until(Peer.waits.is_set)

    cluster.role.abort("over")

    retval, _, words = await asyncio.to_thread(result.wait)
    Peer.goes_on.set()
    assert retval < 0
    assert "over" in words


async def test_too_many_commands_at_once_are_refused(cluster, run, monkeypatch):
    """By an answer, as everything else."""
    monkeypatch.setattr(background_commands, "UNDER_WAY_MAX", 0)

    answer = await run(lambda module: module.tell_command("mon", "", {"prefix": "peer say"}))

    assert answer[0] == -errno.EBUSY


async def test_the_managers_are_daemons_of_the_fleet(cluster, run):
    """With the host they are on, and what they say of themselves."""
    await cluster.put(cluster.keys.manager("a"), encode_record(PRESENCE))

    def work(module):
        return (
            module.list_servers(),
            module.get_metadata("mgr", "a"),
            module.get_daemon_status("mgr", "a"),
            module.get_daemon_health_metrics(),
        )

    servers, metadata, status, metrics = await run(work)

    [server] = servers
    assert (server["hostname"], server["services"][0]["id"]) == ("here", "a")
    assert "version 1.2" in server["ceph_version"]
    assert (metadata["hostname"], metadata["ceph_version_short"]) == ("here", "1.2")
    assert (status, metrics) == ({}, {"mgr.a": []})
    assert await run(lambda module: module.get_server("here")) == server


async def test_a_daemon_that_is_not_known_is_empty(run):
    """Each question has its own form of it."""

    def work(module):
        return (
            module.get_server("nowhere")["services"],
            module.get_metadata("osd", "0"),
            module.get_metadata("mgr", "z", {"default": "d"}),
            module.get_daemon_status("osd", "0"),
            module.get_counter("osd", "0", "p"),
            module.get_latest_counter("osd", "0", "k", "c", []),
            module.get_perf_schema("", ""),
            module.get_latest("osd", "0", "p"),
        )

    empty = ([], None, {"default": "d"}, None, {"p": []}, {"k": []}, {}, 0)
    assert await run(work) == empty


async def test_the_wear_level_of_a_device_is_added_to_its_record(cluster, run):
    """Under a key that other programs read."""
    key = f"{cluster.keys.kv}device/disk"
    await cluster.put(key, '{"life": "long"}')

    await run(lambda module: module.set_device_wear_level("disk", 0.5))

    assert json.loads(cluster.mirror.get(key).value) == {"life": "long", "wear_level": 0.5}
    # What Ceph's devicehealth says of a device that does not tell.
    await run(lambda module: module.set_device_wear_level("disk", -1.0))
    assert json.loads(cluster.mirror.get(key).value) == {"life": "long"}


async def test_the_wear_level_of_a_device_overwrites_no_concurrent_write(cluster, run):
    """It is written beside what was acknowledged before it."""
    key = f"{cluster.keys.kv}device/disk"
    fenced = cluster.role._fenced
    fenced._store = held = HeldStore(cluster.store)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fenced.put(key, '{"life": "long"}'))
        tasks.create_task(run(lambda module: module.set_device_wear_level("disk", 0.5)))
        await cluster.until(lambda: len(fenced._turns.running) == 2)
        await turn_the_loop()
        held.open.set()

    assert json.loads(cluster.mirror.get(key).value) == {"life": "long", "wear_level": 0.5}


@pytest.mark.parametrize("name", [*EMPTY_CEPH_DOCUMENTS, "osdmap_crush_map_text"])
async def test_documents_of_what_is_not_there_are_empty_and_there(run, name):
    """Code that counts works on nothing as well."""
    document = await run(lambda module: module.get(name))

    assert document is not None
    assert json.loads(json.dumps(document)) == document


async def test_names_that_ceph_guesses_are_guessed(run):
    """By how they begin; any other unknown name is None."""
    names = ("osd_map_no_such", "config_no_such", "device unknown", "no_such")

    assert await run(lambda m: [m.get(name) for name in names]) == [{}, {}, {}, None]


async def test_a_caller_is_authorised_while_a_command_is_answered(cluster, run):
    """And only then: there is nobody else to be asked about."""
    instance = cluster.role._modules.instance_of("probe")

    assert await run(lambda m: (m.is_authorized({"k": "v"}), m.is_authorized("v"))) == (True, False)
    assert instance.is_authorized({"k": "v"}) is False
