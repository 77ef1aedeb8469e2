"""Roles: named sets of capabilities, so that nobody has to write grants by hand."""

from __future__ import annotations

import re
from typing import Final

from mgr.access.caps import Caps
from mgr.errors import InvalidArgumentError

ROLE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")

BUILTIN_ROLES: Final = {
    "viewer": "allow r",
    "operator": "allow rw",
    "admin": "allow *",
}
"""The roles that every cluster has. They cannot be changed."""


def valid_role_name(name: str) -> str:
    """Return ``name`` if a role that operators make may have it.

    Raises:
        InvalidArgumentError: It may not.

    """
    if name in BUILTIN_ROLES:
        raise InvalidArgumentError(
            f"role '{name}' is built in and stays as it is: make one of your own"
        )
    if not ROLE_NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"role {name[:100]!r}: use 1 to 63 of a-z 0-9 _ - and begin with a letter"
        )
    return name


def role_caps(text: str) -> Caps:
    """Parse the capabilities of a role.

    Raises:
        InvalidArgumentError: They are malformed, or name another role.

    """
    caps = Caps.parse(text)
    if any(grant.role for grant in caps.grants):
        raise InvalidArgumentError("a role cannot contain another role: write its capabilities")
    return caps
