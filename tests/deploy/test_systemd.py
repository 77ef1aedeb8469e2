"""The unit is one that systemd takes, gives away little, and fits what mgrd does."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser

import pytest

from mgr.errors import CannotListenError, InvalidSettingError, NameTakenError, ReplacedError
from mgr.mgrd import EXIT_BUG
from mgr.settings import Settings
from tests.support.tree import ROOT

UNIT = ROOT / "deploy/systemd/mgrd.service"
AGENT = ROOT / "deploy/systemd/mgr-agent.service"
EXPOSURE_OF_AGENT_MAX = 2.0
"""It sees the processes of other users, and the network's interfaces: that is its trade."""
EXPOSURE_MAX = 1.5
"""Of 10: what systemd-analyze calls OK; the rest is the network, which a manager needs."""


def analysed(*words):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on this machine (Debian: apt-get install systemd)")
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


class Repeating(dict):
    """systemd allows a key twice; for these tests the lines are joined."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


@pytest.fixture(scope="module")
def service():
    """The settings of the section Service."""
    parser = RawConfigParser(dict_type=Repeating, strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return dict(parser["Service"])


def seconds(value):
    return float(value.removesuffix("s"))


@pytest.mark.parametrize("unit", [UNIT, AGENT], ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit(tmp_path, unit):
    """No unknown section, key or value; only the program is not on the machine that tests."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(f"/opt/mgr/bin/{unit.stem}", "/bin/true"))

    assert analysed("verify", "--man=no", str(copy)).strip() == ""


def test_a_wrong_key_would_be_seen(tmp_path):
    """The test above can fail."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("WatchdogSec=", "WatchDogSec="))

    assert "WatchDogSec" in analysed("verify", "--man=no", str(copy))


@pytest.mark.parametrize(
    ("unit", "exposure_max"), [(UNIT, EXPOSURE_MAX), (AGENT, EXPOSURE_OF_AGENT_MAX)]
)
def test_the_unit_gives_away_little(unit, exposure_max):
    """The measure is systemd's own: of what the service could do if it were taken over."""
    shown = analysed("security", "--offline=yes", "--no-pager", str(unit))

    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)

    assert found, shown
    assert float(found[1]) <= exposure_max, shown


def test_the_guard_is_reported_to_stop_and_has_the_time_to(service):
    """SIGTERM to the guard alone, and longer than a hand-over drains."""
    assert service["KillMode"] == "mixed"
    assert seconds(service["TimeoutStopSec"]) > 2 * Settings().drain_s


@pytest.mark.parametrize("unit", [UNIT, AGENT], ids=lambda unit: unit.stem)
def test_memory_with_keys_in_it_is_not_dumped(unit):
    """A core file would be readable by whoever collects them."""
    assert re.search(r"^LimitCORE=0$", unit.read_text(), re.MULTILINE)


def test_systemds_watchdog_is_slower_than_the_guards():
    """A frozen worker is the guard's to kill; systemd's dog is for the guard."""
    limit_s = float(re.search(r"^WatchdogSec=(\d+)", UNIT.read_text(), re.MULTILINE)[1])

    assert limit_s > 2 * Settings().watchdog_s


def exit_statuses():
    """The page's table for mgrd: status and whether to restart it."""
    page = (
        (ROOT / "docs/reference/exit-status.md").read_text().partition("## Exit status of mgrd")[2]
    )
    return {
        int(n): why for n, why in re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    }


def test_the_manager_is_not_restarted_where_the_page_says_so(service):
    """One table: a mistake in the settings would be repeated once a second for ever."""
    kept_down = {int(number) for number in service["RestartPreventExitStatus"].split()}

    assert kept_down == {n for n, why in exit_statuses().items() if why.startswith("no")}
    assert all(why.startswith(("no", "yes")) for why in exit_statuses().values())


def test_the_page_lists_the_statuses_that_mgrd_has():
    """Those of the errors that a start can end with, a bug, and click's own."""
    errors = {NameTakenError, InvalidSettingError, CannotListenError}

    assert exit_statuses().keys() == {0, 2, EXIT_BUG, *(error.errno for error in errors)}


def test_an_agent_whose_name_was_taken_is_not_started_again():
    """Two hosts of one id would take it from each other for ever."""
    kept_down = re.search(r"^RestartPreventExitStatus=(\d+)$", AGENT.read_text(), re.MULTILINE)

    assert kept_down
    assert int(kept_down[1]) == ReplacedError.errno


def test_the_units_program_and_file_are_those_that_the_page_installs(service):
    """deploy/README.md tells how to put them there."""
    page = (ROOT / "deploy/README.md").read_text()

    program, flag, file = service["ExecStart"].split()

    assert flag == "--config"
    assert program.removesuffix("/bin/mgrd") in page
    assert file in page
