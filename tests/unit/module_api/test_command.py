"""Commands are marked where they are written, and collected by class."""

import errno
import gc
import sys
import types

import pytest

from mgr.module_api.command import (
    CLICheckNonemptyFileInput,
    CLICommand,
    CLICommandBase,
    CLIReadCommand,
    CLIWriteCommand,
    CommandDeclaration,
    collect_commands,
    decorated_commands,
    register_commands,
)
from mgr.module_api.responder import Responder
from mgr.module_api.result import HandleCommandResult


class Older:
    """A module of the older generation; any class will do."""

    COMMANDS = [  # noqa: RUF012 - as modules write it
        {"cmd": "old name=a,type=CephInt", "desc": "from the table", "perm": "r", "poll": "true"},
    ]

    @CLICommand("old both", perm="rw", poll=True)
    def both(self, a: str) -> HandleCommandResult:
        """Change and tell."""
        return HandleCommandResult(stdout=a)

    @CLIReadCommand("old read")
    def read(self) -> HandleCommandResult:
        """Tell."""
        return HandleCommandResult(stdout="read")

    @CLIWriteCommand("old write", idempotent=True, hidden=True)
    def write(self, inbuf: str = "") -> HandleCommandResult:
        """Change."""
        return HandleCommandResult(stdout=inbuf)


NewerCommand = CLICommandBase.make_registry_subtype("NewerCommand")


class Newer:
    """A module of the newer generation."""

    CLICommand = NewerCommand

    @NewerCommand("new both")
    def both(self) -> HandleCommandResult:
        """Change and tell."""
        return HandleCommandResult()

    @NewerCommand.Read("new read")
    def read(self) -> HandleCommandResult:
        """Tell."""
        return HandleCommandResult()

    @NewerCommand.Write("new write", poll=True)
    def write(self) -> HandleCommandResult:
        """Change."""
        return HandleCommandResult()


def prefixes(cls):
    return sorted(decorated_commands(cls))


def test_a_declaration_holds_all_the_host_must_know():
    """The table first, then what was decorated, in the order of the class."""
    assert collect_commands(Older) == [
        CommandDeclaration("old name=a,type=CephInt", "from the table", "r", poll=True),
        CommandDeclaration("old both name=a,type=CephString", "Change and tell.", "rw", poll=True),
        CommandDeclaration("old read ", "Tell.", "r"),
        CommandDeclaration("old write ", "Change.", "w", idempotent=True, hidden=True),
    ]


def test_both_generations_live_side_by_side():
    """Neither class has a command of the other."""
    assert prefixes(Older) == ["old both", "old read", "old write"]
    assert prefixes(Newer) == ["new both", "new read", "new write"]
    permissions = {each.signature_text.strip(): each.perm for each in collect_commands(Newer)}
    assert permissions == {"new both": "rw", "new read": "r", "new write": "w"}


def test_a_command_is_in_the_table_of_its_decorator():
    """Code written for Reef looks commands up in the table that all modules share."""
    assert CLICommand.COMMANDS["old read"].call(Older(), {}).stdout == "read"
    assert CLICommand.COMMANDS is CLIReadCommand("x").COMMANDS
    assert "new read" not in CLICommand.COMMANDS
    assert CLICommandBase.COMMANDS == {}
    assert sorted(NewerCommand.COMMANDS) == ["new both", "new read", "new write"]


def test_the_shared_table_adds_no_command_to_a_module():
    """The original's defect: importing one module's code registered its commands in another."""
    cls = type("Module", (), {"CLICommand": CLICommand, "read": Older.read})

    assert prefixes(cls) == ["old read"]


def test_a_command_leaves_the_shared_table_with_its_module():
    """A module that is reloaded or removed keeps nothing alive."""

    class Passing:
        @CLICommand("passing by")
        def by(self) -> HandleCommandResult:
            return HandleCommandResult()

    assert "passing by" in CLICommand.COMMANDS
    del Passing
    gc.collect()

    assert "passing by" not in CLICommand.COMMANDS


def test_another_modules_class_in_the_same_namespace_adds_nothing():
    """Cross imports are everyday: only the class and what it inherits from count."""

    class Importer:
        other = Older

        @CLICommand("own")
        def own(self) -> HandleCommandResult:
            return HandleCommandResult()

    assert prefixes(Importer) == ["own"]


def test_what_is_inherited_is_a_command_too():
    """A mixin may bring commands; a later registration of a prefix replaces the earlier one."""

    class Derived(Older):
        @CLICommand("old read")
        def read_again(self) -> HandleCommandResult:
            return HandleCommandResult(stdout="again")

    commands = decorated_commands(Derived)

    assert sorted(commands) == ["old both", "old read", "old write"]
    assert commands["old read"].call(Derived(), {}).stdout == "again"
    assert decorated_commands(Older)["old read"].call(Older(), {}).stdout == "read"


def test_the_function_stays_what_it_was():
    """Decorating changes nothing about calling it, even twice over."""

    class Twice:
        def method(self, a: int) -> HandleCommandResult:
            return HandleCommandResult(stdout=str(a))

        plain = method
        assert CLICommand("one")(method) is method
        assert CLICommand("two")(method) is method

    assert Twice.method is Twice.plain
    assert Twice().method(3).stdout == "3"
    assert prefixes(Twice) == ["one", "two"]


def test_a_plain_function_belongs_to_the_package_that_defines_it():
    """So a module may keep its commands in files of their own, with ``mgr`` for ``self``."""
    package = types.ModuleType("plainpkg")
    package.__path__ = []
    commands = types.ModuleType("plainpkg.commands")
    other = types.ModuleType("otherpkg")
    source = (
        "from mgr.module_api.command import CLICommand\n"
        "from mgr.module_api.result import HandleCommandResult\n"
        "@CLICommand('{0} top')\n"
        "def top(mgr) -> HandleCommandResult: return HandleCommandResult(stdout=str(mgr))\n"
        "def factory():\n"
        "    @CLICommand('{0} nested')\n"
        "    def nested(_) -> HandleCommandResult: return HandleCommandResult()\n"
        "factory()\n"
    )
    for module, prefix in ((commands, "plain"), (other, "other")):
        sys.modules[module.__name__] = module
        exec(source.format(prefix), vars(module))
    sys.modules["plainpkg"] = package
    cls = type("Module", (), {"__module__": "plainpkg"})
    try:
        found = decorated_commands(cls)

        assert sorted(found) == ["plain nested", "plain top"]
        assert found["plain top"].call("me", {}).stdout == "me"
    finally:
        for name in ("plainpkg", "plainpkg.commands", "otherpkg"):
            del sys.modules[name]


def test_registering_extends_the_table_in_place_and_once():
    """The host may ask twice: after a reload, for instance."""
    table = [{"cmd": "a", "desc": "", "perm": "r"}]
    cls = type("Module", (), {"COMMANDS": table, "read": Older.read})

    register_commands(cls)
    register_commands(cls)

    assert cls.COMMANDS is table
    assert [entry["cmd"] for entry in table] == ["a", "old read "]
    assert [each.signature_text for each in collect_commands(cls)] == ["a", "old read "]


def test_registering_does_not_touch_a_base_classs_table():
    """Two modules that share a base must not share commands."""
    base = type("Base", (), {"COMMANDS": []})
    one = type("One", (base,), {"read": Older.read})

    register_commands(one)

    assert base.COMMANDS == []
    assert [entry["cmd"] for entry in one.COMMANDS] == ["old read "]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("nonsense", "Missing or invalid COMMANDS attribute"),
        (["nonsense"], "Missing or invalid COMMANDS attribute"),
        ([{"cmd": "x", "perm": "r"}], "lacks desc"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(table, words):
    """The original ends its process; here the module does not load."""
    with pytest.raises(ValueError, match=words):
        collect_commands(type("Module", (), {"COMMANDS": table}))


def test_a_command_can_be_made_without_being_registered():
    """As ceph-mgr's orchestrator does: metadata from one function, handled by another."""
    command = CLICommand("quiet", "r")

    command.store_func_metadata(Older.both)
    command.func = lambda _mgr, a: HandleCommandResult(stdout=f"handled {a}")

    assert command.dump_cmd() == {
        "cmd": "quiet name=a,type=CephString",
        "desc": "Change and tell.",
        "perm": "r",
        "poll": False,
    }
    assert command.call(None, {"prefix": "quiet", "a": "x"}).stdout == "handled x"
    assert "quiet" not in prefixes(Older)


def test_input_reaches_who_takes_it_and_is_refused_elsewhere():
    """Empty input is no input."""
    commands = decorated_commands(Older)

    assert commands["old write"].call(Older(), {}, "text").stdout == "text"
    assert commands["old write"].call(Older(), {}, "").stdout == ""
    assert commands["old read"].call(Older(), {}, "text") == (
        -errno.EINVAL,
        "",
        "Invalid command: Input file data (-i) not supported",
    )


NO_FILE = (
    'Input file not specified: Please specify the file containing a list of names with "-i" option'
)


class Picky:
    """Wants a file."""

    @CLICommand("pick")
    @CLICheckNonemptyFileInput("a list of names")
    @Responder()
    def pick(self, first: str, inbuf: str) -> dict:
        """Pick one."""
        return {first: inbuf}


@pytest.mark.parametrize(
    ("inbuf", "answer"),
    [
        ("a\nb\r\n\n", (0, '{\n  "x": "a\\nb"\n}', "")),
        (
            None,
            (
                -errno.EINVAL,
                "",
                NO_FILE,
            ),
        ),
        (
            " \n",
            (-errno.EINVAL, "", "Empty input file: Please add a list of names to the file"),
        ),
    ],
)
def test_a_file_that_must_be_there_is_asked_for(inbuf, answer):
    """The words are Ceph's; the line ends that an editor adds are taken off."""
    (command,) = decorated_commands(Picky).values()

    assert command.call(Picky(), {"prefix": "pick", "first": "x"}, inbuf) == answer


@pytest.mark.parametrize("inbuf", [None, "", "\n", b"", b" \n"])
def test_a_checked_handler_that_is_called_directly_with_nothing_finds_the_file_empty(inbuf):
    """As a module's own test calls it; without ``inbuf`` there is no file."""
    empty = (-errno.EINVAL, "", "Empty input file: Please add a list of names to the file")

    assert Picky().pick(first="x", inbuf=inbuf) == empty
    assert Picky().pick(first="x") == (-errno.EINVAL, "", NO_FILE)


def test_a_checked_command_is_described_by_the_function_below():
    """The decorator hides nothing."""
    (declaration,) = collect_commands(Picky)

    assert declaration.desc == "Pick one."
    assert declaration.signature_text == (
        "pick name=first,type=CephString name=format,req=false,positional=false,type=CephString"
    )


def test_a_handler_that_cannot_be_a_command_is_refused_with_its_name_and_line():
    """Its author finds the line; nothing in the message is about the manager."""

    def odd(self, v): ...

    line = odd.__code__.co_firstlineno
    with pytest.raises(ValueError, match="parameter 'v' has no type") as refused:
        CLICommand("odd one")(odd)

    assert str(refused.value).startswith(f"command 'odd one' ({__file__}:{line}): ")


def test_code_that_calls_commands_itself_gets_their_arguments():
    """The newest dashboard does: arguments, and the names that are none."""
    command = decorated_commands(Older)["old write"]
    both = decorated_commands(Older)["old both"]

    assert command._collect_args_by_argspec({"prefix": "old write"}) == ({}, {"self", "inbuf"})
    assert both._collect_args_by_argspec({"a": 1, "x": 2})[0] == {"a": "1"}
