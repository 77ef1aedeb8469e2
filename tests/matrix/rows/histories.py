"""Rows 55 to 64: what an earlier term, request, process or store left behind comes back late."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from random import Random
from threading import Thread
from typing import Any, Final

from mgr.client import Daemon
from mgr.client.async_client import AsyncClient
from mgr.client.blocking import Client
from mgr.client.blocking import run as blocking
from mgr.client.messages import Answer
from mgr.clock import CLOCK
from mgr.election.records import Leader, decode
from mgr.errors import NOTHING_RAN, MgrError
from mgr.store.api import Put, Record
from tests.matrix.row import Figures, Place, Row, Run, measured
from tests.support import process
from tests.support.cluster import wait_for
from tests.support.faults.breaking import ABANDONED_S, HELPERS, heal
from tests.support.faults.lab import Lab
from tests.support.faults.load import UNDONE
from tests.support.faults.peers import WORKER

LOOK_S: Final = 0.5
HELD_S: Final = 2.5
"""Longer than one attempt of a write, so that it is sent again somewhere else."""
ARRIVED_S: Final = 1.0
BOUND_S: Final = 20.0
HELPERS_GONE_S: Final = 3.0
REPAIRED_S: Final = 5.0
MANY: Final = 10_500
"""More commands than results are kept of."""
LONG: Final = 400
"""Commands with answers so long that together they are more than is kept."""
AT_ONCE: Final = 64


# -- writes and requests --------------------------------------------------------------------------


def held_up(lab: Lab, rng: Random) -> Figures:
    """A create waits in the network while its repetition and a deletion are acknowledged."""
    del rng
    active = lab.settled()
    key = uuid.uuid4().hex
    number = lab.cables.busiest(active.name, WORKER, look_s=LOOK_S)
    with _asked(lab, ["ledger", "flash"], key=key, wait_s=LOOK_S) as flash:
        # The command was taken by now, and writes once it has waited.
        lab.pause(LOOK_S / 2)
        lab.cables.hold_up(active.name, HELD_S, party=WORKER, number=number)
        answer = flash.result(BOUND_S)
        assert answer.retval == 0, answer
        lab.pause(HELD_S + ARRIVED_S)
    found = lab.cluster.run("ledger", "get", key=key, timeout_s=30)
    assert found.retval, f"a deleted entry came back: {found.text}"
    stands = lab.read(lab.keys.module_entry("ledger", f"entry/{key}"))
    assert stands is None, f"a deleted entry came back in the store: {stands}"
    return {"came back": 0}


def answer_lost(lab: Lab, rng: Random) -> Figures:
    """The worker dies before it can answer; in the next term the module does not construct."""
    del rng
    lab.settled()
    token = uuid.uuid4().hex
    try:
        lab.cluster.run("ticker", "fail", timeout_s=30)
        reason = _reason(lab, token)
        counted = lab.read(lab.keys.module_entry("ticker", f"token/{token}"))
        assert counted is not None, "nothing was counted, so that nothing is shown"
        assert reason not in UNDONE, f"it was counted, and the client was told {reason}"
    finally:
        lab.cluster.run("mgr", "module", "disable", "ticker", timeout_s=30)
        lab.cluster.run("config-key", "rm", "mgr/ticker/fail-after", timeout_s=30)
        lab.cluster.run("mgr", "module", "enable", "ticker", timeout_s=30)
    return {"counted": int(counted.value)}


def _reason(lab: Lab, token: str) -> str:
    arguments = {"token": token, "then": "die"}
    try:
        lab.cluster.run("ticker", "count", timeout_s=BOUND_S, **arguments)
    except MgrError as error:
        return error.reason
    raise AssertionError("a worker that was killed has answered")


def repeated(commands: int, words: list[str], *, move: bool = False) -> Run:
    """The same request after ``commands`` others: answered as before, or refused; never run."""

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        lab.settled()
        token, request_id = uuid.uuid4().hex, uuid.uuid4().hex
        arguments = {"token": token, "then": "answer"}
        with lab.cluster.client() as client:
            first = client.execute(["ticker", "count"], arguments, request_id=request_id)
        assert first.text == "1", first
        blocking(_many(lab.cluster.hosts, commands, words))
        if move:
            active = lab.cluster.active()
            measured(lab, lambda: active.signal(signal.SIGKILL, worker=True))
        with lab.cluster.client() as client:
            try:
                again = client.execute(
                    ["ticker", "count"], arguments, request_id=request_id, timeout_s=BOUND_S
                )
                received = again.text
            except MgrError as error:
                received = error.reason
                nothing_ran = {each.reason for each in NOTHING_RAN}
                assert received not in nothing_ran, f"it was told {received}, and it had run"
        counted = lab.cluster.run("ticker", "counted", token=token, timeout_s=BOUND_S).text
        assert counted == "1", f"counted {counted} times, the second time told {received}"
        return {"counted": int(counted)}

    return run


async def _many(hosts: list[str], commands: int, words: list[str]) -> None:
    async with AsyncClient(hosts) as client:
        waiting = iter(range(commands))

        async def ask() -> None:
            for number in waiting:
                key = {"key": f"many/{number}"} if words[0] == "config-key" else {}
                value = {"val": "x"} if key else {}
                await client.execute(words, {**key, **value}, timeout_s=BOUND_S)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(ask())


# -- what modules leave behind --------------------------------------------------------------------


def abandoned(lab: Lab, rng: Random) -> Figures:
    """A module that does not stop is disabled and enabled again; then the leadership moves."""
    del rng
    active = lab.settled()
    lab.cluster.run("ticker", "stubborn", timeout_s=30)
    lab.cluster.run("mgr", "module", "disable", "ticker", timeout_s=30)
    lab.pause(ABANDONED_S)
    lab.cluster.enable("ticker")
    lab.pause(ABANDONED_S)
    assert len(lab.acting()) == 1, "a second instance acts beside the abandoned one"
    worker = active.worker_pid

    def hand_over() -> None:
        with lab.cluster.client() as client, contextlib.suppress(MgrError):
            client.fail(active.name)

    figures = measured(lab, hand_over)
    wait_for(lambda: process.gone(worker), "the worker of the term to end", BOUND_S)
    return figures


def with_helpers(*, guard: bool) -> Run:
    """Processes that a module started act on; then the guard or the worker is killed."""

    def run(lab: Lab, rng: Random) -> Figures:
        del rng
        active = lab.settled()
        helpers = _started_helpers(lab)
        begun_s = CLOCK.now()
        figures = measured(lab, lambda: active.signal(signal.SIGKILL, worker=not guard))
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: all(map(process.gone, helpers)), "them to end", HELPERS_GONE_S)
        ended_s = CLOCK.now()
        living = [how for pid, how in helpers.items() if not process.gone(pid)]
        assert not living, f"helpers live on after the {'guard' if guard else 'worker'}: {living}"
        if guard:
            assert not active.running
            active.start()
        lab.settled()
        assert active.running, "it could not listen where it did before"
        return {**figures, "helpers ended": (ended_s - begun_s) * 1e3}

    return run


def _started_helpers(lab: Lab) -> dict[int, str]:
    """Let a module start a process of each kind; their ids, and how each was started."""
    for how in HELPERS:
        lab.cluster.run("ticker", "help", how=how, timeout_s=30)
    wait_for(lambda: len(lab.helpers()) == len(HELPERS), "the helpers to act", BOUND_S)
    return lab.helpers()


def paused_with_helpers(lab: Lab, rng: Random) -> Figures:
    """The host of such processes stands still until another manager leads, and goes on."""
    del rng
    active = lab.settled()
    helpers = _started_helpers(lab)
    figures = measured(lab, lambda: lab.freeze_host(active))
    begun_s = CLOCK.now()
    lab.resume_hosts()
    wait_for(lambda: all(map(process.gone, helpers)), "them to end", HELPERS_GONE_S)
    ended_s = CLOCK.now()
    lab.settled()
    return {**figures, "helpers ended": (ended_s - begun_s) * 1e3}


def forgotten_daemon(lab: Lab, rng: Random) -> Figures:
    """``daemon rm`` is answered, and its worker killed at that moment."""
    del rng
    active = lab.settled()
    worker, name = active.worker_pid, uuid.uuid4().hex[:8]
    daemon = Daemon("lab", name, lab.cluster.hosts)
    daemon.start()
    try:
        assert daemon.wait_joined(BOUND_S)
        wait_for(lambda: lab.read(lab.keys.daemon(f"lab.{name}")), "it to be stored")
    finally:
        daemon.close(forget=False)

    def forget() -> None:
        with lab.cluster.client() as client:
            wait_for(lambda: _removed(client, f"lab.{name}"), "it to be forgotten", BOUND_S)
            os.kill(worker, signal.SIGKILL)

    figures = measured(lab, forget)
    stored = lab.read(lab.keys.daemon(f"lab.{name}"))
    assert stored is None, f"a daemon that was removed is stored still: {stored}"
    return figures


def _removed(client: Client, name: str) -> bool:
    try:
        return client.execute(["daemon", "rm"], {"name": name}, timeout_s=5).retval == 0
    except MgrError:
        return False


def overwritten(lab: Lab, rng: Random) -> Figures:
    """``etcdctl put`` on the leader key takes its lease from it and makes it unreadable."""
    del rng
    active = lab.settled()
    lab.in_store(Put(lab.keys.leader, "by hand"))
    begun_s = CLOCK.now()
    with contextlib.suppress(TimeoutError):
        wait_for(lambda: _sound(lab.read(lab.keys.leader)), "the key to be repaired", REPAIRED_S)
    record, repaired_s = lab.read(lab.keys.leader), CLOCK.now()
    assert _sound(record), f"after {REPAIRED_S:g} s the leader key is {record}"
    active = lab.settled()
    figures = measured(lab, lambda: active.signal(signal.SIGKILL))
    return {**figures, "repaired": (repaired_s - begun_s) * 1e3}


def _sound(record: Record | None) -> bool:
    """Whether a leader key ends with its manager and says who that is."""
    return record is not None and bool(record.lease) and decode(record.value, Leader) is not None


# -- helpers --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _asked(lab: Lab, words: list[str], **arguments: Any) -> Iterator[Future[Answer]]:
    """A command under way; its thread has ended after the block."""
    answer: Future[Answer] = Future()

    def ask() -> None:
        try:
            answer.set_result(lab.cluster.run(*words, timeout_s=BOUND_S, **arguments))
        except MgrError as error:
            answer.set_exception(error)

    thread = Thread(target=ask, name=" ".join(words))
    thread.start()
    try:
        yield answer
    finally:
        heal(lab)
        thread.join()


RUNS_OTHER: Final = ["config-key", "set"]
ANSWERS_LONG: Final = ["ticker", "long"]

ROWS = (
    Row(
        number=55,
        fault="a create is held up on its way to one etcd while it is repeated at another one and "
        "the key is deleted",
        holds="an acknowledged deletion is not undone",
        run=held_up,
        place=Place.WIRED,
        fast=True,
        runs=5,
    ),
    Row(
        number=56,
        fault="a worker dies between a command's effect and its answer, and in the next term the "
        "module's constructor fails",
        holds="the client is not told that nothing ran",
        run=answer_lost,
        fast=True,
        runs=5,
    ),
    Row(
        number=57,
        fault="the same request id after 400 other commands with long answers",
        holds="answered as before, or refused as forgotten; it never runs again",
        run=repeated(LONG, ANSWERS_LONG),
        runs=3,
    ),
    Row(
        number=57,
        fault="the same request id after 10 500 other commands, by then in the next term",
        holds="the same",
        run=repeated(MANY, RUNS_OTHER, move=True),
        runs=1,
    ),
    Row(
        number=58,
        fault="a module that does not stop is disabled and enabled again, then the leadership is "
        "handed over",
        holds="what was abandoned acts no more when the term is said to be quiesced",
        run=abandoned,
        fast=True,
        runs=5,
    ),
    Row(
        number=59,
        fault="kill -9 of the guard while processes act that a module started: plain, in a session "
        "of their own, forked twice",
        holds="none lives on; the manager gets its ports again",
        run=with_helpers(guard=True),
        fast=True,
        runs=5,
    ),
    Row(
        number=59,
        fault="kill -9 of the worker while such processes act",
        holds="none lives on",
        run=with_helpers(guard=False),
        runs=5,
    ),
    Row(
        number=59,
        fault="the host stands still while such processes act, until another manager leads",
        holds="when it goes on, nothing of the worker acts, and they end as soon as the guard runs",
        run=paused_with_helpers,
        runs=5,
    ),
    Row(
        number=60,
        fault="`daemon rm`, and kill -9 of the manager right after the answer",
        holds="the daemon is not there in the next term",
        run=forgotten_daemon,
        fast=True,
        runs=10,
    ),
    Row(
        number=61,
        fault="the leader key is overwritten by hand, without a lease",
        holds="it is repaired, or there is a new leader, within seconds",
        run=overwritten,
        fast=True,
        runs=5,
    ),
    Row(
        number=62,
        fault="etcd is restored from a backup, as it was then",
        holds="every manager is ineligible, and says why and what to do",
        elsewhere="tests/matrix/test_restored_etcd.py",
    ),
    Row(
        number=63,
        fault="etcd is restored from a backup, its revisions raised above all that were",
        holds="somebody leads again, in a term above all that were",
        elsewhere="tests/matrix/test_restored_etcd.py",
    ),
    Row(
        number=64,
        fault="one of the endpoints belongs to another etcd cluster",
        holds="nobody leads through it, and nothing is written there",
        elsewhere="tests/matrix/test_restored_etcd.py",
    ),
)
