"""The command line of ``mgrd``: one clear line, and an exit status that says which error."""

from __future__ import annotations

import errno

import pytest
from click.testing import CliRunner

from mgr import mgrd
from mgr.errors import NameTakenError
from mgr.settings import FIELDS
from mgr.version import installed_version


@pytest.fixture
def started(monkeypatch):
    """The settings with which a manager would have started."""
    found = []

    def serve(settings, _early):
        found.append(settings)

    monkeypatch.setattr(mgrd, "serve", serve)
    monkeypatch.setattr(mgrd.logs, "set_up", lambda **_: None)
    return found


def run(*arguments, **environment):
    """Run ``mgrd``."""
    return CliRunner().invoke(mgrd.command, arguments, env=environment, prog_name="mgrd")


def test_every_setting_has_a_flag_that_is_explained():
    """Generated from the settings class, so none is forgotten."""
    words = run("--help").output

    for name in FIELDS:
        assert f"--{name.replace('_', '-')}" in words
        assert f"MGR_{name.upper()}" in words


def test_later_sources_win(started, tmp_path):
    """Default, file, environment, flag."""
    file = tmp_path / "mgr.toml"
    file.write_text('id = "f"\ncluster = "file"\nlog_level = "debug"\n')

    run("--config", str(file), "--id", "flag", MGR_CLUSTER="environment", MGR_ID="e")

    [settings] = started
    assert (settings.id, settings.cluster, settings.log_level) == ("flag", "environment", "debug")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--id", "a/b"], "id 'a/b'"),
        (["--lease-ttl-s", "1"], "lease_ttl_s"),
        (["--grpc-listen", "nowhere"], "grpc_listen: 'nowhere' is not host:port"),
        (["--config", "/nowhere/mgr.toml"], "cannot read /nowhere/mgr.toml"),
        (["--tls-cert", "/a.pem"], "tls_cert and tls_key belong together"),
        (["--tls-ca", "/a.pem"], "tls_ca needs tls_cert"),
        (["--tls-cert", "/a.pem", "--tls-key", "/a.key"], "tls_cert /a.pem, tls_key /a.key: "),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_starts(started, arguments, words):
    """It names the setting; the status is EINVAL."""
    result = run(*arguments)

    assert result.exit_code == errno.EINVAL
    [line] = result.output.splitlines()
    assert line.startswith("mgrd: ")
    assert words in line
    assert not started


def test_an_unknown_flag_names_the_nearest(started):
    """Nothing starts."""
    result = run("--clutser", "x")

    assert result.exit_code == 2
    assert "--cluster" in result.output
    assert not started


def test_a_taken_name_says_who_has_it(started, monkeypatch):
    """The status is EEXIST, so that a supervisor can tell it from a crash."""

    def serve(_settings, _early):
        raise NameTakenError("manager 'a' is running already: process 7 on host h")

    monkeypatch.setattr(mgrd, "serve", serve)

    result = run("--id", "a")

    assert result.exit_code == errno.EEXIST
    assert result.output == "mgrd: manager 'a' is running already: process 7 on host h\n"


def test_a_bug_has_a_status_of_its_own(started, monkeypatch):
    """And its traceback goes to the log."""

    def serve(_settings, _early):
        raise ZeroDivisionError

    monkeypatch.setattr(mgrd, "serve", serve)

    assert run("--id", "a").exit_code == mgrd.EXIT_BUG


def test_the_version_is_printed():
    """And nothing else happens."""
    assert run("--version").output == f"mgrd {installed_version()}\n"
