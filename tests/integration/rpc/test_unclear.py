"""Once an attempt of a call may have run, no later refusal of it is passed on as "nothing ran"."""

from __future__ import annotations

import asyncio

import pytest

from mgr.client.async_client import AsyncClient
from mgr.errors import (
    MayHaveRunError,
    MgrError,
    ModuleFailedError,
    NotActiveError,
    NotAuthorizedError,
    OutcomeUnknownError,
    OverloadedError,
    TermLostError,
)
from tests.integration.rpc.cluster import Standby, View, until

pytestmark = pytest.mark.slow  # real servers

REFUSALS = [
    ModuleFailedError("its constructor raised"),
    NotAuthorizedError("access denied"),
]
OVER = pytest.mark.parametrize("over_session", [False, True], ids=["call", "session"])


async def ask(client, *, over_session):
    if not over_session:
        return await client.execute(["raise"])
    async with client.session() as session:
        return await session.execute(["raise"])


async def failed(work):
    with pytest.raises(MgrError) as raised:
        await work
    return raised.value


async def lost_then_refused(client, three, refusal, *, over_session):
    """The connection breaks under the first attempt; the successor refuses the second one."""
    first = three.promote("a", 5)
    first.hold.clear()
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(failed(ask(client, over_session=over_session)))
        await until(lambda: first.requests)
        await three["a"].server.close(0)
        second = three.promote("b", 6, among=("b", "c"))
        second.fails = [refusal]
    return asked.result(), first.requests[0], second.requests[0]


@OVER
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: error.reason)
async def test_a_refusal_after_a_lost_attempt_is_not_nothing_ran(
    client, three, refusal, over_session
):
    """The caller would issue a new request for what ran already."""
    error, _, _ = await lost_then_refused(client, three, refusal, over_session=over_session)

    assert type(error) is OutcomeUnknownError
    assert "an earlier attempt may have run" in str(error)
    assert f"{refusal.reason}: {refusal}" in str(error)


@OVER
async def test_a_manager_that_is_not_active_ends_no_call(client, three, over_session):
    """After a lost attempt as before it: the next one is made, and what that says counts."""
    first = three.promote("a", 5)
    first.hold.clear()
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(failed(ask(client, over_session=over_session)))
        await until(lambda: first.requests)
        await three["a"].server.close(0)
        second = three.promote("b", 6, among=("b", "c"))
        second.fails = [NotActiveError(None), ModuleFailedError("its constructor raised")]

    assert "MODULE_FAILED" in str(asked.result())
    assert len(second.requests) == 2


@OVER
async def test_without_it_the_caller_gets_the_last_refusal(
    client, three, monkeypatch, over_session
):
    """A broken build: the class of a refusal, of which "nothing ran" is what is documented."""
    for module in ("call", "pending"):
        monkeypatch.setattr(
            f"mgr.client.{module}.refusal_after_attempt", lambda refusal, _: refusal
        )

    error, _, _ = await lost_then_refused(client, three, REFUSALS[0], over_session=over_session)

    assert type(error) is ModuleFailedError


@OVER
async def test_a_term_that_was_lost_is_remembered_as_well(client, three, over_session):
    """The manager lives, and says itself that it does not know."""
    first = three.promote("a", 5)
    first.fails = [TermLostError("the term ended")]
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(failed(ask(client, over_session=over_session)))
        await until(lambda: first.requests)
        three.promote("b", 6).fails = [OverloadedError("queue full")]

    assert type(asked.result()) is OutcomeUnknownError
    assert "the term ended" in str(asked.result())


@OVER
async def test_what_a_manager_knows_of_all_attempts_is_passed_on(client, three, over_session):
    """It looked into the journal."""
    said = MayHaveRunError("x", term=5)

    error, _, _ = await lost_then_refused(client, three, said, over_session=over_session)

    assert (type(error), str(error)) == (MayHaveRunError, str(said))


@OVER
async def test_a_refusal_of_every_attempt_is_passed_on_as_it_is(client, three, over_session):
    """Redirected, not lost: nothing ran on the way."""
    if not over_session:  # a session leaves for the newer term, perhaps without a word of the old
        three.promote("a", 5)
        await client.execute(["echo", "x"])
    three.promote("b", 6).fails = [ModuleFailedError("its constructor raised")]

    error = await failed(ask(client, over_session=over_session))

    assert type(error) is ModuleFailedError


@OVER
async def test_a_retry_says_how_old_its_request_is(client, three, over_session):
    """The first attempt does not; a manager can refuse what is older than its memory."""
    _, first, second = await lost_then_refused(
        client, three, REFUSALS[0], over_session=over_session
    )

    assert first.age_s == 0
    assert 0 < second.age_s < 10
    assert first.request_id == second.request_id
    assert first.digest == second.digest


async def test_asking_anywhere_remembers_who_did_not_answer(three):
    """``mgr set down`` of a manager that froze, then of one that refuses."""
    three.promote("a", 5).hold.clear()
    three["b"].role = Standby(View())
    three["c"].lead(4).fails = [NotAuthorizedError("access denied")]
    hosts = [three[name].address for name in ("a", "b", "c")]

    async with AsyncClient(hosts, reach_s=0.3) as client:
        error = await failed(client.execute_anywhere(["raise"]))

    assert type(error) is OutcomeUnknownError
    assert "access denied" in str(error)
