"""A module's log: one logger a module, whose records reach the manager's log."""

import logging

import pytest

from mgr.module_api.log import ClusterLogHandler, ManagerLogHandler
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.option import Option
from tests.support.context import Context


class Module(MgrModule):
    """Sets an attribute for each of its options, as several of Ceph's modules do."""

    MODULE_OPTIONS = (Option("own", default="x"),)

    def config_notify(self):
        for option in self.MODULE_OPTIONS:
            setattr(self, option["name"], self.get_module_option(option["name"]))


class Sink(logging.Handler):
    """The manager's log."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.name, record.levelname, record.getMessage()))


@pytest.fixture
def sink():
    sink = Sink()
    root = logging.getLogger()
    level = root.level
    root.addHandler(sink)
    root.setLevel(logging.WARNING)
    yield sink
    root.setLevel(level)
    root.removeHandler(sink)


@pytest.fixture
def context(sink):
    context = Context("logging-test", Module)
    context.native["debug_mgr"] = "4/5"
    yield context
    logging.getLogger("modules.logging-test").handlers.clear()


def make(context, cls=Module):
    return cls("logging-test", context)


def all_levels(module):
    for level in ("debug", "info", "warning", "error"):
        getattr(module.log, level)("%s line", level)


def test_a_modules_lines_reach_the_managers_log_under_its_name(context, sink):
    """Once, and whatever the root logger's own level is."""
    module = make(context)

    module.log.info("hello %s", "there")
    module.getLogger("part").info("more")

    assert sink.lines == [
        ("modules.logging-test", "INFO", "hello there"),
        ("modules.logging-test.part", "INFO", "more"),
    ]


@pytest.mark.parametrize(
    ("debug_mgr", "log_level", "first"),
    [
        ("20/20", "", "debug"),
        ("20", "", "debug"),
        ("19/20", "", "info"),
        ("5", "", "info"),
        ("4/5", "", "info"),
        ("3/5", "", "warning"),
        ("1/5", "", "warning"),
        ("0/5", "", "error"),
        ("0/20", "", "error"),
        ("-1", "", "error"),
        ("nonsense", "", "error"),
        ("0/5", "debug", "debug"),
        ("20/20", "error", "error"),
        ("20/20", "critical", None),
    ],
)
def test_the_level_is_the_modules_own_or_else_the_managers(
    context, sink, debug_mgr, log_level, first
):
    """``debug_mgr`` counts by its first number: error 0, warning 1, info 4, debug 20."""
    context.native["debug_mgr"] = debug_mgr
    context.stored_options["logging-test/log_level"] = log_level

    all_levels(make(context))

    levels = ["debug", "info", "warning", "error"]
    wanted = levels[levels.index(first) :] if first else []
    assert [line.split()[0] for _, _, line in sink.lines] == wanted


def test_a_changed_option_takes_effect_when_it_is_notified(context, sink):
    """Before the module's own ``config_notify`` runs."""
    module = make(context)
    context.stored_options["logging-test/log_level"] = "error"

    module._config_notify()
    all_levels(module)

    assert [level for _, level, _ in sink.lines] == ["ERROR"]


def test_the_cluster_log_is_switched_on_and_off(context):
    """With a level of its own, though the module overwrites ``log_to_cluster`` itself."""
    module = make(context)
    context.stored_options["logging-test/log_to_cluster"] = "true"
    context.stored_options["logging-test/log_to_cluster_level"] = "warning"
    module.config_notify()  # by itself, before it was told: now its attribute says "on"
    module._config_notify()

    all_levels(module)
    assert context.cluster_lines == [
        ("logging-test", 3, "warning line"),
        ("logging-test", 4, "error line"),
    ]

    context.stored_options["logging-test/log_to_cluster"] = "false"
    module._config_notify()
    module._config_notify()
    all_levels(module)
    assert len(context.cluster_lines) == 2
    assert module.log_to_cluster is False


def test_the_cluster_log_may_get_more_than_the_managers(context, sink):
    """The levels are independent."""
    context.stored_options["logging-test/log_level"] = "error"
    context.stored_options["logging-test/log_to_cluster"] = "true"
    context.stored_options["logging-test/log_to_cluster_level"] = "debug"

    all_levels(make(context))

    assert len(context.cluster_lines) == 4
    assert len(sink.lines) == 1


def test_a_level_that_is_none_of_the_five_has_no_priority():
    """Ceph's oddity, kept."""
    handler = ClusterLogHandler(None)

    with pytest.raises(KeyError):
        handler.emit(logging.makeLogRecord({"levelno": 25, "msg": "x"}))


@pytest.mark.parametrize(
    ("log_file", "own"),
    [("mgr.log", "mgr.logging-test.log"), ("manager", "manager.logging-test")],
)
def test_a_file_of_its_own_stands_beside_the_managers(context, tmp_path, log_file, own):
    """Made with the first line, closed when it is switched off."""
    context.native["log_file"] = str(tmp_path / log_file)
    context.stored_options["logging-test/log_to_file"] = "true"
    module = make(context)
    assert not (tmp_path / own).exists()

    module.log.info("written")
    context.stored_options["logging-test/log_to_file"] = "false"
    module._config_notify()
    module.log.info("not written")

    text = (tmp_path / own).read_text()
    assert text.endswith("[INFO] [modules.logging-test] written\n")
    assert text.count("\n") == 1


def test_without_a_log_file_there_is_none_beside_it(context, sink, tmp_path, monkeypatch):
    """It is said once, and the module works."""
    monkeypatch.chdir(tmp_path)
    context.stored_options["logging-test/log_to_file"] = "true"
    module = make(context)

    module._config_notify()
    module.log.info("on we go")

    assert list(tmp_path.iterdir()) == []
    assert [line for _, _, line in sink.lines] == [
        "the module cannot log to its own file: the manager's log_file is empty",
        "on we go",
    ]


def test_a_new_instance_replaces_the_handlers_of_the_old_one(context, sink):
    """A module that was restarted does not say everything twice."""
    make(context)
    module = make(context)

    module.log.info("once")

    assert len(sink.lines) == 1
    own = [h for h in module.log.handlers if isinstance(h, ManagerLogHandler)]
    assert len(own) == 1


def test_a_standby_logs_to_the_manager_only(context, sink):
    """There is no cluster log to write to."""
    context.stored_options["logging-test/log_to_cluster"] = "true"

    all_levels(make(context, type("Standby", (MgrStandbyModule,), {})))

    assert len(sink.lines) == 3
    assert context.cluster_lines == []


@pytest.mark.parametrize("name", ["root", "", "asyncio", "mgr"])
def test_a_module_shares_no_logger_with_others(sink, name):
    """Whatever its folder is called: with ``root`` each line would come back to its handler."""
    other = logging.getLogger(name)
    handlers, level, propagates = other.handlers[:], other.level, other.propagate

    module = Module(name, Context(name, Module))
    module.log.error("once")

    assert module.log is not other
    assert (other.handlers, other.level, other.propagate) == (handlers, level, propagates)
    assert [line[2] for line in sink.lines] == ["once"]
    module._unconfigure_logging()


def test_loggers_of_a_modules_files_obey_its_level(sink):
    """As with ceph-mgr, where they are below the module's logger by their names."""
    here = type("Module", (Module,), {"__module__": "packaged.module"})
    context = Context("packaged", here)
    context.stored_options["packaged/log_level"] = "info"
    module = here("packaged", context)

    logging.getLogger("packaged.files").info("a line")
    logging.getLogger("packaged.files").debug("not written")

    assert [line[2] for line in sink.lines] == ["a line"]
    module._unconfigure_logging()
