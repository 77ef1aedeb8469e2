"""Argument types for things in a Ceph cluster: addresses, daemons, placement groups.

They behave as on Ceph's command line; see ``types.py``.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from mgr.argument import types
from mgr.argument.types import ArgumentFormat, ArgumentValid, CephArgtype

PORT_MAX: Final = 65535
PORT_DIGITS_MAX: Final = 20
ENTITY_TYPES: Final = ("osd", "mon", "client", "mds", "mgr")


class CephIPAddr(CephArgtype):
    """An address, perhaps with a port: ``1.2.3.4:80``, ``[::1]:80``, ``::1``.

    It may begin with ``v1:``, ``v2:`` or ``any:``. Only the first digit of a port behind a bracket
    is checked, as in Ceph.
    """

    label = "IPaddr[:port]"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return ``text`` if it is valid."""
        bare = text
        for scheme in ("v1:", "v2:", "any:"):
            bare = bare.removeprefix(scheme) if text.startswith(scheme) else bare
        if not bare.startswith("[") and "." in bare:
            self._check_v4(bare)
        else:
            self._check_v6(bare)
        return text

    def _check_v4(self, text: str) -> None:
        host, colon, port = text.partition(":")
        if colon and not (port.isdecimal() and len(port) <= PORT_DIGITS_MAX):
            raise ArgumentValid(f"{port}: invalid IPv4 port")
        if colon and int(port) > PORT_MAX:
            raise ArgumentValid(f"{port}: invalid IPv4 port")
        if not _is_address(socket.AF_INET, host):
            raise ArgumentValid(f"{host}: invalid IPv4 address")

    def _check_v6(self, text: str) -> None:
        host = text
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket:
                raise ArgumentFormat(f"{text} missing terminating ]")
            if rest.startswith(":") and not rest[1:2].isdecimal():
                raise ArgumentValid(f"{text}: bad port number")
        if not _is_address(socket.AF_INET6, host):
            raise ArgumentValid(f"{text} not valid IPv6 address")


class CephEntityAddr(CephIPAddr):
    """An address, perhaps with a nonce: ``1.2.3.4:80/17``."""

    label = "EntityAddr"

    def parse(self, text: str, *, partial: bool = False) -> str:
        """Return ``text`` if it is valid."""
        address, slash, nonce = text.partition("/")
        super().parse(address, partial=partial)
        if slash and not nonce.isdecimal():
            raise ArgumentValid(f"{text}: invalid entity, nonce {nonce} not integer > 0")
        return text


class CephPgid(CephArgtype):
    """A placement group: a pool's number, a dot, a hexadecimal number."""

    label = "pgid"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return ``text`` if it is valid."""
        pool, dot, group = text.partition(".")
        if not dot:
            raise ArgumentFormat("pgid has no .")
        if (number := _number(pool)) is None:
            raise ArgumentFormat(f"pool {pool} not integer")
        if number < 0:
            raise ArgumentFormat(f"pool {pool} < 0")
        if _number(group, 16) is None:
            raise ArgumentFormat(f"pgnum {group} not hex integer")
        return text


class CephName(CephArgtype):
    """A daemon or client: ``mds.a``, ``osd.3``, ``osd.*``; ``mgr``, ``mon`` or ``*`` for all."""

    label = "name (type.id)"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Return ``text`` if it is valid."""
        if text in {"*", "mgr", "mon"}:
            return text
        kind, dot, name = text.partition(".")
        if not dot:
            raise ArgumentFormat(f"CephName: no . in {text}")
        if kind not in ENTITY_TYPES:
            raise ArgumentValid(f"unknown type {kind}")
        if kind == "osd" and name != "*" and _number(name) is None:
            raise ArgumentFormat(f"osd id {name} not integer")
        return text


class CephOsdName(CephArgtype):
    """One OSD, ``3`` or ``osd.3``, as a number; or all of them, ``*``."""

    label = "osdname (id|osd.id)"

    def parse(self, text: str, *, partial: bool = False) -> int | str:  # noqa: ARG002 - see the root
        """Return the number, or ``*``."""
        if text == "*":
            return text
        kind, dot, name = text.partition(".")
        if not dot:
            kind, name = "osd", text
        if kind != "osd":
            raise ArgumentValid(f"unknown type {kind}")
        number = _number(name)
        if number is None:
            raise ArgumentFormat(f"osd id {name} not integer")
        if number < 0:
            raise ArgumentFormat(f"osd id {number} is less than 0")
        return number

    def accept(self, value: Any) -> int | str:
        """Return the number of an OSD, given as a number or as text."""
        if type(value) is int:
            return self.parse(str(value))
        accepted: int | str = super().accept(value)
        return accepted


class CephFragment(CephArgtype):
    """A directory fragment, ``0x…/bits``. No text is valid: Ceph parses the hex as decimal."""

    label = "CephFS fragment ID (0xvvv/bbb)"

    def parse(self, text: str, *, partial: bool = False) -> str:  # noqa: ARG002 - see the root
        """Raise: no text is valid."""
        value, slash, _ = text.partition("/")
        if not slash:
            raise ArgumentFormat(f"{text}: no /")
        if not value.startswith("0x"):
            raise ArgumentFormat(f"{value} not a hex integer")
        raise ArgumentFormat(f"can't convert {value} to integer")


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def _number(text: str, base: int = 10) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None


BY_NAME: Final[dict[str, type[CephArgtype]]] = {
    kind.__name__: kind
    for kind in (
        types.CephInt,
        types.CephFloat,
        types.CephString,
        types.CephChoices,
        types.CephBool,
        types.CephPoolname,
        types.CephObjectname,
        types.CephUUID,
        types.CephFilepath,
        types.CephSocketpath,
        types.CephPrefix,
        CephIPAddr,
        CephEntityAddr,
        CephPgid,
        CephName,
        CephOsdName,
        CephFragment,
    )
}
"""Every argument type, by its name in descriptors."""
