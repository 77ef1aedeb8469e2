"""Registry of commands: finds the command and the arguments for the words of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mgr.access.caps import AccessRequest
from mgr.argument.descriptor import Signature
from mgr.argument.match import closest, match
from mgr.errors import UnknownCommandError
from mgr.module_api.command import CommandDeclaration
from mgr.text import shortened

BUILTIN: Final = "mgr"
"""Module name of the manager's own commands; they win over those of any module."""
CLOSEST_MAX: Final = 5
SHOWN_CHARS_MAX: Final = 200
"""Characters of unknown words that the error repeats."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as declared by its module.

    Attributes:
        signature: Prefix words and arguments.
        help: One line for people.
        perm: Letters of ``r``, ``w``, ``x``. A command with ``w`` may change something; with a
            request id it runs at most once.
        poll: The command is meant to be repeated (``mgrctl --period``).
        module: The module that runs it; ``mgr`` for the manager's own commands.
        idempotent: Running it twice has the effect of running it once, so a retry after a
            failover runs it again.
        hidden: It is left out of help and of "closest commands".
        secret: Its output is a secret, which is sent to its caller and recorded nowhere.
        access: The capability that it needs, with arguments that are not parsed yet.

    """

    signature: Signature
    help: str
    perm: str
    poll: bool = False
    module: str = BUILTIN
    idempotent: bool = False
    hidden: bool = False
    secret: bool = False
    access: AccessRequest = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make what each request would have to make."""
        module = "" if self.module == BUILTIN else self.module
        access = AccessRequest(self.prefix, self.perm, module, None)
        object.__setattr__(self, "access", access)

    @classmethod
    def of_module(cls, module: str, declaration: CommandDeclaration) -> Command:
        """Make the command that ``module`` declares.

        Raises:
            InvalidArgumentError: Its descriptor cannot be read.

        """
        return cls(
            signature=Signature.parse(declaration.signature_text),
            help=declaration.desc,
            perm=declaration.perm,
            poll=declaration.poll,
            module=module,
            idempotent=declaration.idempotent,
            hidden=declaration.hidden,
        )

    @property
    def prefix(self) -> str:
        """The literal words, joined by a blank."""
        return self.signature.prefix

    @property
    def mutates(self) -> bool:
        """Whether the command may change something."""
        return "w" in self.perm


class Registry:
    """All commands of all modules, found by their prefix words.

    The index is rebuilt when commands or the enabled modules change. A search costs one
    dictionary lookup for each word of the longest prefix.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._modules: dict[str, tuple[Command, ...]] = {}
        self._index: dict[str, Command] = {}
        self._by_words: dict[tuple[str, ...], Command] = {}
        self._visible: list[Signature] = []
        self._enabled: frozenset[str] = frozenset()
        self._prefix_words: tuple[set[str], ...] = ()
        self._etag = ""

    @property
    def etag(self) -> str:
        """Tag that changes whenever ``all`` does; equal commands have equal tags everywhere."""
        if not self._etag:
            text = "\n".join(
                f"{each.module}\t{each.perm}\t{each.poll}\t{each.hidden}\t"
                f"{each.signature.to_text()}\t{each.help}"
                for each in self.all()
            )
            self._etag = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
        return self._etag

    def all(self) -> list[Command]:
        """Return every command that can be reached, sorted by prefix."""
        return [self._index[prefix] for prefix in sorted(self._index)]

    def put(self, module: str, commands: Iterable[Command]) -> list[str]:
        """Register the commands of ``module``, replacing its earlier ones.

        A prefix belongs to one module: to the manager itself before all others, then to enabled
        modules before others, then to the first module by name. Returns the prefixes of ``module``
        that belong to another one and so cannot be reached.
        """
        self._modules[module] = tuple(commands)
        self._rebuild()
        return self._hidden_of(module)

    def replace(
        self, commands: Mapping[str, Iterable[Command]], enabled: Iterable[str]
    ) -> dict[str, list[str]]:
        """Register the commands of these modules, and of no others; ``enabled`` are enabled.

        Costs little if nothing changes. Returns, for each module that has any, its prefixes that
        belong to another one.
        """
        modules = {module: tuple(declared) for module, declared in commands.items()}
        is_enabled = frozenset(enabled)
        if (modules, is_enabled) != (self._modules, self._enabled):
            self._modules, self._enabled = modules, is_enabled
            self._rebuild()
        hidden = {module: self._hidden_of(module) for module in modules}
        return {module: prefixes for module, prefixes in hidden.items() if prefixes}

    def set_enabled(self, modules: Iterable[str]) -> None:
        """Set which modules are enabled: their commands hide those of modules that are not."""
        enabled = frozenset(modules)
        if enabled != self._enabled:
            self._enabled = enabled
            self._rebuild()

    def drop(self, module: str) -> None:
        """Remove the commands of ``module``; commands that they hid can be reached again."""
        if self._modules.pop(module, None) is not None:
            self._rebuild()

    def find(
        self, words: Sequence[str], arguments: Mapping[str, Any] | None = None
    ) -> tuple[Command, dict[str, Any]]:
        """Return the command that ``words`` begin with (longest prefix wins) and its arguments.

        The dictionary holds ``prefix`` and every given argument, typed.

        Raises:
            UnknownCommandError: No command has this prefix; the message names the closest ones.
            InvalidArgumentError: An argument is missing, surplus or invalid.

        """
        command = self.lookup(words)
        return command, self.arguments(command, words, arguments or {})

    def lookup(self, words: Sequence[str]) -> Command:
        """Return the command that ``words`` begin with; the longest prefix wins.

        The time does not depend on the number or the length of ``words``.

        Raises:
            UnknownCommandError: No command has this prefix; the message names the closest ones.

        """
        if len(words) <= len(self._prefix_words) and (exact := self._by_words.get(tuple(words))):
            return exact  # words without arguments, as of most reads
        count = 0
        while count < min(len(words), len(self._prefix_words)):
            if words[count] not in self._prefix_words[count]:
                break
            count += 1
        for end in range(count, 0, -1):
            command = self._index.get(" ".join(words[:end]))
            if command is not None:
                return command
        raise UnknownCommandError(self._unknown(words))

    def arguments(
        self, command: Command, words: Sequence[str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return ``prefix`` and every given argument of ``command``, typed.

        Raises:
            InvalidArgumentError: An argument is missing, surplus or invalid.

        """
        signature = command.signature
        if not arguments and not signature.arguments and len(words) == len(signature.words):
            return {"prefix": command.prefix}
        return match(words, arguments, signature)

    def _hidden_of(self, module: str) -> list[str]:
        declared = self._modules[module]
        return sorted(each.prefix for each in declared if self._index[each.prefix] is not each)

    def _unknown(self, words: Sequence[str]) -> str:
        shown = shortened(" ".join(words[:SHOWN_CHARS_MAX]), SHOWN_CHARS_MAX)
        near = closest(words, self._visible)
        if not near:
            return f"no command '{shown}'"
        named = ", ".join(f"'{signature.prefix}'" for signature in near[:CLOSEST_MAX])
        return f"no command '{shown}'; closest: {named}"

    def _rebuild(self) -> None:
        owners = sorted(
            self._modules,
            key=lambda module: (module != BUILTIN, module not in self._enabled, module),
        )
        index: dict[str, Command] = {}
        for module in owners:
            # Within a module the later declaration of a prefix replaces the earlier one.
            index = {each.prefix: each for each in self._modules[module]} | index
        self._index = index
        self._by_words = {each.signature.words: each for each in index.values()}
        places: list[set[str]] = []
        for words in self._by_words:
            places += (set() for _ in range(len(words) - len(places)))
            for place, word in zip(places, words, strict=False):
                place.add(word)
        self._prefix_words = tuple(places)
        self._visible = [each.signature for each in self.all() if not each.hidden]
        self._etag = ""
