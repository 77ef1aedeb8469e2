"""What an agent takes as its settings; the sample file shows them all."""

from __future__ import annotations

import re
import tomllib

import pytest
import trustme

from mgr.agent.settings import AgentSettings, Watch, load
from mgr.errors import InvalidSettingError
from tests.support.tree import ROOT

SAMPLE = ROOT / "deploy/agent.toml"


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "agent.toml"
        file.write_text(text)
        return str(file)

    return write


def test_the_sample_names_every_setting_with_its_default(written):
    """As it is it changes nothing; a new setting that it does not show fails here."""
    text = SAMPLE.read_text()
    assert tomllib.loads(text) == {}
    shown = re.sub(r"^# ?(\w+ = .*|\[\[watch\]\]|\[deploy\])", r"\1", text, flags=re.MULTILINE)
    assert set(tomllib.loads(shown)) == set(AgentSettings.__struct_fields__)

    loaded = load(written(shown), {})

    for name in set(AgentSettings.__struct_fields__) - {"id", "watch"}:
        assert getattr(loaded, name) == getattr(AgentSettings(), name), name
    assert [watch.id or watch.process for watch in loaded.watch] == ["nginx@eu-1", "postgres"]


def test_flags_win_over_the_file(written):
    """Addresses may be one text there."""
    loaded = load(written('hosts = ["a:1"]\nid = "x"\n'), {"hosts": "b:1, c:2"})

    assert (loaded.hosts, loaded.id) == (("b:1", "c:2"), "x")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("host = 1", "unknown field `host`"),
        ("read_every_s = 0", "read_every_s"),
        ("hosts = ['x y']", "'x y' is not host:port"),
        ("[[watch]]", "names either a unit or a process"),
        ("[[watch]]\nunit = '--now'", "not the name of a unit"),
        ("[[watch]]\nunit = 'a b.service'", "not the name of a unit"),
        ("[[watch]]\nunit = 'a*'", "not the name of a unit"),
        ("[[watch]]\nprocess = 'x'\nallow = ['restart']", "allow is for units"),
        ("[[watch]]\nunit = 'a.service'\nallow = ['stop']", "stop"),
        (
            "[[watch]]\nunit = 'a.service'\n[[watch]]\nunit = 'a.service'\nallow = ['log']",
            "two entries are unit.a.service@h",
        ),
        (
            (
                "[[watch]]\nunit = 'a.service'\ntype = 'x'\nid = 'y'\n"
                "[[watch]]\nprocess = 'b'\ntype = 'x'\nid = 'y'"
            ),
            "two entries are x.y",
        ),
        ("[[watch]]\nprocess = 'b'\ntype = 'host'\nid = 'h'", "host.h is the host itself"),
        ("tls_cert = '/a.pem'", "need tls_ca"),
        ("= 1", "agent.toml"),
    ],
)
def test_an_invalid_setting_is_refused_by_name(written, text, error):
    """Before anything is started."""
    with pytest.raises(InvalidSettingError, match=re.escape(error)):
        load(written(f"id = 'h'\n{text}" if text.startswith("[[") else text), {})


def test_what_is_watched_is_a_daemon_of_this_host_unless_it_is_named():
    """Two hosts with the same settings are no two programs of one name."""
    assert Watch(unit="a.service").daemon("h") == ("unit", "a.service@h")
    assert Watch(process="b", type="db").daemon("h") == ("db", "b@h")
    assert Watch(process="b", id="c").daemon("h") == ("process", "c")


def test_a_unit_allows_what_is_listed_for_it_and_nothing_else():
    """Also not what another unit allows."""
    settings = AgentSettings(
        watch=(Watch(unit="a.service", allow=("restart",)), Watch(unit="b.service"))
    )

    assert settings.unit("a.service", "restart")
    assert not settings.unit("a.service", "log")
    assert not settings.unit("b.service", "restart")
    assert not settings.unit("c.service", "status")


def test_certificates_are_read_when_they_are_asked_for(tmp_path):
    """None of them means plaintext; one that cannot be read is named."""
    assert AgentSettings().tls() is None
    authority = trustme.CA().cert_pem
    authority.write_to_path(tmp_path / "ca.pem")

    found = AgentSettings(tls_ca=str(tmp_path / "ca.pem")).tls()
    assert found is not None
    assert found.ca == authority.bytes()
    with pytest.raises(InvalidSettingError, match="nowhere"):
        AgentSettings(tls_ca="/nowhere.pem").tls()
