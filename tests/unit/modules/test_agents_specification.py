"""Specifications: what the manager takes, an agent reads and would run."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from mgr.agent.deploy.config import parse_orders
from mgr.agent.deploy.settings import DeploySettings
from modules.agents.specification import parse

ALLOWED = DeploySettings(
    kinds=("process", "systemd", "container"), commands=("/bin/*",), images=("*",)
)
LETTERS = st.characters(codec="utf-8", exclude_characters="\0")
WORDS = st.text(LETTERS, min_size=1, max_size=20)
PROGRAMS = st.lists(WORDS, max_size=3).map(lambda more: ["/bin/true", *more])
VARIABLES = st.from_regex(r"\A[A-Z_]{1,10}\Z").filter(lambda name: not name.startswith("LD_"))
PORTS = st.integers(1024, 65535)
SECONDS = st.integers(1, 36_000).map(lambda tenths: tenths / 10)
PROBES = st.one_of(
    st.fixed_dictionaries({"tcp": PORTS}),
    st.fixed_dictionaries({"http": PORTS.map(lambda port: f"{port}/ready?x=1")}),
    st.fixed_dictionaries({"command": PROGRAMS}),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "environment": st.dictionaries(VARIABLES, st.text(LETTERS), max_size=3),
        "files": st.dictionaries(st.from_regex(r"\A[a-z]{1,8}(/[A-Z]{1,8})?\Z"), WORDS, max_size=3),
        "ports": st.lists(PORTS, max_size=3, unique=True),
        "resources": st.sampled_from([{"memory_mb": 64}, {"cpus": 0.5}]),
        "probe": PROBES,
        "start_s": SECONDS,
        "settle_s": SECONDS,
    },
)
KINDS = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from(["process", "systemd"]), "command": PROGRAMS}),
    st.just({"kind": "container", "image": "web:1", "environment": {}}),
)


@settings(max_examples=150, deadline=None)
@given(kind=KINDS, fields=FIELDS)
def test_what_the_manager_takes_an_agent_reads(kind, fields):
    """Every field arrives; a probe of each kind, too."""
    [spec] = parse(json.dumps({"service": "web", **fields, **kind}))
    order = {
        "key": "1/1", "action": "deploy", "daemon": "web.a-0", "revision": "1",
        "config": spec.config({}),
    }  # fmt: skip

    [read] = parse_orders(json.dumps({"orders": [order]}))

    assert read.config is not None
    read.config.check(ALLOWED)
    assert (read.config.probe, read.config.files) == (spec.probe, spec.files)
