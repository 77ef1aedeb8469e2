"""Commands: the decorators that mark methods, and who collects the marks.

A decorator returns the function it was given, with a mark on it. Marks are collected by class
when the host loads a module: no table is shared between modules, so that importing another
module's code never registers its commands a second time, and what is unloaded is forgotten.
A plain function belongs to the package that defines it, as with ``mgr`` or ``_`` for a first
parameter; a method belongs to its class and to those that inherit it.
"""

from __future__ import annotations

import errno
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

from mgr.module_api.annotation import KNOWN_ARGS, derive, keywords
from mgr.module_api.result import HandleCommandResult

HandlerFuncType = Callable[..., tuple[int, str, str]]
F = TypeVar("F", bound=Callable[..., Any])

ERROR_MSG_EMPTY_INPUT_FILE: Final = "Empty input file"
ERROR_MSG_NO_INPUT_FILE: Final = "Input file not specified"

_MARK: Final = "__mgr_commands__"


@dataclass(frozen=True, slots=True)
class CommandDeclaration:
    """One command as its module declares it.

    Attributes:
        signature_text: The descriptor: prefix words, then arguments.
        desc: One line for people.
        perm: Letters of ``r``, ``w``, ``x``.
        poll: It is meant to be repeated.
        idempotent: Running it twice is as good as once (ours, not ceph-mgr's).
        hidden: Left out of help (ours, not ceph-mgr's).

    """

    signature_text: str
    desc: str
    perm: str
    poll: bool = False
    idempotent: bool = False
    hidden: bool = False


class CLICommandBase:
    """A command, and the decorator that makes a method its handler.

    ``X = CLICommandBase.make_registry_subtype("X")`` gives a module decorators of its own:
    ``@X("prefix", perm="rw")``, ``@X.Read("prefix")``, ``@X.Write("prefix")``, and a class
    attribute ``CLICommand = X`` tells the host. Modules of older releases use ``CLICommand``,
    ``CLIReadCommand`` and ``CLIWriteCommand`` of this file instead. Both may live in one process.

    ``idempotent`` and ``hidden`` are ours: a command marked idempotent is run again when a
    request is repeated after its manager died; one not marked is answered "may have run".
    """

    KNOWN_ARGS: ClassVar = KNOWN_ARGS
    COMMANDS: ClassVar[Mapping[str, CLICommandBase]] = MappingProxyType({})
    """By prefix: what a registry's decorators were put on. The process-wide family has none."""

    def __init__(
        self,
        prefix: str,
        perm: str = "rw",
        poll: bool = False,  # noqa: FBT001, FBT002 - positional in code written for ceph-mgr
        *,
        idempotent: bool = False,
        hidden: bool = False,
    ) -> None:
        self.prefix = prefix
        self.perm = perm
        self.poll = poll
        self.idempotent = idempotent
        self.hidden = hidden
        self.func: Callable[..., Any] | None = None
        self.arg_spec: dict[str, Any] = {}
        self.first_default = -1
        self.desc = ""
        self.args = ""

    @classmethod
    def make_registry_subtype(cls, name: str) -> type[CLICommandBase]:
        """A subclass with a table of its own."""
        return type(name, (cls,), {"COMMANDS": {}})

    @classmethod
    def Read(cls, prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
        """A command that changes nothing."""
        return cls(prefix, "r", poll, **marks)

    @classmethod
    def Write(cls, prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
        """A command that is only worth its change."""
        return cls(prefix, "w", poll, **marks)

    def store_func_metadata(self, f: Callable[..., Any]) -> None:
        """Read help and arguments off ``f``, without making it the handler.

        Raises:
            KeyError: A parameter has no annotation.
            ValueError: An annotation is none that a command can take.

        """
        self.desc, self.arg_spec, self.first_default, self.args = self._load_func_metadata(f)

    def __call__(self, func: F) -> F:
        """Make ``func`` the handler and return it as it is.

        Raises:
            KeyError: A parameter has no annotation.
            ValueError: An annotation is none that a command can take.

        """
        return self._register_handler(func)

    def call(
        self, mgr: Any, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """Run the handler for a request; what it returned.

        Raises:
            TypeError: A required number is missing, or the request does not fit the handler.
            ValueError: A value cannot be converted.

        """
        assert self.func is not None, f"command {self.prefix!r} has no handler"  # noqa: S101
        arguments = keywords(self.arg_spec, self.first_default, cmd_dict)
        if inbuf:
            if "inbuf" not in self.arg_spec:
                return HandleCommandResult(
                    -errno.EINVAL, "", "Invalid command: Input file data (-i) not supported"
                )
            arguments["inbuf"] = inbuf
        result: HandleCommandResult = self.func(mgr, **arguments)
        return result

    def dump_cmd(self) -> dict[str, str | bool]:
        """The form of a ``COMMANDS`` entry."""
        dumped: dict[str, str | bool] = {
            "cmd": f"{self.prefix} {self.args}",
            "desc": self.desc,
            "perm": self.perm,
            "poll": self.poll,
        }
        marks = {"idempotent": self.idempotent, "hidden": self.hidden}
        return {**dumped, **{mark: True for mark, is_set in marks.items() if is_set}}

    @classmethod
    def dump_cmd_list(cls) -> list[dict[str, str | bool]]:
        """Every command of this registry, as ``COMMANDS`` entries."""
        return [command.dump_cmd() for command in cls.COMMANDS.values()]

    @classmethod
    def _load_func_metadata(cls, f: Callable[..., Any]) -> tuple[str, dict[str, Any], int, str]:
        return derive(f)

    def _register_handler(self, func: F) -> F:
        self.store_func_metadata(func)
        self.func = func
        if isinstance(self.COMMANDS, dict):
            self.COMMANDS[self.prefix] = self
        elif _is_plain(func):
            register_in_package(self, func)
        # A new tuple each time: a wrapper made by functools.wraps carries its inner one's.
        setattr(func, _MARK, (*getattr(func, _MARK, ()), self))
        return func


class CLICommand(CLICommandBase):
    """The decorator of modules written for Reef and before, shared by all that import it."""


def CLIReadCommand(prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
    """``CLICommand`` for a command that changes nothing."""
    return CLICommand.Read(prefix, poll, **marks)


def CLIWriteCommand(prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
    """``CLICommand`` for a command that is only worth its change."""
    return CLICommand.Write(prefix, poll, **marks)


def CLICheckNonemptyFileInput(desc: str) -> Callable[[F], F]:  # noqa: N802 - Ceph's
    """Refuse a command without ``-i FILE``, or with an empty one. Stands below ``CLICommand``.

    The file's text comes as ``inbuf``, without line ends behind it. ``desc`` says what the file
    should have held.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def check(*args: Any, **kwargs: Any) -> Any:
            text = kwargs.get("inbuf")
            if not text:
                hint = f'Please specify the file containing {desc} with "-i" option'
                return -errno.EINVAL, "", f"{ERROR_MSG_NO_INPUT_FILE}: {hint}"
            if isinstance(text, str):
                kwargs["inbuf"] = text = text.rstrip("\r\n")
            if not text.strip():
                hint = f"Please add {desc} to the file"
                return -errno.EINVAL, "", f"{ERROR_MSG_EMPTY_INPUT_FILE}: {hint}"
            return function(*args, **kwargs)

        check.__signature__ = inspect.signature(function)  # type: ignore[attr-defined] # read by inspect
        return check  # type: ignore[return-value] # same signature, by the line above

    return decorate


def register_in_package(command: CLICommandBase, func: Callable[..., Any]) -> None:
    """Make ``command`` one of the package that ``func`` stands in, whatever class it is in."""
    if func.__module__ in sys.modules:
        vars(sys.modules[func.__module__]).setdefault(_MARK, {})[command.prefix] = command


def decorated_commands(cls: type) -> dict[str, CLICommandBase]:
    """The commands that decorators gave ``cls``, by prefix: what it answers itself."""
    found: dict[str, CLICommandBase] = {}
    for module in _modules_of(cls):
        found.update(vars(module).get(_MARK, {}))
    for family in reversed(cls.__mro__):
        for value in list(vars(family).values()):
            found.update((command.prefix, command) for command in getattr(value, _MARK, ()))
    registry = getattr(cls, "CLICommand", None)
    if isinstance(registry, type) and issubclass(registry, CLICommandBase):
        found.update(registry.COMMANDS)
    return found


def collect_commands(cls: type) -> list[CommandDeclaration]:
    """Every command that ``cls`` declares: its ``COMMANDS`` first, then the decorated ones.

    The same whether or not ``_register_commands`` has already put the latter into the former.

    Raises:
        ValueError: ``COMMANDS`` is no list of dictionaries, or one lacks ``cmd``, ``desc`` or
            ``perm``.

    """
    listed = getattr(cls, "COMMANDS", [])
    if not isinstance(listed, (list, tuple)) or not all(isinstance(each, dict) for each in listed):
        raise ValueError("Missing or invalid COMMANDS attribute")
    dumped = [command.dump_cmd() for command in decorated_commands(cls).values()]
    declared = [_declaration(each) for each in [*listed, *dumped]]
    return list({each.signature_text: each for each in declared}.values())


def register_commands(cls: type) -> None:
    """Put the decorated commands into ``cls.COMMANDS``, in place; once, however often asked."""
    if "COMMANDS" not in vars(cls):
        # Never into a list that a base class shares with other modules.
        setattr(cls, "COMMANDS", list(getattr(cls, "COMMANDS", ())))  # noqa: B010 - no such type
    listed = vars(cls)["COMMANDS"]
    listed.extend(
        dumped
        for dumped in (command.dump_cmd() for command in decorated_commands(cls).values())
        if dumped not in listed
    )


def _declaration(entry: Mapping[str, Any]) -> CommandDeclaration:
    missing = [key for key in ("cmd", "desc", "perm") if key not in entry]
    if missing:
        raise ValueError(f"COMMANDS entry {dict(entry)!r} lacks {', '.join(missing)}")
    return CommandDeclaration(
        signature_text=str(entry["cmd"]),
        desc=str(entry["desc"]),
        perm=str(entry["perm"]),
        poll=_is_true(entry.get("poll")),
        idempotent=bool(entry.get("idempotent")),
        hidden=bool(entry.get("hidden")),
    )


def _is_true(value: Any) -> bool:
    # Old tables say "true" and "false".
    return bool(value) and value not in ("false", "False")


def _is_plain(function: Callable[..., Any]) -> bool:
    """Whether ``function`` stands in no class: its package owns it then."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    return not outer or outer.endswith("<locals>")


def _modules_of(cls: type) -> Iterator[Any]:
    """The imported Python modules of the package that ``cls`` stands in."""
    own = sys.modules.get(cls.__module__)
    package = cls.__module__
    if not hasattr(own, "__path__"):
        package = package.rpartition(".")[0] or package
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            yield module
