"""Decorators that declare commands, and the functions that collect the declarations.

A decorator returns the same function with a mark on it. When the host loads a module, it collects
the marks of that module's class. So importing another module's code does not register its commands
again, and unloading a module removes its commands. A method belongs to its class and subclasses; a
plain function (its first parameter often is ``mgr`` or ``_``) to the package that defines it.
"""

from __future__ import annotations

import errno
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar
from weakref import WeakValueDictionary

from mgr.argument.types import ArgumentMissing
from mgr.module_api.annotation import (
    KNOWN_ARGS,
    SignatureError,
    check_callable,
    derive,
    keywords,
    needs_input,
)
from mgr.module_api.result import HandleCommandResult

HandlerFuncType = Callable[..., tuple[int, str, str]]
F = TypeVar("F", bound=Callable[..., Any])

ERROR_MSG_EMPTY_INPUT_FILE: Final = "Empty input file"
ERROR_MSG_NO_INPUT_FILE: Final = "Input file not specified"

MARK: Final = "__mgr_commands__"
"""Attribute of a function: the commands whose handler it is."""
_marked: Final[dict[str, None]] = {}
"""The names of the Python modules that have commands in ``MARK``, in the order of the first ones.
Without it, they would be looked for in all that is imported: in a module's process, two megabytes
of pages shared with the other processes would be written to, for their reference counts."""


@dataclass(frozen=True, slots=True)
class CommandDeclaration:
    """One command as its module declares it.

    Attributes:
        signature_text: The descriptor: prefix words, then arguments.
        desc: Description on one line, for help.
        perm: Letters of ``r``, ``w``, ``x``.
        poll: Clients may repeat it at an interval.
        idempotent: Running it twice has the same effect as once (ours, not ceph-mgr's).
        hidden: It is left out of help (ours, not ceph-mgr's).

    """

    signature_text: str
    desc: str
    perm: str
    poll: bool = False
    idempotent: bool = False
    hidden: bool = False


class CLICommandBase:
    """A command, and the decorator that makes a method its handler.

    ``X = CLICommandBase.make_registry_subtype("X")`` gives a module its own decorators:
    ``@X("prefix", perm="rw")``, ``@X.Read("prefix")``, ``@X.Write("prefix")``. The host finds them
    by the class attribute ``CLICommand = X``. Modules of older releases use ``CLICommand``,
    ``CLIReadCommand`` and ``CLIWriteCommand`` of this file. Both kinds may run in one process.

    ``idempotent`` and ``hidden`` are ours. A command marked idempotent is run again if a client
    repeats the request after its manager died. Otherwise the answer is that it may have run.
    """

    KNOWN_ARGS: ClassVar = KNOWN_ARGS
    COMMANDS: ClassVar[Mapping[str, CLICommandBase]] = MappingProxyType({})
    """The commands of this registry by prefix."""

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
        """Make a subclass with its own table of commands."""
        return type(name, (cls,), {"COMMANDS": {}})

    @classmethod
    def Read(cls, prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
        """Declare a command that changes nothing."""
        return cls(prefix, "r", poll, **marks)

    @classmethod
    def Write(cls, prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
        """Declare a command that changes something and returns no data."""
        return cls(prefix, "w", poll, **marks)

    def store_func_metadata(self, f: Callable[..., Any]) -> None:
        """Read help and arguments from ``f``, without making it the handler.

        Raises:
            SignatureError: A parameter cannot be an argument of a command; the message names it.

        """
        self.desc, self.arg_spec, self.first_default, self.args = self._load_func_metadata(f)

    def __call__(self, func: F) -> F:
        """Make ``func`` the handler and return it unchanged.

        Raises:
            SignatureError: It cannot be called as a command; the message names the command, the
                parameter, and the line where the function begins.

        """
        return self._register_handler(func)

    def call(
        self, mgr: Any, cmd_dict: Mapping[str, Any], inbuf: str | None = None
    ) -> HandleCommandResult:
        """Run the handler for a request and return its result; -EINVAL if an argument is missing.

        Raises:
            TypeError: The request does not fit the handler.
            ValueError: A value cannot be converted.

        """
        assert self.func is not None, f"command {self.prefix!r} has no handler"  # noqa: S101
        try:
            arguments, special = self._collect_args_by_argspec(cmd_dict)
        except ArgumentMissing as error:
            return HandleCommandResult(-errno.EINVAL, "", str(error))
        if inbuf:
            if "inbuf" not in special:
                return HandleCommandResult(
                    -errno.EINVAL, "", "Invalid command: Input file data (-i) not supported"
                )
            arguments["inbuf"] = inbuf
        elif "inbuf" in special and needs_input(self.func):
            hint = "give the command a file with -i"
            return HandleCommandResult(-errno.EINVAL, "", f"{ERROR_MSG_NO_INPUT_FILE}: {hint}")
        result: HandleCommandResult = self.func(mgr, **arguments)
        return result

    def _collect_args_by_argspec(
        self, cmd_dict: Mapping[str, Any]
    ) -> tuple[dict[str, Any], set[str]]:
        """Return the handler's keyword arguments, and its parameters that are no arguments.

        Modules written for ceph-mgr call this in their own ``call``.
        """
        special = KNOWN_ARGS.intersection(self.arg_spec)
        return keywords(self.arg_spec, self.first_default, cmd_dict), set(special)

    def dump_cmd(self) -> dict[str, str | bool]:
        """Return the command as an entry of ``COMMANDS``."""
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
        """Return every command of this registry as ``COMMANDS`` entries."""
        return [command.dump_cmd() for command in cls.COMMANDS.values()]

    @classmethod
    def _load_func_metadata(cls, f: Callable[..., Any]) -> tuple[str, dict[str, Any], int, str]:
        return derive(f)

    def _register_handler(self, func: F) -> F:
        try:
            self.store_func_metadata(func)
            check_callable(func)
        except SignatureError as error:
            raise SignatureError(f"command {self.prefix!r}{_place(func)}: {error}") from None
        self.func = func
        if isinstance(self.COMMANDS, MutableMapping):
            self.COMMANDS[self.prefix] = self
        # A table of the module's own shows whose command a plain function is.
        if not isinstance(self.COMMANDS, dict) and _is_plain(func):
            register_in_package(self, func)
        # A new tuple each time: functools.wraps copies the inner function's mark to the wrapper.
        setattr(func, MARK, (*getattr(func, MARK, ()), self))
        return func


class CLICommand(CLICommandBase):
    """The decorator for modules written for Reef and before, shared by all modules."""

    COMMANDS: ClassVar[MutableMapping[str, CLICommandBase]] = WeakValueDictionary()
    """The commands of all modules by prefix, for code that looks them up. Which of them a module
    has is read from its class. A command leaves with the code that it belongs to."""


def CLIReadCommand(prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
    """Declare a command that changes nothing, as ``CLICommand``."""
    return CLICommand.Read(prefix, poll, **marks)


def CLIWriteCommand(prefix: str, poll: bool = False, **marks: bool) -> CLICommandBase:  # noqa: N802, FBT001, FBT002 - Ceph's
    """Declare a command that changes something and returns no data, as ``CLICommand``."""
    return CLICommand.Write(prefix, poll, **marks)


def CLICheckNonemptyFileInput(desc: str) -> Callable[[F], F]:  # noqa: N802 - Ceph's
    """Refuse a command without ``-i FILE``, or with an empty file. Write it below ``CLICommand``.

    The handler gets the file's text as ``inbuf``, without line ends at its end. ``desc`` describes
    the expected content in the error.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def check(*args: Any, **kwargs: Any) -> Any:
            text = kwargs.get("inbuf")
            if "inbuf" not in kwargs:
                hint = f'Please specify the file containing {desc} with "-i" option'
                return -errno.EINVAL, "", f"{ERROR_MSG_NO_INPUT_FILE}: {hint}"
            if isinstance(text, str):
                kwargs["inbuf"] = text = text.rstrip("\r\n")
            if not text or not text.strip():
                hint = f"Please add {desc} to the file"
                return -errno.EINVAL, "", f"{ERROR_MSG_EMPTY_INPUT_FILE}: {hint}"
            return function(*args, **kwargs)

        check.__signature__ = inspect.signature(function)  # type: ignore[attr-defined] # read by inspect
        return check  # type: ignore[return-value] # same signature, by the line above

    return decorate


def register_in_package(command: CLICommandBase, func: Callable[..., Any]) -> None:
    """Register ``command`` for the package that defines ``func``, whatever class ``func`` is in."""
    if func.__module__ in sys.modules:
        _marked[func.__module__] = None
        vars(sys.modules[func.__module__]).setdefault(MARK, {})[command.prefix] = command


def decorated_commands(cls: type) -> dict[str, CLICommandBase]:
    """Return the commands of ``cls`` that have a decorated handler, by prefix."""
    found: dict[str, CLICommandBase] = {}
    for module in _modules_of(cls):
        found.update(vars(module).get(MARK, {}))
    for family in reversed(cls.__mro__):
        for value in list(vars(family).values()):
            for command in getattr(value, MARK, ()):
                found[command.prefix] = command
    registry = getattr(cls, "CLICommand", None)
    if (
        isinstance(registry, type)
        and issubclass(registry, CLICommandBase)
        and registry.COMMANDS is not CLICommand.COMMANDS
    ):
        found.update(registry.COMMANDS)
    return found


def collect_commands(cls: type) -> list[CommandDeclaration]:
    """Return every command that ``cls`` declares: its ``COMMANDS``, then the decorated ones.

    Without duplicates, if ``_register_commands`` has already added the decorated ones.

    Raises:
        ValueError: ``COMMANDS`` is not a list of dictionaries, or one lacks ``cmd``, ``desc`` or
            ``perm``.

    """
    listed = getattr(cls, "COMMANDS", [])
    if not isinstance(listed, (list, tuple)) or not all(isinstance(each, dict) for each in listed):
        raise ValueError("Missing or invalid COMMANDS attribute")
    dumped = [command.dump_cmd() for command in decorated_commands(cls).values()]
    declared = [_declaration(each) for each in [*listed, *dumped]]
    return list({each.signature_text: each for each in declared}.values())


def register_commands(cls: type) -> None:
    """Add the decorated commands to ``cls.COMMANDS``, in place. A second call adds nothing."""
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


def _place(function: Callable[..., Any]) -> str:
    """Return where ``function`` begins, for messages; empty if it is not written in Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code else ""


def _is_true(value: Any) -> bool:
    # Old tables contain the texts "true" and "false".
    return bool(value) and value not in ("false", "False")


def _is_plain(function: Callable[..., Any]) -> bool:
    """Return whether ``function`` is defined outside a class: its package owns it then."""
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    return not outer or outer.endswith("<locals>")


def _modules_of(cls: type) -> Iterator[Any]:
    """Yield the Python modules with commands of the package that defines ``cls``."""
    own = sys.modules.get(cls.__module__)
    package = cls.__module__
    if not hasattr(own, "__path__"):
        package = package.rpartition(".")[0] or package
    for name in tuple(_marked):
        within = name == package or name.startswith(f"{package}.")
        if within and (module := sys.modules.get(name)) is not None:
            yield module
