"""A command that changes something answers when the store has the change, and not before."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mgr.command.registry import BUILTIN
from mgr.errors import OutcomeUnknownError
from tests.support.builtin_commands import builtin_commands

IN_MEMORY = {
    "backup begin": "changes nothing, it is audited: tests/e2e/test_backup.py",
    "config apply": "one transaction: tests/unit/command/test_builtin_config.py",
    "mgr module env sync": "changes files of a host, not the store",
    "module env sync": "the same command by its short name",
    **dict.fromkeys(
        ("mgr module install-package", "mgr module rollback", "mgr module uninstall"),
        "tests/unit/active/modules/test_package_installer.py",
    ),
    "auth join-token create": "needs a CA, and stores the token first: tests/unit/pki",
    "daemon rm": "the fleet's writer stores it: tests/unit/active/test_acknowledged.py",
    "log": "the cluster log is stored a moment later, the audit has the text (docs/adr/0054)",
    "mgr fail": "asks for a hand-over, which the guard records",
    "secrets rotate": "stored before it is used: tests/unit/active/test_seal_keeper.py",
    "tell": "the daemon acts",
}
"""Commands that are not tried here, and why."""

CASES = {
    "auth caps": ("auth", "caps", "ada", "allow *"),
    "auth join-token rm": ("auth", "join-token", "rm", "1" * 12),
    "auth require": ("auth", "require"),
    "auth rm": ("auth", "rm", "ada"),
    "auth role rm": ("auth", "role", "rm", "mine"),
    "auth role set": ("auth", "role", "set", "mine", "allow r"),
    "auth token create": ("auth", "token", "create", "ada"),
    "auth token rm": ("auth", "token", "rm", "0" * 12),
    "auth unrequire": ("auth", "unrequire", "--yes-i-really-mean-it"),
    "config assimilate-conf": ("config", "assimilate-conf"),
    "config reset": ("config", "reset", "0"),
    "config rm": ("config", "rm", "mgr", "mgr/hello/place"),
    "config set": ("config", "set", "mgr", "mgr/hello/place", "Rome"),
    "config-key del": ("config-key", "del", "k"),
    "config-key put": ("config-key", "put", "k", "v2"),
    "config-key rm": ("config-key", "rm", "k"),
    "config-key set": ("config-key", "set", "k", "v2"),
    "device rm-life-expectancy": ("device", "rm-life-expectancy", "disk"),
    "device set-life-expectancy": ("device", "set-life-expectancy", "disk", "2030-01-01"),
    "health mute": ("health", "mute", "ANY", "--sticky"),
    "health unmute": ("health", "unmute", "KNOWN"),
    "map rm": ("map", "rm", "there"),
    "map set": ("map", "set", "there"),
    "mgr module disable": ("mgr", "module", "disable", "status"),
    "mgr module enable": ("mgr", "module", "enable", "hello"),
    "mgr module force disable": (
        "mgr",
        "module",
        "force",
        "disable",
        "devicehealth",
        "--yes-i-really-mean-it",
    ),
    "mgr module quarantine": ("mgr", "module", "quarantine", "hello"),
    "mgr module release": ("mgr", "module", "release", "faulty"),
    "mgr module reload": ("mgr", "module", "reload", "hello"),
    "mgr set down": ("mgr", "set", "down", "true"),
}
INPUT = {
    "config assimilate-conf": "[mgr]\nmgr/hello/place = Oslo\n",
    "map set": '{"a": 2}',
}


@contextlib.asynccontextmanager
async def prepared():
    """A desk where each command of ``CASES`` has something to change."""
    async with builtin_commands() as at:
        at.documents["devices"] = {"devices": [{"devid": "disk", "location": [], "daemons": []}]}
        await at.run("config-key", "set", "k", "v")
        await at.run("config", "set", "mgr", "mgr/hello/place", "Oslo-1")
        await at.run("health", "mute", "KNOWN", "--sticky")
        await at.run("map", "set", "there", inbuf='{"a": 1}')
        await at.run("auth", "caps", "ops", "allow *")
        await at.run("auth", "caps", "ada", "allow r")
        await at.run("auth", "role", "set", "mine", "allow rw")
        keys = at.leading_term.keys
        await at.leading_term.fenced.put(keys.token("0" * 12), "a token")
        await at.leading_term.fenced.put(keys.join_token("1" * 12), "a join token")
        await at.run("device", "set-life-expectancy", "disk", "2029-01-01")
        await at.run("mgr", "module", "quarantine", "faulty")
        yield at


class Held:
    """A store's commits, held until released, or lost: the worker is killed before they land."""

    def __init__(self, store):
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self._commit = store.commit

    async def commit(self, *args, **fields):
        self.reached.set()
        await self.go.wait()
        return await self._commit(*args, **fields)


def everything(at):
    return {
        key: r.value for key, r in at.leading_term.mirror.list(at.leading_term.keys.root).items()
    }


async def test_every_command_that_changes_something_is_tried_here():
    """A new one has to say how it is acknowledged."""
    async with builtin_commands() as at:
        changing = {
            each.prefix for each in at.registry.all() if each.mutates and each.module == BUILTIN
        }

    assert changing == CASES.keys() | IN_MEMORY.keys()


@pytest.mark.parametrize("prefix", CASES)
async def test_the_answer_waits_for_the_store(prefix, monkeypatch):
    """Killed in between, the manager has acknowledged nothing."""
    async with prepared() as at:
        before = everything(at)
        held = Held(at.leading_term.store)
        monkeypatch.setattr(at.leading_term.store, "commit", held.commit)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(at.run(*CASES[prefix], inbuf=INPUT.get(prefix, "")))
            await held.reached.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            answered_early = asked.done()
            held.go.set()

        assert not answered_early
        assert asked.result().retval == 0
        assert everything(at) != before


@pytest.mark.parametrize(
    "words",
    [
        ("config", "rm", "mgr", "mgr/hello/times"),
        ("config-key", "rm", "no"),
        ("health", "unmute", "NONE"),
        ("map", "rm", "no"),
        ("auth", "rm", "nobody"),
    ],
    ids=" ".join,
)
async def test_what_is_gone_already_is_removed_all_the_same(words, monkeypatch):
    """An earlier write to it may be under way without an answer: only the store can order them."""
    async with prepared() as at:
        held = Held(at.leading_term.store)
        held.go.set()
        monkeypatch.setattr(at.leading_term.store, "commit", held.commit)
        answer = await at.run(*words)

        assert answer.retval == 0
        assert held.reached.is_set()


@pytest.mark.parametrize("prefix", ["config set", "map rm", "auth caps"])
async def test_a_write_without_an_answer_is_not_acknowledged(prefix, monkeypatch):
    """Its caller gets "outcome unknown", or an error after which it may retry."""

    async def silent(*_, **__):
        raise OutcomeUnknownError("no answer")

    async with prepared() as at:
        monkeypatch.setattr("mgr.store.fenced.TIMEOUT_S", 0.05)
        monkeypatch.setattr("mgr.config.history.TIMEOUT_S", 0.05)
        monkeypatch.setattr(at.leading_term.store, "commit", silent)
        with pytest.raises(OutcomeUnknownError):
            await at.run(*CASES[prefix])
