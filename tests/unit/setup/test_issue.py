"""``mgrd issue`` with a CA's key from elsewhere, and the files that the commands write."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from mgr.errors import InvalidArgumentError, InvalidSettingError
from mgr.pki.authority import Authority, common_name, load_certificate
from mgr.pki.subject import addresses_of, manager_subject
from mgr.settings import Settings
from mgr.setup.files import Writer, absolute, lacking_lines, settings_text, toml
from mgr.setup.main import _warn_about_etcd, command
from mgr.tls import Tls


@pytest.fixture
def handed_out(tmp_path):
    """What ``mgrd init --ca-key`` gives an operator."""
    authority = Authority.generate("test")
    (tmp_path / "ca.crt").write_text(authority.certificate)
    (tmp_path / "ca.key").write_text(authority.seal(b"a long enough passphrase"))
    (tmp_path / "passphrase").write_text("a long enough passphrase\n")
    (tmp_path / "passphrase").chmod(0o600)
    return [
        *("--ca", str(tmp_path / "ca.crt"), "--ca-key", str(tmp_path / "ca.key")),
        *("--ca-passphrase-file", str(tmp_path / "passphrase")),
    ]


def issue(*words):
    """Run ``mgrd issue``; raise what it raises."""
    result = CliRunner().invoke(command, ["issue", *words], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_client_gets_what_mgrctl_takes(handed_out, tmp_path):
    """Without etcd and without a running manager."""
    assert issue("ops", "--profile", "client", "--dir", str(tmp_path / "ops"), *handed_out)

    tls = Tls.from_folder(str(tmp_path / "ops"))
    assert common_name(load_certificate(tls.cert)) == "ops"
    assert (tmp_path / "ops" / "client.pem").stat().st_mode & 0o777 == 0o600


def test_a_manager_gets_its_addresses(handed_out, tmp_path):
    """And no passphrase: the key stays where the operator keeps it."""
    folder = tmp_path / "a"
    issue("mgr.a", "--profile", "manager", "--san", "10.0.0.1", "--dir", str(folder), *handed_out)

    certificate = load_certificate((folder / "manager.pem").read_bytes())
    assert addresses_of(certificate) == ("10.0.0.1",)
    assert not (folder / "ca.passphrase").exists()


@pytest.mark.parametrize(("name", "profile"), [("mgr.a", "client"), ("a", "manager")])
def test_a_name_that_does_not_fit_its_profile_is_refused(handed_out, tmp_path, name, profile):
    """A person's certificate must not be taken for a manager's."""
    with pytest.raises(InvalidArgumentError, match="begin with"):
        issue(name, "--profile", profile, "--dir", str(tmp_path / "x"), *handed_out)
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten_and_a_passphrase_is_private(handed_out, tmp_path):
    """Each refusal names the file and the next step."""
    words = ("ops", "--profile", "client", "--dir", str(tmp_path / "ops"), *handed_out)
    issue(*words)
    before = (tmp_path / "ops" / "client.pem").read_bytes()

    with pytest.raises(InvalidSettingError, match="exists already"):
        issue(*words)
    (tmp_path / "passphrase").chmod(0o644)
    with pytest.raises(InvalidSettingError, match="chmod o="):
        issue(*words)

    assert (tmp_path / "ops" / "client.pem").read_bytes() == before


def test_files_are_removed_if_the_work_fails(tmp_path):
    """A second attempt finds nothing in its way."""
    writer = Writer()
    (tmp_path / "b").write_text("another's")

    def work():
        with writer.undone_on_error():
            writer.write(tmp_path / "a", "x")
            writer.write(tmp_path / "b", "x")

    with pytest.raises(InvalidSettingError, match="exists already"):
        work()

    assert [each.name for each in tmp_path.iterdir()] == ["b"]


def test_settings_are_written_as_mgrd_reads_them():
    """Texts with quotes and backslashes among them."""
    values = {"id": 'a"\\é', "etcd": ["h:1", "i:2"], "lease_ttl_s": 5, "etcd_untrusted": True}

    assert tomllib.loads(toml(values)) == values


def test_a_manager_is_reached_at_its_listeners_its_host_and_loopback():
    """Not at the address that stands for all of them."""
    settings = Settings(
        id="a", grpc_listen="0.0.0.0:7400", grpc_advertise="a.example:1", http_listen="10.0.0.1:2"
    )

    subject = manager_subject(settings, ["more.example"])

    assert subject.name == "mgr.a"
    assert {"more.example", "a.example", "10.0.0.1", "127.0.0.1", "localhost"} <= set(
        subject.addresses
    )
    assert "0.0.0.0" not in subject.addresses


def test_files_in_a_settings_file_are_absolute(tmp_path, monkeypatch):
    """A manager may be started in another folder than ``mgrd init`` was."""
    monkeypatch.chdir(tmp_path)
    given = {"etcd_ca": "pki/ca.crt", "etcd_password_file": "/secret", "grpc_listen": "h:1"}
    settings = Settings(id="a", **given)

    text = tomllib.loads(settings_text(settings, given, {"tls_dir": absolute(Path("a/tls"))}))

    assert text["etcd_ca"] == str(tmp_path / "pki/ca.crt")
    assert text["etcd_password_file"] == "/secret"
    assert text["tls_dir"] == str(tmp_path / "a/tls")
    assert text["grpc_listen"] == "h:1"


def test_an_existing_settings_file_lacks_what_only_flags_gave(tmp_path):
    """Started with this file alone, the manager would have another name, cluster and address."""
    file = tmp_path / "a.toml"
    file.write_text('etcd = "h:1,i:2"\nunix_socket = "/run/mgr"\n')
    settings = Settings(id="a", cluster="lab", etcd=("h:1", "i:2"), grpc_listen="127.0.0.1:1")
    text = settings_text(settings, {"grpc_listen": "127.0.0.1:1"}, {"tls_dir": "/tls"})

    lacking = lacking_lines(str(file), text)
    file.write_text(file.read_text() + "\n".join(lacking))

    assert set(tomllib.loads("\n".join(lacking))) == {"id", "cluster", "grpc_listen", "tls_dir"}
    assert lacking_lines(str(file), text) == []


def test_who_joins_is_warned_if_its_settings_do_not_reach_etcd(tmp_path, capsys, monkeypatch):
    """The reason is etcd's or the file's; nothing is undone, since the token is used."""
    monkeypatch.setattr("mgr.setup.cluster_record.CHECK_S", 0.3)
    file = tmp_path / "b.toml"
    file.write_text('etcd = ["127.0.0.1:1"]\netcd_user = "mgr"\netcd_password_file = "absent"\n')

    _warn_about_etcd(str(file), {}, ["10.0.0.1:2379"])
    without_password = capsys.readouterr().err
    file.write_text('etcd = ["127.0.0.1:1"]\n')
    _warn_about_etcd(str(file), {}, ["10.0.0.1:2379"])
    refused = capsys.readouterr().err

    assert "absent" in without_password
    assert "10.0.0.1:2379" in refused
    assert "127.0.0.1:1: connection refused" in refused.lower()
