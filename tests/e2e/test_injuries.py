"""What modules do to themselves, in processes of their own, costs nobody else anything."""

from __future__ import annotations

import os
import textwrap

import pytest

from mgr.errors import MayHaveRunError, MgrError, OutcomeUnknownError
from tests.support.cluster import wait_for
from tests.support.injuries import (
    BYSTANDER,
    DIES,
    FAILS,
    HANGS,
    INJURIES,
    LIMITS,
    QUITTER,
    STUCK,
    VICTIM,
)

pytestmark = pytest.mark.timeout(400)
UNCLEAR = (MayHaveRunError, OutcomeUnknownError)


@pytest.fixture
def cluster(start, tmp_path):
    """Two managers whose modules run in processes."""
    folder = tmp_path / "modules"
    for name, code in (
        ("victim", VICTIM),
        ("bystander", BYSTANDER),
        ("stuck", STUCK),
        ("quitter", QUITTER),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
        (folder / name / "module.py").write_text(textwrap.dedent(code))
    running = start(names=("a", "b"), module_path=folder, module_load_s=10, drain_s=1)
    running.settled(60)
    isolate = running.run("config", "set", "mgr", "mgr_module_isolation", "process")
    assert isolate.retval == 0, isolate
    running.run("mgr", "module", "reload", "crash")
    running.enable("bystander", "victim")
    return running


def health(cluster):
    return cluster.run("health", "detail").text


def test_an_injury_of_a_module_costs_nobody_else_anything(cluster, tmp_path):
    """Every row of the table: same active, same worker, same process of another module."""
    active = cluster.settled(60)
    worker, other = active.worker_pid, cluster.run("bystander", "ask").text
    file = tmp_path / "daemon"
    cluster.run("config", "set", "mgr", "mgr/victim/file", str(file))

    for injury in INJURIES:
        for option, text in LIMITS.items():
            value = text if injury.limited else "victim=0"
            assert cluster.run("config", "set", "mgr", option, value).retval == 0
        injure(cluster, injury)
        assert cluster.run("bystander", "ask").text == other, injury.name
        assert active.worker_pid == worker, injury.name
        assert cluster.run("victim", "run", "pass", timeout_s=60).retval == 0, injury.name
        # On probation a second death would be followed by a pause: each injury finds it healthy.
        cluster.run("mgr", "module", "reload", "victim", timeout_s=60)

    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
    assert "MGR_MODULE_ABANDONED" not in health(cluster)
    assert cluster.active().name == active.name


def injure(cluster, injury):
    """Do it, and see what the table says."""
    if injury.fate == DIES:
        with pytest.raises(UNCLEAR):
            cluster.run("victim", "run", injury.code, timeout_s=60)
        wait_for(lambda: injury.said in health(cluster), injury.said)
    elif injury.fate == HANGS:
        if "=" not in injury.code:
            with pytest.raises(MgrError):
                cluster.run("victim", "run", injury.code, timeout_s=1)
        else:
            assert cluster.run("victim", "run", injury.code).retval == 0
        assert cluster.run("mgr", "module", "reload", "victim", timeout_s=60).retval == 0
        log = cluster.active().log.read_text()
        assert "module did not stop: its process was killed" in log
    else:
        answer = cluster.run("victim", "run", injury.code, timeout_s=60)
        assert (answer.retval != 0) == (injury.fate == FAILS), (injury.name, answer)
        assert injury.said in answer.stderr, injury.name
    if injury.code_shown:
        wait_for(lambda: injury.code_shown in health(cluster), injury.code_shown)


def test_a_poison_command_a_constructor_that_hangs_and_exits_in_callbacks(cluster):
    """Each is named in health, kills no worker and quarantines nobody."""
    active = cluster.settled(60)
    worker = active.worker_pid

    for _ in range(3):
        with pytest.raises(MgrError):
            cluster.run("victim", "run", "import os; os.abort()", timeout_s=30)
    cluster.run("mgr", "module", "enable", "quitter")
    cluster.run("mgr", "module", "enable", "stuck")

    wait_for(lambda: "'victim' has failed: its process ended by SIGABRT" in health(cluster), "it")
    wait_for(lambda: "'quitter' has failed: SystemExit: 1" in health(cluster), "quitter")
    wait_for(lambda: "'stuck' has failed: Module failed to init" in health(cluster), "stuck", 60)
    assert cluster.run("mgr", "module", "disable", "stuck", timeout_s=30).stderr == ""
    assert "MGR_MODULE_ABANDONED" not in health(cluster)
    assert "QUARANTINED" not in health(cluster)
    assert active.worker_pid == worker
    assert cluster.active().name == active.name
    wait_for(lambda: "SIGABRT" in cluster.run("crash", "ls", format="json").text, "the reports")
