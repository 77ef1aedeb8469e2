"""``mgr``, ``mgr module``, ``health``, ``status``, ``log``: the manager's own answers."""

from __future__ import annotations

import asyncio
import errno
import json

import msgspec
import pytest
import yaml

from mgr.cluster.log import Priority
from mgr.cluster.progress import ProgressEvent
from mgr.command.builtin.catalogue import NOUNS
from mgr.command.builtin.context import BuiltinContext
from mgr.command.render import FORMATS
from mgr.config.enabled_modules import Switch
from mgr.election.history import LeadershipChange
from mgr.election.records import Ending, TermRecord
from mgr.health.check import Check, Severity
from tests.support.builtin_commands import builtin_commands

NOISE = Check(
    code="NOISE", severity=Severity.WARN, summary="2 are loud", count=2, detail=("x", "y")
)


def switch(at, module):
    return msgspec.json.decode(at.stored(at.leading_term.keys.module(module)), type=Switch)


async def test_stat_and_dump_show_the_map():
    """Only the current epoch is kept."""
    async with builtin_commands() as at:
        await at.join("b")
        stat = await at.json("mgr", "stat")
        dump = await at.json("mgr", "dump", "41")
        old = await at.run("mgr", "dump", "40")

    assert stat == {"epoch": 41, "available": True, "active_name": "a", "num_standby": 1}
    assert dump["services"] == {"hello": "http://a/hello"}
    assert (old.retval, old.stderr) == (-errno.ENOENT, "there is no map for epoch 40")


@pytest.mark.parametrize(
    ("words", "resigned"),
    [
        ((), [("mgr fail", "")]),
        (("a",), [("mgr fail", "")]),
        (("mgr.a", "--successor", "b"), [("mgr fail", "b")]),
        (("7",), [("mgr fail", "")]),
    ],
)
async def test_fail_gives_up_leadership(words, resigned):
    """By name, with or without ``mgr.``, by number, to a named successor."""
    async with builtin_commands() as at:
        answer = await at.run("mgr", "fail", *words)

    assert answer.retval == 0
    assert at.resigned == resigned


async def test_fail_of_somebody_else_does_nothing_and_says_so():
    """An unknown name is 0 as in Ceph; a standby has no leadership to give up."""
    async with builtin_commands() as at:
        await at.join("b")
        unknown = await at.run("mgr", "fail", "x")
        standby = await at.run("mgr", "fail", "b")
        successor = await at.run("mgr", "fail", "--successor=nobody")

    assert (unknown.retval, unknown.stderr) == (0, "Daemon not found 'x', already failed?")
    assert standby.retval == -errno.EINVAL
    assert "'b' is a standby" in standby.stderr
    assert successor.retval == -errno.ENOENT
    assert at.resigned == []


def test_what_is_not_idempotent_is_known_and_everything_else_is():
    """A retry of ``mgr fail`` after the failover must not depose the successor.

    And one of ``map set --expected-version`` must not say no to what it did itself.
    """

    class Nothing:
        def __getattr__(self, name):
            return self

    context = BuiltinContext(**dict.fromkeys(BuiltinContext.__dataclass_fields__, Nothing()))
    every = [each.command for noun in NOUNS for each in noun.commands(context)]

    once = {each.prefix for each in every if each.mutates and not each.idempotent}
    kept = {"mgr fail", "mgr module rollback", "log", "map set", "map rm", "tell"}
    assert once == {*kept, "auth token create"}
    assert {each.perm for each in every} == {"", "r", "rw", "rwx", "rx"}


async def test_metadata_names_every_manager():
    """One by name, all without."""
    async with builtin_commands() as at:
        await at.join("b")
        every = await at.json("mgr", "metadata")
        one = await at.json("mgr", "metadata", "mgr.b")
        missing = await at.run("mgr", "metadata", "x")
        versions = await at.json("mgr", "versions")
        hosts = await at.json("mgr", "count-metadata", "hostname")

    assert [each["name"] for each in every] == ["a", "b"]
    assert one["hostname"] == "host-b"
    assert one["ceph_version"].split()[:3] == ["mgr", "version", "1.2.3"]
    assert (one["arch"], one["addrs"]) == ("z80", "b:7400")
    assert (missing.retval, missing.stderr) == (-errno.ENOENT, "mgr.x does not exist")
    assert versions == {"1.2.3": 2}
    assert hosts == {"host-a": 1, "host-b": 1}


async def test_module_info_shows_where_a_module_is_from_and_what_it_may_reach():
    """For people and as data; an unknown name is refused."""
    async with builtin_commands() as at:
        data = await at.json("mgr", "module", "info", "hello")
        plain = (await at.run("mgr", "module", "info", "hello")).stdout.splitlines()
        lame = (await at.run("mgr", "module", "info", "lame")).stdout
        unknown = await at.run("mgr", "module", "info", "helo")

    assert unknown.retval == -errno.ENOENT
    assert unknown.stderr.startswith("there is no module 'helo' on this manager")
    assert (data["place"], data["enabled"]) == ("/modules/hello/module.py", False)
    assert data["options"] == ["mood", "place", "times"]
    assert data["manifest"]["remote"] == ["progress.update"]
    assert "manifest: enforced" in plain
    assert "  remote: progress.update" in plain
    assert "  store: all of its own" in plain
    assert "  daemons: nothing" in plain
    assert "error:    no numpy" in lame
    assert "manifest: none: it may reach what any module of Ceph may" in lame


async def test_module_ls_says_what_runs():
    """Always on, on, off, where each acts, and why one cannot run."""
    async with builtin_commands() as at:
        await at.run("mgr", "module", "enable", "hello")
        forced = await at.run("mgr", "module", "enable", "lame", "--force")
        assert forced.stderr == "module 'lame' is enabled and does not run: no numpy"
        data = await at.json("mgr", "module", "ls")
        plain = (await at.run("mgr", "module", "ls")).stdout.splitlines()
        await at.run("mgr", "module", "disable", "status")
        after = await at.json("mgr", "module", "ls")

    assert data["always_on_modules"] == ["devicehealth"]
    assert data["enabled_modules"] == ["hello", "lame", "status"]
    assert data["disabled_modules"] == []
    assert [line.split() for line in plain] == [
        ["MODULE", "EFFECTS"],
        ["devicehealth", "on", "(always", "on)", "external"],
        ["hello", "on", "store"],
        ["lame", "on", "external", "no", "numpy"],
        ["status", "on", "external"],
    ]
    assert data["module_effects"]["hello"] == {"effects": "store", "source": "module"}
    assert [each["name"] for each in after["disabled_modules"]] == ["status"]


async def test_enabling_writes_the_modules_record():
    """Again is no error; disabling writes that it is off."""
    async with builtin_commands() as at:
        first = await at.run("mgr", "module", "enable", "hello")
        assert switch(at, "hello").enabled
        again = await at.run("mgr", "module", "enable", "hello")
        await at.run("mgr", "module", "disable", "hello")
        assert not switch(at, "hello").enabled
        off = await at.run("mgr", "module", "disable", "hello")

    assert (first.retval, first.stderr) == (0, "")
    assert (again.retval, again.stderr) == (0, "module 'hello' is already enabled")
    assert (off.retval, off.stderr) == (0, "module 'hello' is already disabled")


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        (
            "helo",
            errno.ENOENT,
            (
                "all mgr daemons do not support module 'helo', pass --force to force enablement; "
                "did you mean 'hello'?"
            ),
        ),
        (
            "lame",
            errno.ENOENT,
            (
                "module 'lame' reports that it cannot run on the active manager daemon: no numpy "
                "(pass --force to force enablement)"
            ),
        ),
        ("../leader", errno.EINVAL, "'../leader' cannot be the name of a module"),
    ],
)
async def test_a_module_that_cannot_run_is_not_enabled(name, error, text):
    """Unknown, unable, or no name at all: nothing is written."""
    async with builtin_commands() as at:
        answer = await at.run("mgr", "module", "enable", name)
        stored = at.leading_term.mirror.list(at.leading_term.keys.modules)

    assert (answer.retval, answer.stderr) == (-error, text)
    assert not stored


async def test_a_module_that_a_standby_lacks_is_not_enabled_without_force():
    """After a failover it would be gone; the message says where it is missing."""
    async with builtin_commands() as at:
        await at.join("b", modules=["status"])
        await at.join("c", modules=[], warm=False)
        refused = await at.run("mgr", "module", "enable", "hello")
        forced = await at.run("mgr", "module", "enable", "hello", "--force")

    assert refused.retval == -errno.ENOENT
    assert "module 'hello' (not on b)" in refused.stderr
    assert forced.retval == 0


async def test_an_always_on_module_goes_off_only_by_force():
    """And comes back with ``enable``."""
    async with builtin_commands() as at:
        plain = await at.run("mgr", "module", "disable", "devicehealth")
        already = await at.run("mgr", "module", "enable", "devicehealth")
        unsure = await at.run("mgr", "module", "force", "disable", "devicehealth")
        other = await at.run("mgr", "module", "force", "disable", "hello")
        sure = await at.run(
            "mgr", "module", "force", "disable", "devicehealth", "--yes-i-really-mean-it"
        )
        assert switch(at, "devicehealth").forced_off
        again = await at.run("mgr", "module", "force", "disable", "devicehealth")
        await at.run("mgr", "module", "enable", "devicehealth")
        assert not switch(at, "devicehealth").forced_off

    assert plain.retval == unsure.retval == -errno.EPERM
    assert already.stderr == "module 'devicehealth' is already enabled (always-on)"
    assert other.stderr == 'Always-on module named "hello" does not exist'
    assert sure.retval == 0
    assert again.stderr == 'Module "devicehealth" is already disabled'


async def test_health_shows_and_hides():
    """Muted checks leave the state and stay visible."""
    async with builtin_commands() as at:
        well = await at.run("health")
        at.board.set("noise", [NOISE])
        ill = await at.run("health", "detail")
        await at.run("health", "mute", "NOISE", "1h")
        muted = await at.run("health", "detail")
        lease = at.leading_term.mirror.get(at.leading_term.keys.mute("NOISE")).lease
        await at.run("health", "unmute", "NOISE")
        again = await at.json("health")

    assert well.stdout == "HEALTH_OK\n"
    assert ill.stdout.splitlines() == [
        "HEALTH_WARN 2 are loud",
        "[WRN] NOISE: 2 are loud",
        "    x",
        "    y",
    ]
    assert muted.stdout.startswith("HEALTH_OK (muted: NOISE)\n(MUTED until ")
    assert lease
    assert again["status"] == "HEALTH_WARN"
    assert "detail" not in again["checks"]["NOISE"]


async def test_a_mute_with_a_time_limit_ends_in_the_store():
    """No clock is compared: the key hangs on a lease of that length."""
    async with builtin_commands() as at:
        at.board.set("noise", [NOISE])
        await at.run("health", "mute", "NOISE", "10m")
        lease = at.leading_term.mirror.get(at.leading_term.keys.mute("NOISE")).lease
        assert 600 <= await at.leading_term.store.renew(lease) < 660


@pytest.mark.parametrize("ttl", ["soon", "0", "-1", "99999y", ""])
async def test_a_mute_needs_a_span_that_makes_sense(ttl):
    """The message shows how to write one."""
    async with builtin_commands() as at:
        at.board.set("noise", [NOISE])
        answer = await at.run("health", "mute", "NOISE", ttl)

    assert answer.retval == -errno.EINVAL
    assert "use 10m, 4h or 1d12h" in answer.stderr


async def test_what_is_not_raised_is_muted_only_if_sticky():
    """A spelling mistake would silence nothing."""
    async with builtin_commands() as at:
        loose = await at.run("health", "mute", "NOISE")
        sticky = await at.run("health", "mute", "NOISE", "--sticky")
        assert at.board.mutes["NOISE"].sticky
        await at.run("health", "unmute")
        assert not at.board.mutes

    assert loose.retval == -errno.ENOENT
    assert loose.stderr == "health alert NOISE is not currently raised"
    assert sticky.retval == 0


async def test_status_is_the_cluster_on_one_screen():
    """State, who leads, who waits, what runs."""
    async with builtin_commands() as at:
        await at.join("b")
        at.board.set("noise", [NOISE])
        plain = (await at.run("status")).stdout
        data = await at.json("status")

    assert "health: HEALTH_WARN 2 are loud" in plain
    assert "mgr: a(active, term 2, since 2026-01-01T00:00:00+00:00), standbys: b" in plain
    assert "hello: http://a/hello" in plain
    assert data["mgrmap"]["standbys"] == ["b"]
    assert data["view_age_s"] == 0


async def test_history_and_status_tell_why_leadership_changed():
    """Newest first; the end of a term stands in the record of the next one."""
    async with builtin_commands() as at:
        ended = TermRecord(
            term=2,
            name="b",
            reason="resigned",
            quiesced=True,
            window_s=0,
            why="mgr fail by client.ops",
            ending=Ending(at="2026-01-01T10:00:00+00:00", asked_by="client.ops"),
        )
        first = LeadershipChange(
            term=2, name="b", host="h2", version="1", since="2026-01-01T09:00:00+00:00"
        )
        second = LeadershipChange(
            term=9,
            name="a",
            host="h1",
            version="1",
            since="2026-01-01T10:00:01+00:00",
            gap_s=0.25,
            before=ended,
        )
        await at.leading_term.fenced.commit(
            [each.operation(at.leading_term.keys) for each in (first, second)]
        )
        present, before = await at.json("mgr", "history")
        [only] = await at.json("mgr", "history", "1")
        plain = (await at.run("mgr", "history")).stdout
        status = await at.json("status")
        shown = (await at.run("status")).stdout

    assert only == present
    assert (present["term"], present["reason"], present["to"]) == (9, "leading", None)
    assert present["unled_before_s"] == 0.25
    assert before == {
        "term": 2,
        "name": "b",
        "host": "h2",
        "version": "1",
        "from": "2026-01-01T09:00:00+00:00",
        "to": "2026-01-01T10:00:00+00:00",
        "lasted_s": 3600.0,
        "reason": "resigned",
        "why": "mgr fail by client.ops",
        "cause": "",
        "asked_by": "client.ops",
        "ended_by": "b",
        "summary": "mgr.b handed over leadership: mgr fail by client.ops",
        "unled_before_s": None,
    }
    assert "1:00:00" in plain
    assert status["last_change"]["asked_by"] == "client.ops"
    change = "mgr.b handed over leadership: mgr fail by client.ops; nobody led for 0.250 s"
    assert f"last change: {change}" in shown


async def test_status_shows_what_is_under_way():
    """To people only what its module wants shown; to programs all of it."""
    async with builtin_commands() as at:
        at.progress.update("1", ProgressEvent("Moving", 0.5, shown=True, source="m"))
        at.progress.update("2", ProgressEvent("Counting", 0.1, shown=False, source="m"))
        plain = (await at.run("status")).stdout
        data = await at.json("status")

    assert plain.rstrip().endswith(f"  progress:\n    Moving\n      [{'=' * 15}{'.' * 15}]")
    assert data["progress_events"] == {
        "1": {"message": "Moving", "progress": 0.5, "add_to_ceph_s": True},
        "2": {"message": "Counting", "progress": 0.1, "add_to_ceph_s": False},
    }


async def test_log_writes_and_last_reads():
    """Words are joined; debug lines and other channels only when asked for."""
    async with builtin_commands() as at:
        await at.run("log", "maintenance", "begins", "für", "Köln")
        at.log.add("noise", name="mgr.a", priority=Priority.DEBUG)
        at.log.add("who", name="mgr.a", channel="audit")
        last = await at.json("log", "last")
        every = await at.json("log", "last", "5", "debug", "*")
        one = (await at.run("log", "last", "1", "info", "*")).stdout

    assert [each["message"] for each in last] == ["maintenance begins für Köln"]
    assert [each["message"] for each in every] == ["maintenance begins für Köln", "noise", "who"]
    assert one.endswith(" mgr.a [INF] who\n")


async def test_descriptions_are_in_the_form_that_ceph_reads():
    """One entry a command, flags as numbers."""
    async with builtin_commands() as at:
        found = await at.json("get_command_descriptions")

    by_words = {
        " ".join(word for word in each["sig"] if isinstance(word, str)): each
        for each in found.values()
    }
    assert next(iter(found)) == "cmd000"
    assert by_words["mgr dump"]["sig"][2] == {
        "name": "epoch",
        "type": "CephInt",
        "range": "0",
        "req": False,
    }
    assert by_words["mgr dump"]["flags"] == 8
    assert by_words["config-key put"]["flags"] == 8 | 32
    assert all(each["module"] == "mgr" and each["help"] for each in found.values())


async def test_every_command_speaks_every_format():
    """None fails in any, and an unknown one changes nothing."""
    async with builtin_commands() as at:
        at.board.set("noise", [NOISE])
        lines = ["mgr stat", "mgr dump", "mgr services", "mgr metadata", "mgr versions", "version"]
        lines += ["mgr module ls", "config ls", "config dump", "config get mgr", "status"]
        lines += ["config help fsid", "config-key ls", "config-key dump", "health", "health detail"]
        lines += ["log last", "get_command_descriptions", "config show mgr.a"]
        for line in lines:
            for form in FORMATS:
                await asyncio.sleep(0)  # each by itself must not keep the loop for long
                answer = await at.run(*line.split(), format=form)
                assert answer.retval == 0, (line, form)
                if form.startswith("json"):
                    json.loads(answer.stdout)
                elif form == "yaml":
                    yaml.safe_load(answer.stdout)
        refused = await at.run("mgr", "module", "enable", "hello", format="toml")
        stored = at.leading_term.mirror.list(at.leading_term.keys.modules)

    assert refused.retval == -errno.EINVAL
    assert "unknown format 'toml': use one of plain, json" in refused.stderr
    assert not stored


async def test_nobody_is_refused_by_a_cluster_without_ceph():
    """Ceph's prometheus counts by the note; people are not shown the command."""
    async with builtin_commands() as at:
        answer = await at.run("osd", "blocklist", "ls", format="json")

    assert (answer.retval, json.loads(answer.stdout)) == (0, [])
    assert answer.stderr.split(" ")[1] == "0"


async def test_a_module_that_requires_nothing_any_more_is_missed_by_no_standby():
    """Its record of installed libraries goes with the reload; those of others stay."""
    async with builtin_commands() as at:
        keys, fenced = at.leading_term.keys, at.leading_term.fenced
        for module in ("hello", "status"):
            await fenced.put(keys.environment(module), "of old requirements")

        await at.run("mgr", "module", "reload", "hello")

        assert at.stored(keys.environment("hello")) is None
        assert at.stored(keys.environment("status")) == "of old requirements"
