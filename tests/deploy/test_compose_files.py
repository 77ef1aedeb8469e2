"""The compose files and the image, read without an engine."""

from __future__ import annotations

import re

import pytest
import yaml

from mgr.settings import ENVIRONMENT_PREFIX, FIELDS, Settings, load
from tests.support.tree import ROOT

DEPLOY = ROOT / "deploy"
MANAGERS = ("mgr1", "mgr2", "mgr3")
OTHERS = {"MGR_HOSTS", "XDG_CONFIG_HOME"}
"""Variables that are the client's, not mgrd's."""
TRUSTED_ETCD = (3, 5, 28)


def read(name):
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.fixture(scope="module")
def compose():
    return read("compose.yaml")


@pytest.fixture(scope="module")
def overlay():
    return read("compose.chaos.yaml")


def defaulted(text):
    """A value with each ``${NAME:-default}`` replaced as for a user who set nothing."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def all_services():
    for name in ("compose.yaml", "compose.chaos.yaml"):
        for service, settings in read(name)["services"].items():
            if "image" in settings:
                yield pytest.param(settings, id=f"{name}: {service}")


@pytest.mark.parametrize("service", list(all_services()))
def test_no_container_may_more_than_it_must(service):
    """Nothing is written but volumes and /tmp; a capability is kept to spoil a network only."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", [])) <= {"NET_ADMIN"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert not service.get("privileged")


def test_everything_is_published_on_loopback_unless_the_user_says_otherwise(compose):
    """Nobody gets onto the network by ``up``."""
    ports = [port for each in compose["services"].values() for port in each.get("ports", [])]

    assert ports
    assert all(port.startswith("${MGR_PUBLISH:-127.0.0.1}:") for port in ports)
    published = [defaulted(port).split(":")[1] for port in ports]
    assert len(set(published)) == len(published)


@pytest.mark.parametrize("name", MANAGERS)
def test_what_a_manager_advertises_leads_to_it_from_outside(compose, name):
    """The advertised address is one that is published, and leads to the port it listens on."""
    service = compose["services"][name]
    published = {
        ":".join(defaulted(port).split(":")[:2]): defaulted(port).split(":")[2]
        for port in service["ports"]
    }
    environment = {key: defaulted(value) for key, value in service["environment"].items()}

    assert published[environment["MGR_GRPC_ADVERTISE"]] == "7400"
    assert published[environment["MGR_HTTP_ADVERTISE"]] == "7480"
    assert environment["MGR_ID"] == service["hostname"] == name


@pytest.mark.parametrize("name", MANAGERS)
@pytest.mark.parametrize("overlaid", [False, True])
def test_the_environment_holds_real_settings(compose, overlay, name, overlaid):
    """Each variable is a setting of mgrd, and mgrd takes the value."""
    given = dict(compose["services"][name]["environment"])
    if overlaid:
        given |= overlay["services"][name]["environment"]

    settings = load(environment={key: defaulted(value) for key, value in given.items()})

    known = {ENVIRONMENT_PREFIX + field.upper() for field in FIELDS} | OTHERS
    assert set(given) <= known
    assert settings.id == name
    assert len(settings.etcd) == 3
    listens = {"MGR_GRPC_LISTEN": "0.0.0.0:7400", "MGR_HTTP_LISTEN": "0.0.0.0:7480"}
    protected = load(environment={**listens, **{k: defaulted(v) for k, v in given.items()}})
    protected.require_protection()
    assert protected.unprotected_listeners == ()


def test_the_overlay_makes_the_spans_short(overlay):
    """That is what it is for; the manager's own rules about them hold as well."""
    chosen = load(environment={"MGR_ID": "x", **overlay["services"]["mgr1"]["environment"]})

    assert chosen.lease_ttl_s < Settings().lease_ttl_s
    assert chosen.watchdog_s < Settings().watchdog_s


def test_a_manager_is_given_the_time_to_hand_over(compose):
    """Longer than it drains, or ``stop`` would be a kill."""
    grace_s = int(compose["services"]["mgr1"]["stop_grace_period"].removesuffix("s"))

    assert grace_s > 2 * Settings().drain_s


def test_etcd_is_one_to_be_trusted_and_checked_without_a_shell(compose):
    """Its public image has none, and managers refuse to lead on an older one."""
    etcd = compose["services"]["etcd1"]

    version = re.search(r":v([0-9.]+)$", defaulted(etcd["image"]))[1]

    assert tuple(map(int, version.split("."))) >= TRUSTED_ETCD
    assert etcd["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("service", list(all_services()))
def test_every_service_has_a_health_check(service):
    """``up --wait`` waits for what works, and refuses to wait for what has no check."""
    assert service["healthcheck"]["test"][0] == "CMD"


def test_the_image_runs_as_nobody_in_particular_and_imports_nothing_by_accident():
    """A number, so that an orchestrator can see that it is not root."""
    text = (DEPLOY / "Dockerfile").read_text()
    last = text[text.rindex("FROM ") :]

    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert "PYTHONSAFEPATH=1" in last
    assert "HEALTHCHECK" in last
    assert "pip" not in last
    # Would be fetched from a registry before the first line is built.
    assert "# syntax" not in text


def test_both_stages_stand_on_one_image():
    """An environment is copied between them: the Python must be the same."""
    froms = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)

    assert len(froms) == 2
    assert len(set(froms)) == 1


def test_the_image_is_made_of_files_that_exist_and_are_not_left_out():
    """A COPY of what .dockerignore leaves out fails only in the build."""
    let_in = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for file in ("Dockerfile", "chaos/Dockerfile"):
        for line in (DEPLOY / file).read_text().splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
                for source in sources:
                    assert (ROOT / source).exists(), source
                    assert any(source == each or source.startswith(f"{each}/") for each in let_in)
