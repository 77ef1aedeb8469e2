"""The manifests against Kubernetes' own schemas, and against each other."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from mgr.settings import ENVIRONMENT_PREFIX, FIELDS, Settings, load
from modules.prometheus.module import Module as PrometheusModule
from tests.support.tree import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.28", "1.34")
"""The oldest release that these are meant for, and one of today's."""
MANAGER = {"app.kubernetes.io/name": "mgr", "app.kubernetes.io/component": "manager"}


def documents():
    for file in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield file.name, document


OBJECTS = [(name, document) for name, document in documents() if name != "kustomization.yaml"]
WORKLOADS = [d for _, d in OBJECTS if d["kind"] in {"StatefulSet", "Deployment"}]


def the(kind, name):
    (found,) = [d for _, d in OBJECTS if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def titled(objects):
    return [pytest.param(d, id=f"{d['kind']} {d['metadata']['name']}") for d in objects]


@pytest.fixture(scope="module")
def validate():
    """Kubernetes' schemas, which a package carries: nothing is asked of a cluster."""
    return pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed: schemas not checked"
    ).validate


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", titled([d for _, d in OBJECTS]))
def test_kubernetes_takes_every_object(validate, document, version):
    """Strictly: an unknown or misplaced field is an error."""
    validate(document, version, strict=True)


def test_a_misplaced_field_would_be_seen(validate):
    """The test above can fail."""
    wrong = {**the("PodDisruptionBudget", "mgr"), "maxUnavailable": 1}

    with pytest.raises(Exception, match="maxUnavailable"):
        validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_takes_every_file():
    """None is forgotten, none is named that is not there."""
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())

    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert set(kustomization["resources"]) == files
    assert all(document["metadata"].get("namespace", "mgr") == "mgr" for _, document in OBJECTS)


def test_the_policy_lets_clients_reach_every_port_that_a_manager_opens():
    """Its own two by name, and that of the module that is scraped."""
    options = {each["name"]: each["default"] for each in PrometheusModule.MODULE_OPTIONS}
    (rule,) = the("NetworkPolicy", "mgr")["spec"]["ingress"]

    assert [each["port"] for each in rule["ports"]] == ["grpc", "http", options["server_port"]]


@pytest.mark.parametrize("workload", titled(WORKLOADS))
def test_every_pod_passes_the_restricted_standard(workload):
    """What the namespace enforces; checked here, for no cluster is asked."""
    pod = workload["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    kinds = {kind for volume in pod["volumes"] for kind in volume} - {"name"}
    assert kinds <= {"configMap", "secret", "emptyDir"}


@pytest.mark.parametrize("workload", titled(WORKLOADS))
def test_selectors_find_the_pods_they_are_for(workload):
    """Service, disruption budget and spreading select by the labels that the pods have."""
    labels = workload["spec"]["template"]["metadata"]["labels"]
    component = labels["app.kubernetes.io/component"]
    same = [
        d["spec"]["selector"].get("matchLabels", d["spec"]["selector"])
        for _, d in OBJECTS
        if d["kind"] in {"Service", "PodDisruptionBudget"}
        and component in str(d["spec"]["selector"])
    ]

    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert len(same) == 2
    assert all(selector == labels for selector in same)
    (spread,) = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels


def test_the_probes_are_those_that_a_standby_passes():
    """/active would keep standbys from being ready, and a rollout from ending."""
    (container,) = the("StatefulSet", "mgr")["spec"]["template"]["spec"]["containers"]

    probes = {
        name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")
    }
    schemes = {container[name]["httpGet"]["scheme"] for name in probes}

    assert probes == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert schemes == {"HTTPS"}


def test_the_managers_settings_are_real():
    """The file and the environment hold what mgrd takes, and nothing else."""
    stateful = the("StatefulSet", "mgr")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    file = tomllib.loads(the("ConfigMap", "mgr-settings")["data"]["mgr.toml"])
    given = {each["name"]: each.get("value", "mgr-0") for each in container["env"]}
    expanded = {k: v.replace("$(MGR_ID)", "mgr-0") for k, v in given.items()}
    known = {ENVIRONMENT_PREFIX + field.upper() for field in FIELDS} | {"MGR_HOSTS"}

    settings = load(environment=expanded, flags=file)

    assert set(given) <= known
    beyond = load(
        environment={**expanded, "MGR_GRPC_LISTEN": "0.0.0.0:7400", "MGR_HTTP_LISTEN": "0.0.0.0:1"}
    )
    assert beyond.unprotected_listeners == ()
    assert settings.grpc_advertise.startswith("mgr-0.mgr-peers.mgr.svc.")
    # Kubernetes' own MGR_..._SERVICE_HOST variables would look like settings.
    assert stateful["spec"]["template"]["spec"]["enableServiceLinks"] is False
    assert stateful["spec"]["serviceName"] == the("Service", "mgr-peers")["metadata"]["name"]


def test_a_pod_is_given_the_time_to_hand_over():
    """Longer than it drains, or every rollout would be a crash."""
    pod = the("StatefulSet", "mgr")["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] > 2 * Settings().drain_s


def test_both_load_balancers_are_set_up_alike():
    """Compose's and Kubernetes' HAProxy differ in names, and in the probe that Kubernetes needs."""
    ours = (ROOT / "deploy/haproxy.cfg").read_text()
    theirs = the("ConfigMap", "mgr-active")["data"]["haproxy.cfg"]

    def settings(text):
        bare = re.sub(r"mgr-?(\d)\S*?(?=[: ]|$)", "mgr", text, flags=re.MULTILINE)
        return {line.strip() for line in bare.splitlines() if line.strip()[:1] not in {"", "#"}}

    assert settings(theirs) - settings(ours) == {
        "listen health",
        "bind :8404",
        "monitor-uri /livez",
    }
    assert settings(ours) <= settings(theirs)
