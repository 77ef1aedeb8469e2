"""Exceptions that cross between a worker and a module's process."""

import pytest

from mgr.errors import FencedError, NotActiveError, StoreUnavailableError
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.execution import ModuleRaisedError
from mgr.module_process.failures import decode_failure, encode_failure
from mgr.module_process.messages import dumps, loads


def crossed(error, crash=None):
    """The error on the other side."""
    return decode_failure(loads(dumps(encode_failure(error, crash))))


@pytest.mark.parametrize(
    "error",
    [
        FencedError("/k", term=7),
        NotActiveError("a:1", active_name="b", term=3),
        StoreUnavailableError("no answer"),
        ValueError("size: too small"),
        KeyError("option not found: x"),
    ],
)
def test_errors_that_callers_act_on_keep_type_text_and_fields(error):
    """Ours and Python's own."""
    arrived = crossed(error)

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


class OddError(Exception):
    def __init__(self, *, what):
        super().__init__(what)
        self.lock = object()


def test_any_other_error_arrives_with_text_and_traceback():
    """A module's own class does not exist in the worker."""

    def fails():
        raise OddError(what="broken")

    with pytest.raises(OddError) as caught:
        fails()
    arrived = crossed(caught.value)

    assert type(arrived) is ModuleRaisedError
    assert str(arrived) == "broken"
    assert "test_failures.py" in arrived.traceback
    assert "OddError" in str(arrived.__cause__)


def test_what_would_end_a_process_arrives_as_an_error():
    """And says what it was."""
    assert str(crossed(SystemExit(3))) == "SystemExit: 3"


def test_an_error_that_cannot_be_printed_arrives_all_the_same():
    """By its type."""

    class UnprintableError(Exception):
        def __str__(self):
            raise RuntimeError

    text = "UnprintableError, whose text raises RuntimeError"
    assert str(crossed(UnprintableError())) == text


def test_a_reported_error_brings_its_report():
    """Made where the traceback is."""
    crash = Crash.of("m", CrashOrigin.SERVE, ValueError("x"))

    arrived = crossed(ValueError("x"), crash)

    assert isinstance(arrived, ModuleRaisedError)
    assert arrived.crash == crash
