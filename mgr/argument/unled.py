"""The commands that every manager executes while none leads, for servers and clients alike.

They may make it possible again that a manager leads (docs/adr/0044).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MODULE: Final = "name=module,type=CephString"
_FORCE: Final = "name=force,type=CephBool,req=false,positional=false"
_OPTION: Final = "name=who,type=CephString name=name,type=CephString"

UNLED_COMMANDS: Final[Mapping[str, str]] = {
    "mgr set down": "name=down,type=CephChoices,strings=true|false",
    "mgr module enable": f"{_MODULE} {_FORCE}",
    "mgr module disable": _MODULE,
    "mgr module force disable": (
        f"{_MODULE} name=yes_i_really_mean_it,type=CephBool,req=false,positional=false"
    ),
    "mgr module quarantine": _MODULE,
    "mgr module release": _MODULE,
    "config set": f"{_OPTION} name=value,type=CephObjectname {_FORCE}",
    "config rm": _OPTION,
}
"""Their prefixes, and their arguments: those of the active's commands of the same names."""
