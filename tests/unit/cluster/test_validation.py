"""What a daemon may say."""

import pytest

from mgr.cluster.counters import Counter
from mgr.cluster.validation import COMMAND_MAX, checked_commands, checked_counter, checked_name
from mgr.errors import ReportLimitError, ReportRefusedError


@pytest.mark.parametrize("label", ["", "a-b", "0a", "ä", "a b", 'a"'])
def test_a_label_is_called_what_every_system_takes(label):
    """One name that an exporter cannot write would cost everybody's figures."""
    with pytest.raises(ReportRefusedError, match="labels are called by") as refused:
        checked_counter(Counter(group="g", name="n", labels=((label, "x"),)))

    assert refused.value.rule == "labels"


@pytest.mark.parametrize("label", ["a", "_", "Bucket", "a_0"])
def test_a_label_may_be_called_so(label):
    """Its value may be anything that can be printed."""
    counter = Counter(group="g", name="n", labels=((label, "ä b-c"),))

    assert checked_counter(counter) is counter


def test_a_command_is_short_and_can_be_printed():
    """It is shown to operators, and kept for as long as its daemon is here."""
    assert checked_commands(["cache drop name=pool,type=CephString"])
    with pytest.raises(ReportLimitError, match=f"more than {COMMAND_MAX} characters"):
        checked_commands(["x" * (COMMAND_MAX + 1)])
    with pytest.raises(ReportRefusedError, match="a control character"):
        checked_commands(["drop \x1b[2J"])


def test_a_refusal_ends_with_its_reason_however_long_the_name_was():
    """GRPC cuts a long status: what is repeated of the name must not cost what is wrong with it."""
    refusals = []
    for call in (
        lambda: checked_name("x" * 100_000, "a"),
        lambda: checked_name("rgw", "x" * 100_000),
        lambda: checked_counter(Counter(group="x" * 100_000, name="n")),
        lambda: checked_commands(["x" * 100_000]),
    ):
        with pytest.raises(ReportRefusedError) as refused:
            call()
        refusals.append(str(refused.value))

    assert max(map(len, refusals)) < 250
    assert "use 1 to 64 of" in refusals[0]
