"""Whether a module acts outside: whose word counts."""

import pytest

from mgr.config.effects import Effects
from mgr.host.effects import PACKAGED, EffectsSource, classify, declared_effects
from mgr.module_api.module import MgrModule

CEPHS = "/usr/share/ceph/mgr/{}/module.py"


class Silent(MgrModule):
    """Says nothing, as every module written for ceph-mgr."""


class Saying(MgrModule):
    EFFECTS = "none"


class Heir(Saying):
    """Says what its base says."""


class Slip(MgrModule):
    EFFECTS = "Store"


@pytest.mark.parametrize(
    ("active", "said"),
    [
        (Silent, None),
        (Saying, Effects.NONE),
        (Heir, Effects.NONE),
        (Slip, Effects.EXTERNAL),
    ],
)
def test_only_what_a_class_says_itself_is_its_word(active, said):
    """The default of the interface is nobody's word; a slip is taken for the safe answer."""
    assert declared_effects(active) is said


@pytest.mark.parametrize(
    ("place", "declared", "chosen", "classified"),
    [
        (
            CEPHS,
            Effects.STORE,
            {"status": Effects.EXTERNAL},
            (Effects.EXTERNAL, EffectsSource.OPERATOR),
        ),
        (CEPHS, None, {"status": Effects.STORE}, (Effects.STORE, EffectsSource.OPERATOR)),
        (
            CEPHS,
            Effects.EXTERNAL,
            {"other": Effects.NONE},
            (Effects.EXTERNAL, EffectsSource.MODULE),
        ),
        (CEPHS, None, {}, (Effects.NONE, EffectsSource.TABLE)),
        ("/opt/mine/{}/module.py", None, {}, (Effects.EXTERNAL, EffectsSource.NOBODY)),
        ("status.module of some-wheel", None, {}, (Effects.EXTERNAL, EffectsSource.NOBODY)),
    ],
)
def test_the_operator_comes_first_then_the_module_then_the_table(
    place, declared, chosen, classified
):
    """The table is for Ceph's packages only: elsewhere the name may be anybody's."""
    assert classify("status", place.format("status"), declared, chosen) == classified


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_of_an_unknown_module_outside_is_assumed_and_the_table_covers_the_known(name):
    """Each name of the table is found where Ceph's packages put it."""
    assert classify(name, CEPHS.format(name), None, {}).source is EffectsSource.TABLE
    assert classify(f"{name}x", CEPHS.format(f"{name}x"), None, {}).external


@pytest.mark.parametrize(
    "name", ["telegraf", "influx", "zabbix", "alerts", "telemetry", "cephadm", "rook", "dashboard"]
)
def test_what_speaks_to_others_is_external(name):
    """Whatever else is found out about the table: these send."""
    assert PACKAGED[name] is Effects.EXTERNAL
