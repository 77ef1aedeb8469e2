"""The command line of ``mgrd``: one clear line, and an exit status that says which error."""

from __future__ import annotations

import errno

import pytest
from click.testing import CliRunner

from mgr import mgrd
from mgr.errors import NameTakenError
from mgr.settings import FIELDS
from mgr.version import installed_version
from tests.support.secured_etcd import Certificates


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
        (
            ["--tls-cert", "/a.pem", "--tls-key", "/a.key"],
            "tls_cert, tls_key: cannot read /a.pem: No such file or directory",
        ),
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


OPEN = "grpc_listen 0.0.0.0:7400"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--grpc-listen", "0.0.0.0:7400"],
        ["--http-listen", "[::]:7480"],
        ["--http-listen", "10.0.0.1:7480"],
        ["--grpc-listen", "mgr1.example:7400"],
    ],
)
def test_a_port_that_is_open_to_the_network_needs_protection(started, arguments):
    """The line names both ways out; nothing starts."""
    result = run(*arguments)

    assert result.exit_code == errno.EINVAL
    [line] = result.output.splitlines()
    assert arguments[1] in line
    assert "mgrd init" in line
    assert "unprotected = true" in line
    assert not started


def test_protection_is_tls_with_client_certificates(started, tmp_path):
    """A certificate alone lets everybody in."""
    pki = Certificates.make(tmp_path)
    flags = {
        name: ["--" + name.replace("_", "-"), file]
        for name, file in pki.settings(mutual=True).items()
    }
    server = [*flags["tls_cert"], *flags["tls_key"]]

    half = run("--grpc-listen", "0.0.0.0:7400", *server)
    whole = run("--grpc-listen", "0.0.0.0:7400", *server, *flags["tls_ca"])

    assert (half.exit_code, OPEN in half.output) == (errno.EINVAL, True)
    assert whole.exit_code == 0
    assert started[0].unprotected_listeners == ()


def test_who_says_so_listens_unprotected(started):
    """Explicitly; the settings go on saying it, for health and status."""
    run("--grpc-listen", "0.0.0.0:7400", "--unprotected", "true")

    [settings] = started
    assert settings.unprotected_listeners == (OPEN,)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "[::1]", "localhost"])
def test_loopback_needs_nothing(started, host):
    """The demo starts without ceremony."""
    assert run("--grpc-listen", f"{host}:7400", "--http-listen", f"{host}:0").exit_code == 0
    assert len(started) == 1


def test_a_broken_certificate_is_named_at_once(started, tmp_path):
    """Not "the port is taken", and not again and again by a worker."""
    pki = Certificates.make(tmp_path)
    (tmp_path / "server.pem").write_text("-----BEGIN CERTIFICATE-----\n!\n")
    flags = [
        word
        for name, file in pki.settings(mutual=True).items()
        for word in ("--" + name.replace("_", "-"), file)
    ]

    result = run(*flags)

    assert result.exit_code == errno.EINVAL
    assert "server.pem" in result.output
    assert not started


def test_keys_that_everybody_may_read_are_refused_if_we_wrote_them(started, tmp_path, caplog):
    """Those of others give a warning: their modes may be somebody else's choice."""
    pki = Certificates.make(tmp_path)
    key = (tmp_path / "server.key").read_text()
    (tmp_path / "manager.pem").write_text(key + (tmp_path / "server.pem").read_text())
    (tmp_path / "ca.crt").write_bytes(pki.ca)
    (tmp_path / "manager.pem").chmod(0o644)
    (tmp_path / "server.key").chmod(0o644)

    ours = run("--tls-dir", str(tmp_path))
    flags = pki.settings(mutual=False)
    theirs = run("--tls-cert", flags["tls_cert"], "--tls-key", flags["tls_key"])

    assert (ours.exit_code, "chmod o=" in ours.output) == (errno.EINVAL, True)
    assert theirs.exit_code == 0
    assert "private key is not private" in caplog.text
    (tmp_path / "manager.pem").chmod(0o640)
    assert run("--tls-dir", str(tmp_path)).exit_code == 0


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
