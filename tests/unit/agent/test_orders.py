"""Orders of managers: what an agent takes, refuses, and finds again after it was killed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal

import pytest

from mgr.agent.deploy import orders, supervisor
from mgr.agent.deploy.orders import STATUS, Orders
from mgr.agent.deploy.settings import DeploySettings
from mgr.client.daemon.handlers import CommandOrigin
from mgr.client.daemon.program import Program
from mgr.errors import InvalidSettingError
from mgr.rpc.v1.command_pb2 import ExecuteRequest
from tests.support import process

WAIT_S = 15
COUNTS = 'echo start >> ../../starts; trap "exit 0" TERM; while :; do sleep 100 & wait $!; done'


class Agent:
    """An agent's part that deploys, without a connection."""

    def __init__(self, folder, **settings):
        fields = {"kinds": ("process",), "commands": ("/bin/sh",), **settings}
        self.folder = folder
        self.program = Program("host", "h", host="h", version="1", metadata=None, on_replaced=None)
        self.orders = Orders(
            DeploySettings(folder=str(folder), **fields), self.program, lambda: None
        )

    async def __aenter__(self):
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._running = self._tasks.create_task(self.orders.run())
        return self

    async def __aexit__(self, *_):
        """As if it were killed: nothing is stopped."""
        self._running.cancel()
        await self._tasks.__aexit__(None, None, None)
        self.program.command_thread.close()
        self.program.gauge_thread.close()

    async def run(self, *orders, term=1, from_manager=True):
        """Send orders; the answer."""
        return await self.program.handlers.answer(
            ExecuteRequest(
                words=["orders", "apply"], input=json.dumps({"orders": orders}).encode()
            ),
            timeout_s=WAIT_S,
            origin=CommandOrigin(term, from_manager),
        )

    async def log(self, name):
        """What ``orders log`` answers."""
        return await self.orders.log(name)

    def rows(self):
        """What its status tells of each daemon."""
        return json.loads(self.program.status[STATUS])["daemons"]

    async def reaches(self, name, *states):
        """Wait until a daemon is in one of these states."""
        async with asyncio.timeout(WAIT_S):
            while (row := self.rows().get(name)) is None or row[2] not in states:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)
        return row

    async def without(self, name):
        """Wait until a daemon is gone."""
        async with asyncio.timeout(WAIT_S):
            while (self.folder / name).exists() or name in self.rows():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    async def started(self, count):
        """Wait until so many daemons have said that they started, and no more."""
        async with asyncio.timeout(WAIT_S):
            while self.starts() < count:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)
        assert self.starts() == count

    def starts(self):
        """How many daemons were started."""
        file = self.folder / "starts"
        return len(file.read_text().split()) if file.exists() else 0


@pytest.fixture
def folder(tmp_path):
    """The agent's folder; what runs in it ends with the test."""
    found = tmp_path / "deploy"
    yield found
    for pid in process.marked("HOME", str(found)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def deploy(name="web.h-0", key="1", revision="1", script=COUNTS, **config):
    fields = {"service": "web", "kind": "process", "settle_s": 0.05, **config}
    fields.setdefault("command", ["/bin/sh", "-c", script])
    return {
        "key": key,
        "action": "deploy",
        "daemon": name,
        "revision": revision,
        "config": fields,
    }


def order(action, name="web.h-0", key="2"):
    return {"key": key, "action": action, "daemon": name}


def results(answer):
    assert answer.retval == 0, answer
    return json.loads(answer.stdout)["results"]


async def test_a_daemon_is_started_replaced_stopped_and_removed(folder):
    """Each order leads to a state that is reported; its folder goes last."""
    async with Agent(folder) as agent:
        assert results(await agent.run(deploy(files={"a/b": "text"}))) == {"1": ""}
        assert (await agent.reaches("web.h-0", "ready"))[:2] == ["web", "1"]
        assert (folder / "web.h-0/files/a/b").read_text() == "text"

        await agent.run(deploy(key="2", revision="2"))
        assert agent.rows()["web.h-0"][1:3] == ["2", "starting"]
        await agent.reaches("web.h-0", "ready")
        await agent.started(2)
        assert len(process.marked("HOME", str(folder / "web.h-0"))) == 2  # it and its sleep

        await agent.run(order("stop", key="3"))
        await agent.reaches("web.h-0", "stopped")
        await agent.run(deploy(key="4", revision="2"))
        await agent.reaches("web.h-0", "ready")
        await agent.started(3)

        await agent.run(order("remove", key="5"))
        await agent.without("web.h-0")
        assert not process.marked("HOME", str(folder / "web.h-0"))


async def test_an_order_is_applied_once(folder):
    """The same key later does nothing, also after another order and another start of the agent."""
    async with Agent(folder) as agent:
        await agent.run(deploy())
        await agent.reaches("web.h-0", "ready")
        await agent.run(order("remove"))
        await agent.without("web.h-0")
    async with Agent(folder) as agent:
        assert results(await agent.run(deploy())) == {"1": ""}
        assert agent.rows() == {}


async def test_what_runs_is_not_started_again_by_an_order_with_another_key(folder):
    """A new active does not know which orders arrived."""
    async with Agent(folder) as agent:
        await agent.run(deploy())
        await agent.reaches("web.h-0", "ready")
        await agent.run(deploy(key="other"), term=2)
        await agent.reaches("web.h-0", "ready")
    await agent.started(1)


async def test_an_older_term_is_refused_also_after_a_new_start(folder):
    """A manager that was deposed may still have a connection."""
    async with Agent(folder) as agent:
        await agent.run(term=7)
    async with Agent(folder) as agent:
        answer = await agent.run(deploy(), term=6)

        assert answer.retval == -errno.ESTALE
        assert agent.rows() == {}
        assert results(await agent.run(deploy(), term=7)) == {"1": ""}
        await agent.reaches("web.h-0", "ready")


async def test_a_client_gives_no_orders(folder):
    """Whatever its rights: only what the manager itself sends counts."""
    async with Agent(folder) as agent:
        answer = await agent.run(deploy(), from_manager=False)

    assert answer.retval == -errno.EPERM
    assert not (folder / "web.h-0").exists()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"command": ["/bin/true"]}, "commands"),
        ({"command": ["/bin/../bin/sh"]}, "commands"),
        ({"kind": "container", "image": "x"}, "this host allows process"),
        ({"environment": {"LD_PRELOAD": "x"}}, "LD_PRELOAD"),
        ({"secrets": {"LD_LIBRARY_PATH": "x"}}, "LD_LIBRARY_PATH"),
        ({"environment": {"SECRET": "x"}}, "SECRET"),
        ({"ports": [80]}, "80"),
        ({"probe": {"command": ["/bin/true"]}}, "commands"),
        ({"files": {"../x": ""}}, "path"),
        ({"files": {"/x": ""}}, "path"),
        ({"command": []}, "command"),
    ],
)
async def test_what_the_settings_do_not_allow_is_refused(folder, config, why):
    """Before anything is done, and other orders of the message are carried out."""
    async with Agent(folder, environment=("M*", "LD_*")) as agent:
        found = results(await agent.run(deploy("bad.h-0", **config), deploy(key="2")))

        assert why in found["1"]
        assert found["2"] == ""
        await agent.reaches("web.h-0", "ready")
        assert list(agent.rows()) == ["web.h-0"]


@pytest.mark.parametrize(
    "text",
    ['{"orders": [{"action": "deploy"}]}', "words", '{"orders": [{"daemon": "../x"}]}', "{}"],
)
async def test_malformed_orders_change_nothing(folder, text):
    """The answer names the place."""
    async with Agent(folder) as agent:
        answer = await agent.program.handlers.answer(
            ExecuteRequest(words=["orders", "apply"], input=text.encode()),
            timeout_s=WAIT_S,
            origin=CommandOrigin(1, from_manager=True),
        )

    assert answer.retval == -errno.EINVAL
    assert "orders" in answer.stderr


async def test_what_runs_goes_on_without_the_agent_and_is_found_again(folder):
    """Nothing is started twice, whenever the agent was killed."""
    async with Agent(folder) as agent:
        await agent.run(deploy())
        await agent.reaches("web.h-0", "ready")
    async with Agent(folder) as agent:
        await agent.reaches("web.h-0", "ready")
        await agent.started(1)

        # Killed after the process had begun, before its id was stored.
        state = folder / "state.json"
        content = json.loads(state.read_text())
        content["daemons"]["web.h-0"] |= {"pid": 0, "ticks": 0}
    state.write_text(json.dumps(content))
    async with Agent(folder) as agent:
        await agent.reaches("web.h-0", "ready")
        await agent.started(1)

        await agent.run(order("remove"))
        await agent.without("web.h-0")
        assert not process.marked("HOME", str(folder / "web.h-0"))


async def test_a_removal_is_finished_by_the_next_agent(folder):
    """Until nothing of it is left, it is reported; then it may be deployed again."""
    stays = 'trap "" TERM; echo start >> ../../starts; while :; do sleep 100; done'
    async with Agent(folder) as agent:
        await agent.run(deploy(script=stays, stop_s=100))
        await agent.reaches("web.h-0", "ready")
        await agent.run(order("remove"))
        await agent.reaches("web.h-0", "removing")
        assert process.marked("HOME", str(folder / "web.h-0"))
    state = folder / "state.json"
    content = json.loads(state.read_text())
    content["daemons"]["web.h-0"]["config"]["stop_s"] = 0.2
    state.write_text(json.dumps(content))

    async with Agent(folder) as agent:
        await agent.without("web.h-0")
        assert not process.marked("HOME", str(folder / "web.h-0"))
        assert json.loads(state.read_text())["daemons"] == {}
        await agent.run(deploy(key="3"))
        await agent.reaches("web.h-0", "ready")
        await agent.started(2)


async def test_what_is_wanted_again_while_it_is_removed_comes_back(folder):
    """The old process ends before the new one begins."""
    stays = 'trap "" TERM; echo start >> ../../starts; while :; do sleep 100; done'
    async with Agent(folder) as agent:
        await agent.run(deploy(script=stays, stop_s=0.5))
        await agent.reaches("web.h-0", "ready")
        before = process.marked("HOME", str(folder / "web.h-0"))
        await agent.run(order("remove"), deploy(key="3", revision="2"))
        assert (await agent.reaches("web.h-0", "ready"))[1] == "2"
        assert all(map(process.gone, before))
        await agent.started(2)


async def test_a_revision_that_changed_while_no_agent_ran_is_replaced(folder):
    """The old process ends before the new one begins."""
    async with Agent(folder) as agent:
        await agent.run(deploy())
        await agent.reaches("web.h-0", "ready")
    state = folder / "state.json"
    content = json.loads(state.read_text())
    content["daemons"]["web.h-0"]["revision"] = "2"
    state.write_text(json.dumps(content))

    async with Agent(folder) as agent:
        assert (await agent.reaches("web.h-0", "ready"))[1] == "2"
        await agent.started(2)
        of_daemon = process.marked("HOME", str(folder / "web.h-0"))
        assert of_daemon
        assert not of_daemon.keys() & process.marked("MGR_DAEMON_REVISION", "1").keys()


async def test_what_an_agent_reports_is_newer_than_before_also_if_the_clock_was_set_back(
    folder, monkeypatch
):
    """Or managers would believe what it reported before."""
    versions = []
    for now_s in (2000.0, 1000.0):
        monkeypatch.setattr(orders, "wall_s", lambda now_s=now_s: now_s)
        async with Agent(folder) as agent:
            versions.append(json.loads(agent.program.status[STATUS])["version"])

    assert versions[0] < versions[1]


async def test_a_daemon_that_keeps_ending_has_failed_and_is_started_again(folder, monkeypatch):
    """With its exit status; one that then works is ready."""
    monkeypatch.setattr(supervisor, "PAUSE_S", 0.01)
    script = '[ -e "$HOME/../works" ] || exit 3; ' + COUNTS
    async with Agent(folder) as agent:
        await agent.run(deploy(script=script))
        row = await agent.reaches("web.h-0", "failed")
        assert row[4] == "exited with 3"

        (folder / "works").touch()
        await agent.reaches("web.h-0", "ready")


async def test_a_probe_decides_when_it_is_ready(folder, monkeypatch):
    """And it has failed if that takes too long."""
    monkeypatch.setattr(supervisor, "TICK_S", 0.1)
    probe = {"command": ["/bin/sh", "-c", f"test -e {folder}/up"], "every_s": 0.1, "failures": 1}
    async with Agent(folder) as agent:
        await agent.run(deploy(probe=probe, start_s=0.3))
        assert "not ready after" in (await agent.reaches("web.h-0", "failed"))[4]

        (folder / "up").touch()
        await agent.reaches("web.h-0", "ready")
        (folder / "up").unlink()
        await agent.reaches("web.h-0", "unready")
        await agent.started(1)


async def test_a_process_that_ignores_sigterm_is_killed(folder):
    """With all that it started."""
    script = 'trap "" TERM; sleep 100 & while :; do sleep 100; done'
    async with Agent(folder) as agent:
        await agent.run(deploy(script=script, stop_s=0.2))
        await agent.reaches("web.h-0", "ready")
        await agent.run(order("remove"))
        await agent.without("web.h-0")

    assert not process.marked("HOME", str(folder / "web.h-0"))


async def test_secrets_are_in_no_file_that_others_read_and_in_no_status(folder):
    """A variable of the daemon, and the agent's state."""
    script = 'printf %s "$TOKEN" > "$HOME/../seen"; ' + COUNTS
    async with Agent(folder) as agent:
        await agent.run(deploy(script=script, secrets={"TOKEN": "s3cret"}))
        await agent.reaches("web.h-0", "ready")

        assert (folder / "seen").read_text() == "s3cret"
        assert "s3cret" not in agent.program.status[STATUS]
        assert (folder / "state.json").stat().st_mode & 0o077 == 0
        assert folder.stat().st_mode & 0o077 == 0


async def test_the_number_of_daemons_has_a_limit(folder):
    """That of the settings."""
    async with Agent(folder, daemons_max=1) as agent:
        found = results(await agent.run(deploy(), deploy("web.h-1", key="2")))

    assert found["1"] == ""
    assert "as many as its settings allow" in found["2"]


def test_a_damaged_state_file_is_named(folder):
    """Nothing is started on a guess."""
    folder.mkdir()
    (folder / "state.json").write_text("{")

    with pytest.raises(InvalidSettingError, match=r"state\.json is damaged"):
        Agent(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"kinds": ("process",)},
        {"kinds": ("container",)},
        {"kinds": ("process",), "commands": ("sh",)},
        {"folder": "here"},
    ],
)
def test_settings_that_allow_nothing_or_too_much_are_refused(fields):
    """At the start of the agent."""
    with pytest.raises(InvalidSettingError, match="deploy"):
        DeploySettings(**fields)
