"""Commands with each form of signature that authors write, run as a client would run them."""

import enum
import errno
from typing import List, Optional, Tuple  # noqa: UP035 - forms in use

import pytest

from mgr.module_api.command import CLICommand, CLIReadCommand
from mgr_module import HandleCommandResult, MgrModule

# Modules in use are written in the older forms, so those are what is tested.
# ruff: noqa: UP006, UP045, FBT001


class Colour(enum.Enum):
    RED = "red"
    BLUE = "dark-blue"


class Module(MgrModule):
    """Has one command for each form."""

    @CLIReadCommand("form typed")
    def typed(self: "Module", name: str = "nobody", count: int = 2) -> HandleCommandResult:
        return HandleCommandResult(stdout=f"{name} {count}")

    @CLIReadCommand("form bare")
    def bare(self, name: str, count: int = 7):
        return 0, repr((name, count)), ""

    @CLIReadCommand("form stars")
    def stars(self, name: str, *rest: str, **more: str) -> Tuple[int, str, str]:
        return 0, repr((name, rest, more)), ""

    @CLIReadCommand("form optional")
    def optional(self, name: Optional[str], count: Optional[int] = 3) -> Tuple[int, str, str]:
        return 0, repr((name, count)), ""

    @CLIReadCommand("form pair")
    def pair(self, ends: Tuple[int, int], colour: Colour = Colour.RED) -> Tuple[int, str, str]:
        return 0, repr((ends, colour.value)), ""

    @CLIReadCommand("form flag")
    def flag(self, force: bool, names: List[str], *, depth: int = 1) -> Tuple[int, str, str]:
        return 0, repr((force, names, depth)), ""

    @CLICommand("form file")
    def file(self, inbuf) -> Tuple[int, str, str]:
        return 0, inbuf.upper(), ""


@pytest.fixture
def run(mgr_host):
    mgr_host.load(Module, name="form")
    return mgr_host.run


@pytest.mark.parametrize(
    ("words", "stdout"),
    [
        ("form typed", "nobody 2"),
        ("form typed Ann 3", "Ann 3"),
        ("form bare Ann", "('Ann', 7)"),
        ("form stars Ann", "('Ann', (), {})"),
        ("form optional", "(None, 3)"),
        ("form optional Ann", "('Ann', 3)"),
        ("form pair 1 2 dark-blue", "((1, 2), 'dark-blue')"),
        ("form flag --names a,b", "(False, ['a', 'b'], 1)"),
        ("form flag --force --names a --depth 4", "(True, ['a'], 4)"),
    ],
)
def test_each_form_gets_its_arguments(run, words, stdout):
    """Whether the module, or what is returned, has a type or not."""
    assert run(words) == (0, stdout, "")


@pytest.mark.parametrize("words", ["form bare", "form stars", "form pair 1"])
def test_a_command_does_not_run_without_what_it_requires(run, words):
    """In ceph-mgr the first one runs, with the text ``'None'``."""
    retval, stdout, _ = run(words)

    assert (retval, stdout) == (-errno.EINVAL, "")


def test_what_is_given_by_name_only_is_asked_for(run):
    """Its descriptor calls it optional."""
    assert run("form flag") == (
        -errno.EINVAL,
        "",
        "argument 'names' is required and was not given",
    )


def test_a_value_that_names_an_argument_is_explained(run):
    """It gives that one, as in ceph-mgr, and the one in whose place it stands is missing."""
    assert run("form bare count=3") == (
        -errno.EINVAL,
        "",
        (
            "argument 'name' is required and was not given; "
            "a value name=value gives the argument of that name"
        ),
    )


def test_a_file_reaches_a_parameter_without_type(run):
    """As ceph-mgr's own test_orchestrator writes it; without the file it is asked for."""
    assert run("form file", inbuf="text").stdout == "TEXT"
    assert run("form file") == (
        -errno.EINVAL,
        "",
        "Input file not specified: give the command a file with -i",
    )
