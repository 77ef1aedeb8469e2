"""A client finds the active, follows it, and repeats only what is safe."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest

from mgr.client.async_client import AsyncClient
from mgr.client.peers import Peers
from mgr.client.retry import REPEATS_MAX, REPEATS_PER_S
from mgr.clock import CLOCK
from mgr.errors import (
    DeadlineExceededError,
    InternalError,
    MayHaveRunError,
    NotFoundError,
    OutcomeUnknownError,
    TermLostError,
    TooLargeError,
    UnreachableError,
)
from mgr.rpc.v1.manager_pb2 import GetStatusRequest
from tests.integration.rpc.cluster import Standby, View, cluster, until

pytestmark = pytest.mark.slow  # real servers, and waits that are the point

REACH_S = 0.3


def unused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def test_one_address_of_a_standby_is_enough(three):
    """The standby names the active, which runs the command."""
    three.promote("b", 7)

    async with AsyncClient(three["a"].address) as client:
        answer = await client.execute(["echo", "salve"])

    assert (answer.text, answer.stderr, answer.term) == ("salve", "b", 7)


async def test_a_dead_manager_among_the_hosts_costs_nothing(three):
    """All are asked at once: the first answer is used."""
    three.promote("b", 7)
    begun = CLOCK.now()

    async with AsyncClient([unused(), three["a"].address]) as client:
        answer = await client.execute(["echo", "salve"])

    assert answer.text == "salve"
    assert CLOCK.now() - begun < 1.5


async def test_the_hint_of_a_standby_is_followed(client, three):
    """A client whose active has become a standby goes straight to the one it names."""
    three.promote("a", 5)
    await client.execute(["echo", "first"])

    three.promote("b", 6)

    assert (await client.execute(["echo", "second"])).stderr == "b"
    assert three["a"].role.asked == 1


async def test_managers_that_name_each_other_are_not_followed_for_ever(three):
    """Two wrong hints do not make a client run in circles: it says what each manager said."""
    for name, other in (("a", "b"), ("b", "a")):
        three[name].view.set(three[other].leader_view(5))

    async with AsyncClient(three["a"].address, timeout_s=0.5) as client:
        # The second, if the time was over in the very moment in which one was being asked.
        with pytest.raises((UnreachableError, DeadlineExceededError), match=r"0.5 s") as raised:
            await client.execute(["echo"])

    assert three["a"].address in str(raised.value)
    assert three["b"].address in str(raised.value)


async def test_a_command_in_flight_when_the_active_dies_is_applied_once(client, three):
    """The connection broke after it was applied: the repetition gets the same answer."""
    active = three.promote("a", 5)
    await client.execute(["count"])
    active.hold.clear()

    async with asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(client.execute(["count"], request_id="one"))
        await until(lambda: len(active.requests) == 2)
        three["a"].ledger.answers["one"] = "2"
        three["a"].ledger.count = 2
        await three["a"].server.close(0)
        three.promote("b", 6, among=("b", "c"))

    assert counting.result().text == "2"
    assert counting.result().term == 6
    assert three["b"].ledger.count == 2


@pytest.mark.parametrize("over_session", [False, True])
async def test_a_command_that_two_managers_did_not_survive_spares_the_third(
    client, three, over_session
):
    """It may be what kills them; whoever gets paged must not lose the whole cluster to a read."""

    async def poison():
        if not over_session:
            return await client.execute(["wait", "poison"])
        async with client.session() as session:
            return await session.execute(["wait", "poison"])

    first = three.promote("a", 5)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(refused(poison()))
        await until(lambda: first.begun)
        await three["a"].server.close(0)
        second = three.promote("b", 6, among=("b", "c"))
        await until(lambda: second.begun)
        await three["b"].server.close(0)
        third = three.promote("c", 7, among=("c",))

    error = asked.result()
    assert isinstance(error, TermLostError)
    assert "2 managers were lost" in str(error)
    assert third.requests == []


async def refused(work):
    """What ``work`` raises."""
    try:
        await work
    except TermLostError as error:
        return error
    return None


async def test_calls_that_look_for_the_active_look_together(client, three):
    """However many there are, each manager is asked once who leads."""
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(client.execute(["echo", "x"])) for _ in range(50)]
        await until(lambda: all(each.view.watched for each in three.managers.values()))
        three.promote("b", 6)

    assert all(each.result().text == "x" for each in asking)
    assert [each.view.watched for each in three.managers.values()] == [1, 1, 1]


async def test_a_call_that_looked_on_with_another_one_looks_alone_after_it(client, three):
    """The one that began the search gives up first, and the other one is none the worse."""

    async def hasty():
        with pytest.raises(UnreachableError):
            await client.execute(["echo"], timeout_s=0.2)

    async with asyncio.TaskGroup() as tasks:
        begun = tasks.create_task(hasty())
        await until(lambda: three["a"].view.watched)
        asking = tasks.create_task(client.execute(["echo", "x"]))
        await begun
        three.promote("b", 6)

    assert asking.result().term == 6


async def test_a_manager_that_refuses_is_not_stormed(client, three):
    """Twenty calls that wait for it to recover ask little more often than one."""
    three.promote("a", 5)
    three["a"].role = refusing = Standby(View())

    async def waiting():
        # The second, if the time was over in the very moment in which it was being asked.
        with pytest.raises((UnreachableError, DeadlineExceededError)):
            await client.execute(["echo"], timeout_s=1)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(waiting())

    assert refusing.asked <= 20 + REPEATS_MAX + 2 * REPEATS_PER_S


async def test_a_manager_that_comes_back_is_reached_by_the_next_attempt(three):
    """Nobody waits for a pause that began while it was away: it may lead by now."""
    address = three["a"].address
    peers = Peers([address])
    await three["a"].server.close(0)
    for _ in range(4):
        with pytest.raises(grpc.aio.AioRpcError):
            await peers.at(address).manager.GetStatus(GetStatusRequest(), timeout=5)

    await three["a"].start(address)

    # gRPC by itself waits most of a second by now.
    answer = await peers.at(address).manager.GetStatus(GetStatusRequest(), timeout=5)
    assert answer.name == "a"
    await peers.close()


async def test_every_repetition_carries_the_same_request_id(client, three):
    """Without that a manager could not tell a repetition from a second wish."""
    first = three.promote("a", 5)
    first.fails = [TermLostError("leadership was lost")]

    async def refused():
        with pytest.raises(MayHaveRunError, match="may have run in part in term 5"):
            await client.execute(["raise"])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(refused())
        await until(lambda: first.requests)
        second = three.promote("b", 6)
        second.fails = [MayHaveRunError("x", term=5)]

    ids = {each.request_id for each in (*first.requests, *second.requests)}
    assert len(ids) == 1
    assert ids != {""}


async def test_an_active_that_freezes_is_left_when_another_one_leads(client, three):
    """A slow answer is waited for; a newer term ends the waiting."""
    frozen = three.promote("a", 5)
    await client.execute(["echo"])
    frozen.hold.clear()

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.execute(["echo", "x"], timeout_s=10))
        await until(lambda: len(frozen.requests) == 2)
        three.promote("b", 6, among=("b", "c"))

    assert (asking.result().stderr, asking.result().term) == ("b", 6)


async def test_an_active_that_froze_for_long_and_died_is_looked_past(three):
    """A client counts its patience for anybody's answer from when it begins to ask around."""
    async with AsyncClient(three.hosts, timeout_s=10, reach_s=REACH_S) as client:
        frozen = three.promote("a", 5)
        await client.execute(["echo"])
        frozen.hold.clear()

        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(client.execute(["echo", "x"]))
            await asyncio.sleep(2 * REACH_S)
            await three["a"].server.close(0)
            three.promote("b", 6, among=("b", "c"))

    assert (asking.result().stderr, asking.result().term) == ("b", 6)


async def test_a_slow_answer_alone_is_no_reason_to_leave(client, three):
    """Nobody else leads: the client waits, and the command runs once."""
    slow = three.promote("a", 5)
    slow.hold.clear()

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.execute(["echo", "x"]))
        await asyncio.sleep(1.3)
        slow.hold.set()

    assert asking.result().text == "x"
    assert len(slow.requests) == 1


async def test_nobody_there_is_said_soon_and_in_full():
    """Each address that was tried is named, with the reason."""
    hosts = [unused(), unused()]
    begun = CLOCK.now()

    async with AsyncClient(hosts, reach_s=0.3) as client:
        with pytest.raises(UnreachableError, match="no manager answered") as raised:
            await client.execute(["echo"])

    assert set(raised.value.failures) == set(hosts)
    assert all("refused" in why for why in raised.value.failures.values())
    assert CLOCK.now() - begun < 2


async def test_no_active_is_waited_for_and_then_said(client, three):
    """Managers that answer are worth waiting for: somebody may win at any moment."""
    with pytest.raises(UnreachableError, match=r"no active manager within 0.4 s"):
        await client.execute(["echo"], timeout_s=0.4)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.execute(["echo", "x"]))
        await asyncio.sleep(0.1)
        three.promote("c", 9)
    assert asking.result().term == 9


async def test_no_answer_in_time_means_unknown(client, three):
    """It was sent and nobody answered: it may have run, and the error says so."""
    three.promote("a", 5).hold.clear()

    with pytest.raises(DeadlineExceededError, match="whether the command ran is unknown"):
        await client.execute(["count"], timeout_s=0.3)


async def test_a_refusal_is_not_repeated(client, three):
    """What the active says is final."""
    active = three.promote("a", 5)
    active.fails = [NotFoundError("there is no hut")]

    with pytest.raises(NotFoundError, match="there is no hut"):
        await client.execute(["raise"])

    assert len(active.requests) == 1


async def test_a_command_that_says_no_is_a_successful_call(client, three):
    """Its negative number comes back as its answer."""
    three.promote("a", 5)

    answer = await client.execute(["refuse"])

    assert (answer.retval, answer.stderr) == (-22, "no")


async def test_a_failure_inside_tells_the_client_nothing_of_the_inside(client, three, caplog):
    """The traceback stands in the manager's log."""
    three.promote("a", 5)

    with pytest.raises(InternalError) as raised:
        await client.execute(["boom"])

    assert "secret" not in str(raised.value)
    assert "a secret of the inside" in caplog.text


async def test_a_message_above_the_limit_is_refused_by_name():
    """It is no matter of overload: the same message will never pass."""
    async with cluster("a", grpc_message_bytes_max=65536) as managers:
        managers.promote("a", 5)
        async with AsyncClient(managers.hosts) as client:
            with pytest.raises(TooLargeError, match="65536"):
                await client.execute(["echo"], data=b"x" * 100_000)


async def test_giving_up_leadership_is_not_repeated_blindly(client, three):
    """A repetition could bring down the successor as well."""
    active = three.promote("a", 5)

    asked = asyncio.Event()

    async def never(_name, _successor, _caller):
        asked.set()
        await asyncio.Event().wait()

    active.fail = never
    await client.execute(["echo"])

    async def cut_off():
        with pytest.raises(OutcomeUnknownError, match="whether it was done is unknown"):
            await client.fail()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cut_off())
        await asyncio.wait_for(asked.wait(), 5)
        await three["a"].server.close(0)
        three.promote("b", 6, among=("b", "c"))


async def test_the_list_of_commands_is_sent_once(client, three):
    """A client that has the list gets only "not changed"."""
    three.promote("a", 5)

    commands, etag = await client.describe()
    unchanged, same = await client.describe(etag=etag)

    assert [each.signature for each in commands][:2] == [
        "echo name=text,type=CephString",
        "count",
    ]
    assert unchanged is None
    assert same == etag


async def test_a_switch_is_noticed_at_once(client, three):
    """Whoever watches sees each term, without asking."""
    three.promote("a", 5)
    seen = []

    async for sighting in client.watch_active():
        seen.append((sighting.name, sighting.term))
        if len(seen) == 2:
            break
        three.promote("b", 6)

    assert seen == [("a", 5), ("b", 6)]


async def test_status_is_that_of_the_active(client, three):
    """Of several answers the one of the manager that leads is shown."""
    three.promote("b", 6)

    status = await client.status()

    assert (status.name, status.phase, status.active.term) == ("b", "active", 6)
    assert [each.name for each in status.standbys] == ["a", "c"]


async def test_a_name_that_does_not_resolve_means_that_nothing_ran():
    """255 and not 110: no address, so nothing was sent."""
    async with AsyncClient(["no..where:7400"], timeout_s=3, reach_s=REACH_S) as client:
        with pytest.raises(UnreachableError, match=r"no\.\.where:7400"):
            await client.execute(["echo", "x"])


async def test_a_wrong_advertised_address_does_not_lose_the_active(three):
    """Where the advertised address leads nowhere, the way that worked is used."""
    three.promote("a", 5)
    for manager in three.managers.values():
        manager.view.set(three["a"].leader_view(5, address=unused()))
        if manager.name != "a":
            manager.role = Standby(manager.view)

    async with AsyncClient(three.hosts) as client:
        assert (await client.execute(["echo", "x"])).stderr == "a"
