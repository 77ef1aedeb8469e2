"""Exceptions that cross between a worker and a module's process."""

import pytest

from mgr.errors import FencedError, NotActiveError, StoreUnavailableError
from mgr.host.crash import Crash, CrashOrigin
from mgr.host.execution import ModuleRaisedError
from mgr.module_process.failures import decode_failure, encode_failure
from mgr.module_process.messages import dumps, loads
from mgr.text import traceback_of, type_name


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
        FileNotFoundError(2, "No such file or directory", "/etc/x"),
        OSError(18, "Invalid cross-device link", "/a", None, "/b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        SyntaxError("invalid syntax", ("x.py", 1, 3, "a b", 1, 4)),
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


@pytest.mark.parametrize(
    "error",
    [ExceptionGroup("two", [ValueError("1"), OSError(2, "no")]), ValueError("x" * (2 << 20))],
    ids=["group", "large"],
)
def test_what_cannot_be_made_again_arrives_by_its_text(error):
    """The worker reads the answers of every module: what one of them raises ends no reading."""
    assert str(crossed(error)).startswith(str(error)[:100])


def test_what_a_module_raised_is_named_as_there():
    """An exception that stands for another one has that one's type, and its traceback."""
    for error in (OddError(what="broken"), ValueError("broken")):
        arrived = decode_failure(loads(dumps(encode_failure(error))), of_module=True)

        assert type_name(arrived) == type(error).__name__
        assert traceback_of(arrived) == traceback_of(error)
        assert type(error).__name__ in str(arrived.__cause__)


def test_a_reported_error_brings_its_report():
    """Made where the traceback is."""
    crash = Crash.of("m", CrashOrigin.SERVE, ValueError("x"))

    arrived = crossed(ValueError("x"), crash)

    assert isinstance(arrived, ModuleRaisedError)
    assert arrived.crash == crash
