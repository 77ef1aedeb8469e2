"""The Helm chart, rendered by Helm: it makes what kustomize makes, and takes its values."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from mgr.settings import FIELDS, load
from mgr.version import installed_version
from tests.deploy.test_kubernetes import OBJECTS, VERSIONS
from tests.support import chart
from tests.support.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360)]

OWN_LABELS = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
    "checksum/settings",
}
"""Labels and annotations that a release of a chart has beyond what kustomize makes."""
KUBERNETES_OWN = {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"}
EVERYTHING = {
    "replicas": 5,
    "image": {"repository": "registry.example/mgr", "tag": "9"},
    "imagePullSecrets": [{"name": "pull"}],
    "etcd": {"endpoints": ["e:2379"], "tls": True, "secret": "their-etcd"},
    "tlsSecret": "their-tls",
    "certManager": {"enabled": True},
    "settings": {"lease_ttl_s": 10, "log_level": "debug", "audit_required": [], "downgrade": False},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "monitor": {"enabled": True, "labels": {"release": "prometheus"}},
}


@pytest.fixture(scope="module")
def render():
    """Objects by kind and name, with some values."""

    def rendered(values=None):
        try:
            found = chart.render(values)
        except chart.NoHelmError as error:
            pytest.skip(f"HELM CHART NOT RENDERED: {error}")
        return {(each["kind"], each["metadata"]["name"]): each for each in found}

    return rendered


def comparable(document):
    """An object without what only a chart adds, and with its files read as what they are."""

    def bare(value):
        if isinstance(value, dict):
            return {key: bare(each) for key, each in value.items() if key not in OWN_LABELS}
        return [bare(each) for each in value] if isinstance(value, list) else value

    found = bare(document)
    found["metadata"].pop("labels", None)
    data = found.get("data", {})
    if "mgr.toml" in data:
        data["mgr.toml"] = tomllib.loads(data["mgr.toml"])
    if "haproxy.cfg" in data:
        lines = (line.strip() for line in data["haproxy.cfg"].splitlines())
        data["haproxy.cfg"] = [line for line in lines if line and not line.startswith("#")]
    if document["kind"] == "StatefulSet":
        (container,) = found["spec"]["template"]["spec"]["containers"]
        container["image"] = container["image"].partition(":")[0]
    return found


def test_helm_has_nothing_to_say(render):
    """``helm lint --strict``."""
    render()

    assert chart.lint() == []


def test_with_its_defaults_the_chart_makes_what_kustomize_makes(render):
    """Object by object, field by field: there is one truth about how managers run there."""
    theirs = {
        (each["kind"], each["metadata"]["name"]): comparable(each)
        for _, each in OBJECTS
        if each["kind"] != "Namespace"
    }

    ours = {key: comparable(each) for key, each in render().items()}

    assert set(ours) == set(theirs)
    for key, expected in theirs.items():
        assert ours[key] == expected, key


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_kubernetes_takes_every_object(render, version, values):
    """Strictly; of objects of others, such as cert-manager's, there is no schema here."""
    validate = pytest.importorskip("kubernetes_validate").validate
    for document in render(values).values():
        if document["apiVersion"] in KUBERNETES_OWN:
            validate(document, version, strict=True)


def test_every_value_arrives(render):
    """None is read by nobody."""
    found = render(EVERYTHING)
    stateful = found["StatefulSet", "mgr"]["spec"]
    pod = stateful["template"]["spec"]
    settings = tomllib.loads(found["ConfigMap", "mgr-settings"]["data"]["mgr.toml"])

    assert stateful["replicas"] == 5
    assert pod["containers"][0]["image"] == "registry.example/mgr:9"
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    secrets = [each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each]
    assert secrets == ["their-etcd", "their-tls"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == EVERYTHING["tolerations"]
    assert pod["affinity"] == EVERYTHING["affinity"]
    assert pod["priorityClassName"] == "high"
    hosts = next(
        each["value"] for each in pod["containers"][0]["env"] if each["name"] == "MGR_HOSTS"
    )
    assert hosts.count(",") == 4
    assert settings.items() >= EVERYTHING["settings"].items()
    assert settings["etcd_key"] == "/etc/mgr/etcd/tls.key"
    assert found["ConfigMap", "mgr-active"]["data"]["haproxy.cfg"].count("server mgr-4 ") == 2
    assert found["Certificate", "mgr-tls"]["spec"]["secretName"] == "their-tls"
    names = found["Certificate", "mgr-tls"]["spec"]["dnsNames"]
    assert "mgr-4.mgr-peers" in names
    assert "*.mgr-peers.mgr.svc.cluster.local" in names
    assert found["PodMonitor", "mgr"]["metadata"]["labels"]["release"] == "prometheus"
    rules = yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text())
    assert found["PrometheusRule", "mgr"]["spec"] == rules


@pytest.mark.parametrize(
    ("copy", "original"),
    [("alerts.yaml", "observability/alerts.yaml"), ("haproxy-reload.sh", "haproxy-reload.sh")],
)
def test_the_chart_has_the_newest_copies(copy, original):
    """A chart takes no file from outside its folder, and packages of source hold no links."""
    assert (ROOT / "deploy/helm/mgrd" / copy).read_text() == (
        ROOT / "deploy" / original
    ).read_text()


def test_the_settings_are_real(render):
    """What the chart writes, mgrd takes."""
    text = render(EVERYTHING)["ConfigMap", "mgr-settings"]["data"]["mgr.toml"]

    written = tomllib.loads(text)

    assert set(written) <= set(FIELDS)
    assert load(flags={**written, "id": "x"}).lease_ttl_s == 10


def test_parts_can_be_left_out(render):
    """Neither load balancers nor a policy."""
    found = render({"active": {"enabled": False}, "networkPolicy": {"enabled": False}})

    assert {kind for kind, _ in found} == {
        "ConfigMap", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 0}, "replicas"),
        ({"etcd": {"endpoints": []}}, "endpoints"),
        ({"etcd": {"endpoints": ["http://e:2379"]}}, "endpoints"),
        ({"replica": 3}, "replica"),
        ({"monitor": {"enabled": "yes"}}, "enabled"),
    ],
)
def test_a_wrong_value_is_refused_by_name(render, values, named):
    """At once, and not by a manager that does not start."""
    render()

    with pytest.raises(chart.ChartError, match=named):
        chart.render(values)


def test_a_changed_setting_is_a_rollout(render):
    """Managers read their settings when they start; a rollout hands over first."""

    def digest(values):
        annotations = render(values)["StatefulSet", "mgr"]["spec"]["template"]["metadata"]
        return annotations["annotations"]["checksum/settings"]

    assert digest({}) == digest({})
    assert digest({}) != digest({"settings": {"log_level": "debug"}})


def test_the_chart_is_of_this_version():
    """The image's tag is taken from it."""
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())

    assert about["appVersion"] == about["version"] == installed_version()
