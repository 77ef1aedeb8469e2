"""Capabilities: what a client may do, in the syntax of Ceph's ``mgr`` capabilities.

Grants are separated by commas or semicolons. A client may do what any one of them allows::

    allow *                                    everything
    allow r                                    every command that only reads
    allow rw                                   also commands that change something
    allow module=hello rw                      the commands of the module hello
    allow service=mgr r                        the built-in commands (py: those of modules)
    allow command "map set" with name=inventory
    allow role operator                        what the role allows (``mgr.access.roles``)
    profile daemon                             what a daemon needs, under the client's own name
    profile daemon name=host.*                 the same, under any of these names
    profile manager                            what a manager needs that is no signer
    allow rw network 10.1.0.0/16               only from addresses in this network

A command needs every letter of its ``perm``; several grants together may give them. A ``command``
grant gives all letters; its ``with`` compares arguments by ``=``, ``prefix`` or ``regex``. Between
``service``, ``module``, ``command``, ``profile`` or ``role`` and the name stands a blank or ``=``;
``allow`` may stand before ``profile`` and ``role``. Grammar and meaning are those of Ceph's MgrCap,
except that a grant of a module and a profile take no conditions (``with``, ``pool=``). In Ceph a
module must check them itself (``is_authorized``), and most modules do not. An unknown profile is
refused. Roles, and the names of ``profile daemon``, are an addition.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import re2

from mgr.access.identity import Identity
from mgr.errors import InvalidArgumentError

SIGN: Final = "certificate sign"
"""The permission a manager needs to have its certificate renewed by a signer, and, while it leads,
those of others signed. No command of that name exists."""
LETTERS: Final = frozenset("rwx")
ALL: Final = frozenset({"*", "all"})
MANAGER_SERVICE: Final = "mgr"
"""The service of the manager's built-in commands."""
MODULE_SERVICE: Final = "py"
"""The service of the commands of modules; the name is Ceph's."""
JOIN: Final = "daemon join"
"""The permission a daemon needs to open its report stream. No command of that name exists."""
HEALTH: Final = "daemon health"
"""The permission a daemon needs to report a health code. No command of that name exists."""
SECRETS: Final = "rx"
"""The permission to read secrets. ``allow r`` and ``allow rw`` do not give it, as in Ceph."""
CHANGE_ACCESS: Final = "rwx"
"""The permission to change who may do what. More than ``rw``: a client that may change everything
else must not be able to extend its own capabilities."""
OWN: Final = "@own"
"""Stands for the client's own name in ``Grant.daemons``. No daemon's name begins with ``@``."""
AGENT: Final = "host."
"""Names of agents begin with this; ``host.db1`` may report the daemons ``<type>.<id>@db1``."""
AGENT_CODES: Final = ("HOST_", "UNIT_", "PROCESS_")
"""Beginnings of the health codes that an agent reports for the daemons of its host."""
SEPARATORS: Final = frozenset({",", ";"})
TEXT_CHARS_MAX: Final = 8192
"""Limit of the capabilities of one client."""
REGEX_CHARS_MAX: Final = 1000
MATCHED_CHARS_MAX: Final = 4096
"""A longer argument matches no regular expression."""

_RE2_OPTIONS: Final = re2.Options()
_RE2_OPTIONS.log_errors = False
_BRACKETS: Final = re.compile(r"^\[([0-9A-Fa-f:.]+)\](?=/|$)")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One request whose permission is to be checked.

    Attributes:
        command: The prefix of a command, or a name such as ``JOIN`` for what is no command.
        perm: Letters out of ``r``, ``w``, ``x``; all of them are needed.
        module: The module that answers the command; empty for a built-in command.
        arguments: The command's arguments by name; ``with`` conditions compare them. None if they
            are not parsed yet: conditions on them then count as fulfilled.

    """

    command: str
    perm: str
    module: str = ""
    arguments: Mapping[str, Any] | None = field(default_factory=dict)

    @property
    def service(self) -> str:
        """The service that the command belongs to."""
        return MODULE_SERVICE if self.module else MANAGER_SERVICE


@dataclass(frozen=True, slots=True)
class Subject:
    """Who sent a request, as far as grants depend on it: address, and the name that counts."""

    address: str = ""
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on one argument of a command; ``fits`` takes the argument's text."""

    name: str
    fits: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Grant:
    """One ``allow``. An empty text matches everything."""

    letters: frozenset[str] = LETTERS
    service: str = ""
    module: str = ""
    commands: frozenset[str] = frozenset()
    constraints: tuple[Constraint, ...] = ()
    network: Network | None = None
    role: str = ""
    """The name of a role, whose grants stand in place of this one."""
    daemons: str = ""
    """Which daemons the client may be, where ``commands`` has ``JOIN``: a pattern, or ``OWN``."""

    def allowed_letters(self, request: AccessRequest, subject: Subject) -> frozenset[str]:
        """Return the letters that this grant gives to ``subject`` for ``request``."""
        if not self.reaches(subject.address):
            return frozenset()
        matches = (
            self.service in {"", request.service}
            and self.module in {"", request.module}
            and (not self.commands or request.command in self.commands)
            and all(_fits(each, request.arguments) for each in self.constraints)
            and (not self.daemons or _is_daemon(self.daemons, request, subject.identity))
        )
        return self.letters if matches else frozenset()

    def reaches(self, address: str) -> bool:
        """Return whether this grant holds for requests from ``address``."""
        return self.network is None or _in_network(address, self.network)


PROFILES: Final[dict[str, Grant]] = {
    "read-only": Grant(frozenset("r")),
    "read-write": Grant(frozenset("rw")),
    "crash": Grant(commands=frozenset({"crash post"})),
    "daemon": Grant(commands=frozenset({JOIN, HEALTH, "crash post"}), daemons=OWN),
    "manager": Grant(commands=frozenset({SIGN})),
    "rbd": Grant(frozenset("rw"), module="rbd_support"),
    "rbd-read-only": Grant(frozenset("r"), module="rbd_support"),
    # In Ceph, too, these two are known and allow nothing.
    "osd": Grant(frozenset()),
    "mds": Grant(frozenset()),
}


@dataclass(frozen=True, slots=True)
class Caps:
    """The capabilities of one client. Immutable."""

    grants: tuple[Grant, ...] = ()

    @staticmethod
    def parse(text: str) -> Caps:
        """Parse capabilities.

        Raises:
            InvalidArgumentError: ``text`` is malformed; the message names the word.

        """
        return _parse(text)

    def allow(
        self,
        request: AccessRequest,
        subject: Subject = Subject(),
        roles: Callable[[str], Caps] | None = None,
    ) -> bool:
        """Return whether ``subject`` may do what ``request`` describes.

        ``roles`` returns the capabilities of a role; without it, a role allows nothing.
        """
        missing = set(request.perm)
        for grant in self._flat(subject, roles):
            missing -= grant.allowed_letters(request, subject)
            if not missing:
                return True
        return False

    def _flat(self, subject: Subject, roles: Callable[[str], Caps] | None) -> Iterator[Grant]:
        for grant in self.grants:
            if not grant.role:
                yield grant
            elif roles is not None and grant.reaches(subject.address):
                # A role within a role is refused when it is stored, and allows nothing here.
                yield from (each for each in roles(grant.role).grants if not each.role)


def matches_pattern(name: str, pattern: str) -> bool:
    """Return whether ``name`` matches ``pattern``, in which ``*`` stands for any characters."""
    first, *parts = pattern.split("*")
    if not parts:
        return name == pattern
    *middle, last = parts
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def owns_daemon(identity: Identity, kind: str, ident: str) -> bool:
    """Return whether ``<kind>.<ident>`` is the client's own name, or of the host of an agent."""
    return identity.name == f"{kind}.{ident}" or _is_on_host(identity, kind, ident)


def _is_on_host(identity: Identity, kind: str, ident: str) -> bool:
    host = identity.name.removeprefix(AGENT)
    # A host whose id has an ``@`` would get names that belong to another one.
    is_agent = bool(host) and host != identity.name and "@" not in host
    return is_agent and f"{kind}." != AGENT and ident.rpartition("@")[2] == host and "@" in ident


def _is_daemon(pattern: str, request: AccessRequest, identity: Identity | None) -> bool:
    """Return whether the client is the daemon for which ``request`` speaks, if it does for one."""
    if request.command not in {JOIN, HEALTH}:
        return True
    arguments = request.arguments or {}
    kind, ident = str(arguments.get("type", "")), str(arguments.get("id", ""))
    codes: tuple[str, ...] = (f"{kind.upper().replace('-', '_')}_",)
    if pattern == OWN:
        if identity is None or not owns_daemon(identity, kind, ident):
            return False
        codes += AGENT_CODES if _is_on_host(identity, kind, ident) else ()
    elif not matches_pattern(f"{kind}.{ident}", pattern):
        return False
    return request.command == JOIN or str(arguments.get("code", "")).startswith(codes)


def _fits(constraint: Constraint, arguments: Mapping[str, Any] | None) -> bool:
    if arguments is None:
        return True
    value = arguments.get(constraint.name)
    return value is not None and constraint.fits(str(value))


def _in_network(address: str, network: Network) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) in network


@lru_cache(maxsize=1024)
def _parse(text: str) -> Caps:
    words = _Words(text)
    grants = []
    while not words.at_end():
        grants.append(_grant(words))
        if words.at_end():
            break
        if words.take("a comma") not in SEPARATORS:
            raise words.syntax_error("two grants must be separated by a comma")
        if words.at_end():
            raise words.syntax_error("a grant is missing after the last comma")
    return Caps(tuple(grants))


class _Words:
    """The words of one text, consumed one by one."""

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > TEXT_CHARS_MAX:
            raise InvalidArgumentError(f"capabilities of more than {TEXT_CHARS_MAX} characters")
        lexer = shlex.shlex(text, posix=True, punctuation_chars=",;=")
        lexer.whitespace_split = True
        lexer.commenters = ""
        try:
            self._words = list(lexer)
        except ValueError as error:
            raise InvalidArgumentError(f"capabilities {text!r}: {error}") from None
        self._next = 0

    def at_end(self) -> bool:
        return self._next == len(self._words)

    def is_next(self, *words: str) -> bool:
        return not self.at_end() and self._words[self._next] in words

    def take(self, what: str) -> str:
        if self.at_end():
            raise self.syntax_error(f"{what} is missing at the end")
        self._next += 1
        return self._words[self._next - 1]

    def syntax_error(self, why: str) -> InvalidArgumentError:
        last = self._words[self._next - 1] if self._next else ""
        near = f" (near {last!r})" if last else ""
        return InvalidArgumentError(f"capabilities {self._text!r}: {why}{near}")


def _grant(words: _Words) -> Grant:
    kind = words.take("'allow' or 'profile'")
    if kind not in {"allow", "profile", "role"}:
        raise words.syntax_error("a grant begins with 'allow' or 'profile', or 'role'")
    if kind == "profile":
        return _profile_grant(words)
    if kind == "role":
        return _role_grant(words)
    if words.is_next("profile"):
        words.take("profile")
        return _profile_grant(words)
    if words.is_next("role"):
        words.take("role")
        return _role_grant(words)
    if words.is_next("service", "module", "command"):
        return _scoped_grant(words)
    return Grant(_letters(words), network=_network(words))


def _profile_grant(words: _Words) -> Grant:
    name = _name(words, "profile")
    if name not in PROFILES:
        raise words.syntax_error(f"there is no such profile: use {', '.join(PROFILES)}")
    found = PROFILES[name]
    if found.daemons and words.is_next("name"):
        words.take("name")
        found = replace(found, daemons=_pattern(words))
    if not words.at_end() and not words.is_next("network", *SEPARATORS):
        raise words.syntax_error(f"the profile '{name}' takes no conditions")
    return replace(found, network=_network(words))


def _pattern(words: _Words) -> str:
    pattern = _name(words, "daemon")
    if "." not in pattern or pattern.startswith(("@", "*.", "*")):
        raise words.syntax_error("daemons are named <type>.<id>; '*' may stand in the id: host.*")
    return pattern


def _role_grant(words: _Words) -> Grant:
    return Grant(role=_name(words, "role"), network=_network(words))


def _name(words: _Words, kind: str) -> str:
    if words.is_next("="):
        words.take("=")
    name = " ".join(words.take(f"the {kind}'s name").split())
    if not name or name in {"=", *SEPARATORS}:
        raise words.syntax_error(f"the {kind}'s name is empty")
    return name


def _scoped_grant(words: _Words) -> Grant:
    kind = words.take("a kind")
    name = _name(words, kind)
    if kind == "command":
        constraints = tuple(_constraints(words))
        return Grant(commands=frozenset({name}), constraints=constraints, network=_network(words))
    if words.is_next("with"):
        raise words.syntax_error(f"a {kind}'s grant takes no 'with': grant its commands one by one")
    if kind == "module":
        return Grant(_letters(words), module=name, network=_network(words))
    # Any name, as in Ceph: its clients name services that do not exist here, such as osd.
    return Grant(_letters(words), service=name, network=_network(words))


def _letters(words: _Words) -> frozenset[str]:
    given = words.take("letters of r, w, x")
    if given in ALL:
        return LETTERS
    if not set(given) <= LETTERS:
        raise words.syntax_error("use letters of r, w, x, or '*' for all")
    return frozenset(given)


def _constraints(words: _Words) -> Iterator[Constraint]:
    if not words.is_next("with"):
        return
    words.take("with")
    while True:
        yield _constraint(words)
        if words.at_end() or words.is_next("network", *SEPARATORS):
            return


def _constraint(words: _Words) -> Constraint:
    name = words.take("an argument's name")
    how = words.take("'=', 'prefix' or 'regex'")
    value = words.take("a value")
    if how == "=":
        return Constraint(name, value.__eq__)
    if how == "prefix":
        return Constraint(name, lambda text: text.startswith(value))
    if how == "regex":
        return Constraint(name, _matcher(words, value))
    raise words.syntax_error("an argument is compared by '=', 'prefix' or 'regex'")


def _matcher(words: _Words, regex: str) -> Callable[[str], bool]:
    """Return whether the whole of a text matches ``regex``, in a time linear in its length.

    The client chooses the text. Python's own engine takes exponential time for some expressions.
    """
    if len(regex) > REGEX_CHARS_MAX:
        raise words.syntax_error(f"a regular expression of more than {REGEX_CHARS_MAX} characters")
    try:
        pattern = re2.compile(regex, _RE2_OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise words.syntax_error(f"invalid regular expression: {reason}") from None
    return lambda text: len(text) <= MATCHED_CHARS_MAX and pattern.fullmatch(text) is not None


def _network(words: _Words) -> Network | None:
    if not words.is_next("network"):
        return None
    words.take("network")
    text = words.take("a network")
    try:
        # As in Ceph: an address within the network names it, and IPv6 may stand in brackets.
        return ipaddress.ip_network(_BRACKETS.sub(r"\1", text), strict=False)
    except ValueError as error:
        raise words.syntax_error(str(error)) from None
