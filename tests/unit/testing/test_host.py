"""What authors of modules get: one module run in a test, as the manager would run it."""

import datetime as dt
import pickle
import subprocess
import sys
import threading
import time

import pytest

import modules.hello
from mgr.module_api.ceph import bindings
from mgr.testing.host import Host
from mgr_module import CLICommand, CLIReadCommand, HandleCommandResult, MgrModule, Option


class Module(MgrModule):
    """Has a bit of everything."""

    MODULE_OPTIONS = (Option("place", default="World"), Option("size", type="uint", max=9))
    NOTIFY_TYPES = ("health", "osd_map")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.notifications = []
        self.stop = threading.Event()

    @CLICommand("try count", perm="rw")
    def count(self, by: int = 1):
        total = int(self.get_store("count") or 0) + by
        self.set_store("count", str(total))
        return HandleCommandResult(stdout=str(total))

    @CLICommand("try file", perm="rw")
    def file(self, inbuf: str):
        return 0, inbuf.upper(), ""

    @CLIReadCommand("try fail")
    def fail(self):
        raise KeyError("inside")

    @CLIReadCommand("try wrong")
    def wrong(self):
        return "words"

    @CLICommand("try place", perm="rw")
    def place(self, name: str):
        self.set_module_option("place", name)
        self.set_health_checks({"MOVED": {"severity": "warning", "summary": "s", "count": 1}})
        return 0, str(self.notifications), ""

    def notify(self, notify_type, notify_id):
        self.notifications.append((notify_type, notify_id))

    def config_notify(self):
        self.notifications.append(("config", self.get_module_option("place")))

    def serve(self):
        self.stop.wait(10)
        if self.get_module_option("place") == "nowhere":
            raise ValueError("nothing to serve")

    def shutdown(self):
        self.stop.set()


@pytest.fixture
def module(mgr_host):
    return mgr_host.load(Module, name="try")


def test_words_become_typed_arguments(mgr_host, module):
    """As a client's: in order, by name, or both."""
    assert mgr_host.run("try count") == (0, "1", "")
    assert mgr_host.run("try count 4").stdout == "5"
    assert mgr_host.run("try count --by=2").stdout == "7"
    assert mgr_host.run("try count", by=3).stdout == "10"
    assert mgr_host.store == {"count": "10"}


def test_what_does_not_fit_is_refused_as_on_a_command_line(mgr_host, module):
    """The module is not asked."""
    retval, _, words = mgr_host.run("try count many")

    assert retval == -22
    assert "many" in words
    assert mgr_host.run("try nothing").retval == -22
    assert mgr_host.store == {}


def test_an_exception_is_answered_with_its_traceback(mgr_host, module):
    """And a result of the wrong type with what was returned."""
    retval, _, words = mgr_host.run("try fail")

    assert (retval, "KeyError: 'inside'" in words) == (-22, True)
    assert "returned str" in mgr_host.run("try wrong").stderr


def test_an_input_file_is_handed_over(mgr_host, module):
    """``-i FILE``; its text is the parameter ``inbuf``."""
    assert mgr_host.run("try file", inbuf="text").stdout == "TEXT"


def test_options_are_checked_and_notified(mgr_host, module):
    """As ``config set`` does; a refused one changes nothing."""
    mgr_host.set_option("place", "Rome")
    with pytest.raises(ValueError, match="maximum"):
        mgr_host.set_option("size", 10)

    assert module.get_module_option("place") == "Rome"
    assert module.notifications == [("config", "Rome")]


def test_options_can_be_set_before_it_starts(mgr_host):
    """Its constructor reads them."""
    module = mgr_host.load(Module, name="try", options={"size": 3})

    assert module.get_module_option("size") == 3


def test_notifications_that_a_command_causes_come_after_it(mgr_host, module):
    """On a real manager it waits for the command's thread."""
    assert mgr_host.run("try place Rome").stdout == "[]"
    assert module.notifications == [("config", "Rome"), ("health", "")]
    assert '"MOVED"' in module.get("health")["json"]


def test_only_subscribed_kinds_are_notified(mgr_host, module):
    """``NOTIFY_TYPES`` says which."""
    mgr_host.notify("fs_map")
    mgr_host.notify("osd_map")

    assert module.notifications == [("osd_map", "")]


def test_maps_are_the_tests_own_and_the_module_changes_a_copy(mgr_host, module):
    """As on a manager."""
    mgr_host.maps["osd_map"] = {"osds": [{"osd": 0}]}

    assert module.get("osd_map")["osds"][0]["osd"] == 0
    module.get("osd_map")["osds"][0]["osd"] = 1
    assert mgr_host.maps["osd_map"] == module.get("osd_map") == {"osds": [{"osd": 0}]}
    assert module.get("mgr_map")["active_name"] == "a"
    assert module.get("osd_map_of_mars") == {}
    assert module.get("nothing") is None


def test_a_successor_finds_what_was_stored_and_nothing_else(mgr_host, module):
    """Entries and options survive the manager; checks and addresses do not."""
    mgr_host.run("try place Rome")
    mgr_host.run("try count 4")
    module.set_uri("http://a/")

    successor = mgr_host.fail_over()

    assert successor is not module
    assert (successor.get_mgr_id(), successor.get_term()) == ("b", 2)
    assert successor.get_module_option("place") == "Rome"
    assert mgr_host.run("try count").stdout == "5"
    assert (mgr_host.health, mgr_host.uri) == ({}, "")


def test_other_modules_are_plain_objects(mgr_host, module):
    """Values are copied both ways, as on a manager."""

    class Peer:
        def grow(self, things):
            things.append(1)
            return things

    mine = []
    mgr_host.neighbours["peer"] = Peer()

    assert module.remote("peer", "grow", mine) == [1]
    assert mine == []
    with pytest.raises(ImportError):
        module.remote("absent", "grow")


def test_the_managers_answers_are_set_by_the_test(mgr_host, module):
    """By prefix."""
    mgr_host.answer("osd ls", 0, "[1]")

    assert module.mon_command({"prefix": "osd ls"}) == (0, "[1]", "")
    assert mgr_host.context.commands == [({"prefix": "osd ls"}, None)]


def test_serve_runs_for_a_block(mgr_host, module):
    """And ends with it; what it raised is raised here."""
    with mgr_host.serving():
        assert not module.stop.is_set()
    assert module.stop.is_set()

    mgr_host.set_option("place", "nowhere")
    with pytest.raises(ValueError, match="nothing to serve"), mgr_host.serving():
        pass


def test_its_time_is_moved_by_hand(mgr_host, module):
    """``time`` and ``datetime`` of its own files follow the clock; values stay ordinary ones."""
    clock = mgr_host.take_over_time()
    began_s, began = time.time(), dt.datetime.now(dt.UTC)  # noqa: TID251 - taken over

    clock.advance(30)
    time.sleep(30)  # noqa: TID251 - as above

    assert time.time() - began_s == 60  # noqa: TID251 - as above
    assert (dt.datetime.now(dt.UTC) - began).total_seconds() == 60
    assert isinstance(began, dt.datetime)
    assert pickle.loads(pickle.dumps(dt.datetime.fromisoformat("2026-01-01"))).year == 2026


def test_time_is_given_back_after_the_test():
    """The test before this one took it over."""
    assert type(time) is type(pickle)
    assert "_real" not in vars(time)


def test_a_package_is_loaded_by_name_with_its_waiting_half(mgr_host):
    """As the manager's own modules are."""
    hello = mgr_host.load("modules.hello", options={"place": "Rome"})
    hello.set_uri("http://a/")

    assert mgr_host.run("hello") == (0, "Hello, Rome!", "")
    assert mgr_host.standby().get_active_uri() == "http://a/"
    assert Host().load(modules.hello).module_name == "hello"


def test_a_folder_is_loaded_as_from_module_path(mgr_host, tmp_path):
    """Its package need not be importable otherwise; a folder that fails says why."""
    for name, text in (("one", "x = 1"), ("two", "import nothing_of_this_name")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        line = "class Module(MgrModule): pass"
        (tmp_path / name / "module.py").write_text(
            f"from mgr_module import MgrModule\n{text}\n{line}\n"
        )

    assert mgr_host.load(tmp_path / "one").module_name == "one"
    with pytest.raises(ImportError, match="nothing_of_this_name"):
        mgr_host.load(tmp_path / "two")


def test_a_folder_named_like_a_library_is_loaded_as_by_the_manager(mgr_host, tmp_path):
    """And the library stays what it is."""
    (tmp_path / "calendar").mkdir()
    (tmp_path / "calendar" / "module.py").write_text(
        "import calendar\nfrom mgr_module import MgrModule\n"
        "class Module(MgrModule):\n    LEAP = calendar.isleap(2024)\n"
    )

    assert mgr_host.load(tmp_path / "calendar").LEAP is True


def test_a_folder_may_be_given_as_text(mgr_host, tmp_path):
    """As many paths are."""
    (tmp_path / "textual").mkdir()
    (tmp_path / "textual" / "module.py").write_text(
        "from mgr_module import MgrModule\nclass Module(MgrModule): pass\n"
    )

    assert mgr_host.load(str(tmp_path / "textual")).module_name == "textual"


def test_a_test_may_restore_the_path_before_the_fixture_ends(tmp_path, monkeypatch):
    """Fixtures end in the order that the test gave."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "module.py").write_text(
        "from mgr_module import MgrModule\nclass Module(MgrModule): pass\n"
    )
    with Host() as host:
        host.load(tmp_path / "early")
        sys.path.remove(str(tmp_path))

    assert "early" not in sys.modules


@pytest.mark.parametrize("pointer", [0, None])
def test_a_module_made_by_hand_names_the_fixture(pointer):
    """As Ceph's own tests make theirs."""
    with pytest.raises(AttributeError, match=r"without a manager.*mgr_host\.load\(Module\)"):
        Module("try", pointer, 0)


def test_a_watched_entry_is_notified_after_the_command_that_changed_it(mgr_host, module):
    """On the same thread, so in order; others are not told."""
    module.watch_store("count")

    mgr_host.run("try count")
    module.compare_and_set_store("other", None, "1")

    assert module.notifications == [("store", "count")]


def test_a_module_that_names_cephs_bindings_is_loaded_as_by_the_manager(tmp_path, monkeypatch):
    """They stand in while the host is there, and are gone after it."""
    # Tests of the finder leave the offer behind, as a manager does for its whole life.
    finders = [each for each in sys.meta_path if each is not bindings._FINDER]
    monkeypatch.setattr(sys, "meta_path", finders)
    monkeypatch.delitem(sys.modules, "rados", raising=False)
    folder = tmp_path / "reaches"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .module import Module\n")
    (folder / "module.py").write_text(
        "import rados\n"
        "from mgr_module import MgrModule\n"
        "class Module(MgrModule):\n"
        "    def there(self):\n"
        "        try:\n"
        "            return self.rados.open_ioctx('.mgr')\n"
        "        except rados.ObjectNotFound as error:\n"
        "            return str(error)\n"
    )
    with Host() as host:
        assert "are not on this host" in host.load(folder).there()
    assert "rados" not in sys.modules


def test_a_module_of_ceph_finds_the_options_it_reads(mgr_host):
    """With their defaults, and what the test said instead."""
    module = mgr_host.load(Module)
    mgr_host.context.native["mon_max_pg_per_osd"] = 7

    assert module.get("config")["mon_target_pg_per_osd"] == "100"
    assert module.get("config")["mon_max_pg_per_osd"] == "7"


def test_a_serve_that_never_ends_does_not_keep_python_from_ending(tmp_path):
    """The test fails by name, and the run of all tests comes to its end."""
    (tmp_path / "test_stuck.py").write_text(
        "import threading\n"
        "from mgr.testing import host\n"
        "from mgr_module import MgrModule\n"
        "class Stuck(MgrModule):\n"
        "    def serve(self):\n"
        "        threading.Event().wait()\n"
        "host.TIMEOUT_S = 0.01\n"
        "with host.Host() as made:\n"
        "    made.load(Stuck)\n"
        "    with made.serving():\n"
        "        pass\n"
    )
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "test_stuck.py")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert "TimeoutError: serve() still runs 0.01 s after shutdown()" in ended.stderr
