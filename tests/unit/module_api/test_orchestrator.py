"""The interface of orchestrators: results and errors are copied between modules as they are."""

from __future__ import annotations

import importlib
import pickle
import sys

import pytest

from mgr.module_api.ceph import bindings
from mgr_orchestrator import (
    HostSpec,
    NoOrchestrator,
    Orchestrator,
    OrchestratorClientMixin,
    OrchestratorError,
    OrchestratorNotRunningError,
    OrchResult,
    handle_orch_error,
    raise_if_exception,
)


class BackEnd(Orchestrator):
    """One that has hosts."""

    @handle_orch_error
    def get_hosts(self):
        return [HostSpec("h")]

    @handle_orch_error
    def pause(self):
        raise OrchestratorError("not now", -16)

    @handle_orch_error
    def resume(self):
        class LocalError(Exception):
            """One that nobody else can import."""

        raise LocalError("too far")


class Caller(OrchestratorClientMixin):
    """A module that calls the back end that is set; everything is copied on the way."""

    chosen = "back"
    running = True

    def remote(self, module, method, *args, **kwargs):
        if module == "orchestrator":
            assert method == "_select_orchestrator"
            return self.chosen
        if not self.running:
            raise ImportError(module)
        args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
        return pickle.loads(pickle.dumps(getattr(BackEnd(), method)(*args, **kwargs)))


def test_a_result_is_unpacked_and_an_error_is_raised_again():
    """Of its type, with its number."""
    assert raise_if_exception(Caller().get_hosts()) == [HostSpec("h")]
    with pytest.raises(OrchestratorError, match="not now") as caught:
        raise_if_exception(Caller().pause())
    assert caught.value.errno == -16


def test_an_error_that_cannot_be_copied_becomes_its_text(caplog):
    """The log has the traceback."""
    with pytest.raises(OrchestratorError, match="LocalError: too far"):
        raise_if_exception(Caller().resume())
    assert "an orchestrator's method failed" in caplog.text
    bad = OrchResult(None)
    bad.serialized_exception, bad.exception_str = b"", "BadError: x"
    with pytest.raises(OrchestratorError, match="BadError"):
        raise_if_exception(bad)


def test_without_a_back_end_the_error_names_the_next_step():
    """None set; or one that does not run; or one that cannot do it."""
    caller = Caller()
    with pytest.raises(NotImplementedError):
        caller.upgrade_stop()
    caller.running = False
    with pytest.raises(OrchestratorNotRunningError, match="back"):
        caller.get_hosts()
    caller.chosen = None
    with pytest.raises(NoOrchestrator, match="orch set backend"):
        caller.get_hosts()


def test_features_are_the_methods_that_a_back_end_has():
    """Also from another module."""
    features = Caller().get_feature_set()

    assert features["get_hosts"] == {"available": True}
    assert features["apply"] == {"available": False}


def test_modules_find_the_names_as_in_ceph_unless_ceph_has_them(tmp_path, monkeypatch):
    """Its own module of that name takes precedence."""
    uninstall = bindings.install_stand_ins()
    try:
        assert importlib.import_module("orchestrator").Orchestrator is Orchestrator
        del sys.modules["orchestrator"]

        (tmp_path / "orchestrator.py").write_text("Orchestrator = 'theirs'\n")
        monkeypatch.syspath_prepend(tmp_path)
        assert importlib.import_module("orchestrator").Orchestrator == "theirs"
    finally:
        sys.modules.pop("orchestrator", None)
        uninstall()
