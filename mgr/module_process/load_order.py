"""What a module's process needs to know to import the module as the worker would."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from mgr.host.finder import ModuleLocation
from mgr.host.module_package import IN_MODULE_PATH


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """The log settings of this manager, for its modules' processes."""

    level: str
    form: str
    manager: str

    def of(
        self, location: ModuleLocation, *, fresh: bool = False, alone: bool = True
    ) -> dict[str, Any]:
        """Return the argument of the call ``load`` for the module at ``location``.

        With ``fresh`` compiled files are not used, and the digest of the source files is computed.
        For ``alone`` see ``mgr.host.finder.load``.
        """
        aliases = getattr(sys.modules.get(IN_MODULE_PATH), "__path__", [])
        return {
            "location": asdict(location),
            "sys_path": [str(each) for each in sys.path],
            "aliases": list(aliases),
            "fresh": fresh,
            "alone": alone,
            "log": {
                "level": self.level,
                "form": self.form,
                "manager": self.manager,
                "component": "worker",
                "never_block": True,
            },
        }
