"""What a module reads, stores and publishes; each through its context and nothing else."""

import socket

import pytest

from mgr.module_api.command import CLICommand
from mgr.module_api.module import MgrModule, MgrStandbyModule
from mgr.module_api.option import Option
from mgr.module_api.result import CommandResult, HandleCommandResult, MonCommandFailed
from tests.support.context import Context, command, run

OPTIONS = (
    Option("place", default="World"),
    Option("pause", type="secs", default=30),
    Option("truth", type="bool", default=True),
    Option("bare"),
    {"name": "untyped", "default": 5},
)


class Module(MgrModule):
    """Declares one option of each sort."""

    MODULE_OPTIONS = OPTIONS

    @CLICommand("test decorated")
    def decorated(self, a: int = 1) -> HandleCommandResult:
        """Answer."""
        return HandleCommandResult(stdout=str(a))

    def handle_command(self, inbuf, cmd):
        """Answer the rest."""
        return HandleCommandResult(-1, inbuf, cmd["prefix"])

    def double(self, number, *, by=2):
        """Be called by others."""
        return number * by


class Standby(MgrStandbyModule):
    """Declares the same."""

    MODULE_OPTIONS = OPTIONS

    def shutdown(self):
        """Nothing runs."""


@pytest.fixture
def module():
    return run(Module)[0]


@pytest.fixture
def context(module):
    return module._context


# -- options ----------------------------------------------------------------------------------


def test_a_stored_option_is_typed_and_a_default_is_as_written(module):
    """A stored span is a float; its default stays the int it was declared as."""
    assert module.get_module_option("pause") == 30
    assert isinstance(module.get_module_option("pause"), int)

    module.set_module_option("pause", "2m")

    assert module.get_module_option("pause") == 120.0
    assert isinstance(module.get_module_option("pause"), float)


def test_a_declared_default_beats_the_argument(module):
    """The argument is for options without one."""
    assert module.get_module_option("place", "elsewhere") == "World"
    assert module.get_module_option("bare", "argument") == "argument"
    assert module.get_module_option("bare") is None
    assert module.get_module_option("untyped") == "5"


def test_an_undeclared_option_is_an_error(module):
    """In Ceph's words, for every method."""
    message = r"Config option 'nope' is not in Module\.MODULE_OPTIONS"
    for method in (module.get_module_option, module.get_localized_module_option):
        with pytest.raises(RuntimeError, match=message):
            method("nope")
    for method in (module.set_module_option, module.set_localized_module_option):
        with pytest.raises(RuntimeError, match=message):
            method("nope", "x")
    with pytest.raises(RuntimeError, match=message):
        module.get_module_option_ex("test", "nope")
    with pytest.raises(RuntimeError, match=message):
        module.set_module_option_ex("test", "nope", 1)


def test_an_option_added_later_counts(module):
    """Some modules extend their list when they are constructed."""
    module.MODULE_OPTIONS.append(Option("late"))
    try:
        assert module.get_module_option("late") is None
    finally:
        module.MODULE_OPTIONS.pop()


def test_what_is_set_is_stored_as_text_and_none_reverts(module, context):
    """Whatever its type was."""
    module.set_module_option("place", 3)
    module.set_module_option("truth", val=False)

    assert context.stored_options == {"test/place": "3", "test/truth": "false"}
    assert module.get_module_option("truth") is False
    module.set_module_option("place", None)
    assert module.get_module_option("place") == "World"


def test_a_value_that_does_not_fit_changes_nothing(module, context):
    """The refusal is a ValueError with the words of ``config set``."""
    with pytest.raises(ValueError, match="error parsing value"):
        module.set_module_option("pause", "soon")

    assert context.stored_options == {}


def test_a_localized_value_is_for_this_manager_and_comes_first(module, context):
    """The plain getter does not see it."""
    module.set_localized_module_option("place", "here")
    module.set_module_option("place", "everywhere")

    assert context.stored_options == {"test/a/place": "here", "test/place": "everywhere"}
    assert module.get_localized_module_option("place") == "here"
    assert module.get_module_option("place") == "everywhere"
    module.set_localized_module_option("place", None)
    assert module.get_localized_module_option("place") == "everywhere"
    module.set_module_option("place", None)
    assert module.get_localized_module_option("place") == "World"


def test_another_modules_option_has_its_type_and_not_its_default(module, context):
    """Unknown modules and options give the argument."""
    context.declare("other", Standby)

    assert module.get_module_option_ex("other", "pause") is None
    module.set_module_option_ex("other", "pause", 7)
    assert module.get_module_option_ex("other", "pause") == 7.0
    assert module.get_module_option_ex("nobody", "x", "default") == "default"


def test_none_for_another_modules_option_is_the_text_none(module, context):
    """Ceph's oddity, kept."""
    context.declare("other", Standby)

    module.set_module_option_ex("other", "place", None)

    assert context.stored_options == {"other/place": "None"}


def test_a_native_option_is_typed_and_an_unknown_one_an_error(module, context):
    """In Ceph's words."""
    context.native["mgr_tick_period"] = 2.0

    assert module.get_ceph_option("mgr_tick_period") == 2.0
    with pytest.raises(KeyError, match="option not found: nope"):
        module.get_ceph_option("nope")


# -- key/value store --------------------------------------------------------------------------


def test_what_is_stored_is_read_at_once(module):
    """None removes; a default is for what is not there, not for what is empty."""
    module.set_store("k", "")
    assert module.get_store("k", "default") == ""
    module.set_store("k", None)
    assert module.get_store("k", "default") == "default"
    assert module.get_store("k") is None


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("k", 1, TypeError),
        ("k", b"x", TypeError),
        ("k", "a\0", ValueError),
        ("k\0", "a", ValueError),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_sent(
    module, context, key, value, error
):
    """As the original's argument conversion does."""
    with pytest.raises(error):
        module.set_store(key, value)

    assert context.store == {}


def test_keys_with_a_prefix_are_whole_and_ascending(module):
    """A plain prefix of text: no separator is meant."""
    for key in ("b/2", "b/1", "a", "bc"):
        module.set_store(key, key)

    assert list(module.get_store_prefix("b").items()) == [
        ("b/1", "b/1"),
        ("b/2", "b/2"),
        ("bc", "bc"),
    ]
    assert len(module.get_store_prefix("")) == 4


def test_a_localized_entry_is_for_this_manager_and_comes_first(module, context):
    """Then the plain one, then the default."""
    assert module.get_localized_store("k", "default") == "default"
    module.set_store("k", "everywhere")
    assert module.get_localized_store("k") == "everywhere"
    module.set_localized_store("k", "here")

    assert context.store == {"k": "everywhere", "a/k": "here"}
    assert module.get_localized_store("k") == "here"


# -- commands ---------------------------------------------------------------------------------


def test_a_command_goes_to_its_method_or_to_handle_command(module):
    """Decorated prefixes first."""
    assert command(module, "test decorated", a="3") == (0, "3", "")
    assert command(module, "test other", "input") == (-1, "input", "test other")


def test_without_handle_command_the_rest_is_not_implemented():
    """The author forgot it; the caller sees the traceback."""
    bare = run(type("Bare", (MgrModule,), {}))[0]

    with pytest.raises(NotImplementedError):
        command(bare, "anything")


def test_commands_of_the_manager_are_run_and_may_be_checked(module, context):
    """Data comes before words, as everywhere."""
    context.answer = (0, "data", "words")
    assert module.mon_command({"prefix": "status"}) == HandleCommandResult(0, "data", "words")
    assert context.commands == [({"prefix": "status"}, None)]

    context.answer = (-2, "", "no such thing")
    with pytest.raises(MonCommandFailed, match=r"^x failed: no such thing retval: -2$"):
        module.check_mon_command({"prefix": "x"}, "input")
    with pytest.raises(KeyError, match="prefix"):
        module.mon_command({})


def test_a_replaced_mon_command_may_return_a_plain_tuple(module):
    """As the stand-ins of modules' own tests do."""
    module.mon_command = lambda _arguments, _inbuf: (0, "data", "")
    assert module.check_mon_command({"prefix": "x"}).stdout == "data"

    module.mon_command = lambda _arguments, _inbuf: (-2, "", "no such thing")
    with pytest.raises(MonCommandFailed, match=r"^x failed: no such thing retval: -2$"):
        module.check_mon_command({"prefix": "x"})


def test_a_result_can_be_waited_for():
    """Data before words; the tag is what it was made with."""
    result = CommandResult("tag")
    result.complete(-1, "data", "words")

    assert result.wait() == (-1, "data", "words")
    assert (result.r, result.outb, result.outs, result.tag) == (-1, "data", "words", "tag")
    assert CommandResult().tag == ""


# -- publishing -------------------------------------------------------------------------------


def test_health_checks_are_cleaned_field_by_field(module, context, caplog):
    """What is wrong is left out and logged; the rest of the check stands."""
    module.set_health_checks(
        {
            "GOOD": {"severity": "error", "summary": "s", "count": 3, "detail": ["d"]},
            "ODD": {"severity": 1, "summary": "s", "colour": "red", "detail": ["d", 2]},
            "NONE": "text",
            7: {},
        }
    )

    assert context.health == {
        "GOOD": {"severity": "error", "summary": "s", "count": 3, "detail": ["d"]},
        "ODD": {"summary": "s", "detail": ["d"]},
    }
    complaints = [record.getMessage() for record in caplog.records]
    for word in ("severity", "colour", "holds what is no text", "NONE", "7"):
        assert any(word in line for line in complaints), word
    module.set_health_checks({})
    assert context.health == {}


def test_health_checks_that_are_no_dictionary_are_ignored(module, context, caplog):
    """And logged: what was there before stands."""
    module.set_health_checks({"A": {}})
    module.set_health_checks(["B"])

    assert context.health == {"A": {}}
    assert "expected a dictionary" in caplog.text


def test_a_cluster_log_line_needs_a_real_priority(module, context):
    """Ceph's oddity, kept: a plain number has no ``value``."""
    module.cluster_log("audit", module.ClusterLogPrio.WARN, "look")

    assert context.cluster_lines == [("audit", 3, "look")]
    with pytest.raises(AttributeError):
        module.cluster_log("audit", 3, "look")


def test_an_address_is_published_and_withdrawn(module, context):
    """The last call wins."""
    module.set_uri("http://here/")
    assert context.uri == "http://here/"
    module.set_uri("")
    assert context.uri == ""


def test_another_modules_method_is_called_by_value(module):
    """What goes wrong keeps its kind, as far as the border lets it."""
    assert module.remote("test", "double", 2, by=3) == 6
    with pytest.raises(ImportError, match="Module not found"):
        module.remote("nobody", "double", 2)
    with pytest.raises(NameError, match="Method not found"):
        module.remote("test", "triple", 2)
    with pytest.raises(RuntimeError) as caught:
        module.remote("test", "double", None)
    assert isinstance(caught.value, TypeError)
    assert "Remote method threw exception: Traceback" in str(caught.value.__cause__)


# -- identity ---------------------------------------------------------------------------------


def test_a_module_knows_where_it_runs(module, context):
    """Name, host, addresses, term, and whether what it reads is current."""
    assert module.get_mgr_id() == "a"
    assert module.get_hostname() == socket.gethostname()
    assert module.get_mgr_ip() == "127.0.0.1"
    context.documents["mgr_ips"] = {"ips": []}
    assert module.get_mgr_ip() == "127.0.0.1", "asked once"
    assert run(Module)[0].get_term() == 1
    context.connected = False
    assert module.have_mon_connection() is False


def test_without_an_address_the_hosts_name_stands_in(context):
    """As in the original."""
    context.documents["mgr_ips"] = {"ips": []}

    assert Module("test", context).get_mgr_ip() == socket.gethostname()


def test_the_version_has_its_number_in_the_third_word(module):
    """Modules take it apart by position."""
    words = module.version.split()

    assert words[1] == "version"
    assert words[2][0].isdigit()
    assert words[-2] == module.release_name


@pytest.mark.parametrize(
    ("major", "name"), [(16, "pacific"), (20, "tentacle"), (99, "unknown"), (-1, "unspecified")]
)
def test_releases_have_names(module, major, name):
    """Beyond the table: unknown; below zero: unspecified."""
    assert module.lookup_release_name(major) == name


def test_an_unknown_document_is_none_and_logged(module, context, caplog):
    """The author's mistake, most likely."""
    context.documents["mgr_map"] = {"epoch": 1}

    assert module.get("mgr_map") == {"epoch": 1}
    assert module.get("mgr_mop") is None
    assert "mgr_mop" in caplog.text


def test_a_module_that_overrides_nothing_does_nothing():
    """It can be run, told, and stopped all the same."""
    bare = run(type("Bare", (MgrModule,), {}))[0]

    bare.serve()
    bare.notify("health", "")
    bare._config_notify()
    bare.shutdown()
    assert bare.self_test() is None
    assert bare.can_run() == (True, "")


# -- standby ----------------------------------------------------------------------------------


@pytest.fixture
def waiting():
    context = Context("test", Standby, manager_id="b")
    return Standby("test", context)


def test_a_standby_reads_options(waiting):
    """The localized one only when asked for it; undeclared names are not refused."""
    stored = waiting._context.stored_options
    stored.update({"test/place": "everywhere", "test/b/place": "here", "test/pause": "60"})

    assert waiting.get_module_option("place") == "everywhere"
    assert waiting.get_localized_module_option("place") == "here"
    assert waiting.get_module_option("pause") == 60.0
    assert waiting.get_module_option("truth", default=False) is True
    assert waiting.get_module_option("undeclared", "default") == "default"


def test_a_standby_reads_native_options_as_text(waiting):
    """Ceph's oddity, kept: the active half gets them typed, and an error for an unknown one."""
    waiting._context.native.update({"number": 3, "truth": True})

    assert waiting.get_ceph_option("number") == "3"
    assert waiting.get_ceph_option("truth") == "true"
    assert waiting.get_ceph_option("unknown") is None


def test_a_standby_reads_the_store(waiting):
    """Its own entry first."""
    waiting._context.store.update({"k": "everywhere", "b/k": "here"})

    assert waiting.get_store("k") == "everywhere"
    assert waiting.get_localized_store("k") == "here"
    assert waiting.get_localized_store("x", "default") == "default"


def test_a_standby_knows_where_its_active_half_serves(waiting):
    """Nothing, while nobody is known."""
    assert waiting.get_active_uri() == ""
    waiting._context.active_uri = "http://a/"
    assert waiting.get_active_uri() == "http://a/"


def test_a_standby_must_serve_and_shut_down(waiting):
    """The base class serves nothing and has no ``shutdown`` at all."""
    with pytest.raises(NotImplementedError):
        waiting.serve()
    assert not hasattr(MgrStandbyModule, "shutdown")


@pytest.mark.parametrize(
    "name", ["set_store", "set_module_option", "remote", "set_health_checks", "set_uri"]
)
def test_a_standby_changes_nothing(name):
    """Only the active half may."""
    assert not hasattr(MgrStandbyModule, name)


def test_a_document_can_be_had_to_change_it():
    """Of later branches: ``mutable``; what is published stays as it is."""
    module, context = run(Module)
    context.documents["service_map"] = {"services": {}}

    module.get("service_map", mutable=True)["services"]["x"] = 1
    module.erase("service_map")

    assert module.get("service_map") == {"services": {}}


def test_another_modules_entry_is_read_if_it_shares_it():
    """By the beginning of its key; else it is refused, and a module that is not there is none."""

    class Open(MgrModule):
        SHARED_STORE = ("public/",)

    module, context = run(Module)
    other, _ = run(Open, "other")
    context.neighbours["other"] = other
    other.set_store("public/a", "1")
    other.set_store("own", "2")

    assert module.get_store_ex("other", "public/a") == "1"
    assert module.get_store_ex("other", "public/b", "none") == "none"
    with pytest.raises(PermissionError, match="does not share 'own'"):
        module.get_store_ex("other", "own")
    with pytest.raises(ImportError):
        module.get_store_ex("nobody", "public/a")
