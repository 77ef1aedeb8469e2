"""Which modules there are, and what each declares. Nothing here is raised by a bad module.

Three places, first name wins and a second claimant is an error that names both: bundled
(``modules.<name>``), installed distributions (entry-point group ``mgr.modules``), and folders
dropped into ``module_path``, which is *appended* to the import path: siblings may import each
other, and nothing installed is shadowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mgr.config.schema import OptionSpec
from mgr.link import ModuleReport
from mgr.module_api.command import CommandDeclaration
from mgr.module_api.module import MgrModule, MgrStandbyModule


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One module on this host, loaded or not.

    Attributes:
        name: What operators call it.
        file: Where it stands, for messages; where it was looked for, if it cannot be imported.
        active: Its class; None if it did not load, and ``error`` says why.
        standby: Its standby class, if it has one.
        can_run: What its ``can_run()`` says; False if it did not load.
        error: Why it did not load or cannot run; empty otherwise.
        commands: What it can be asked.
        options: Its options by name, those of ``standby`` included.
        notify_types: The notifications it wants.

    """

    name: str
    file: str
    active: type[MgrModule] | None = None
    standby: type[MgrStandbyModule] | None = None
    can_run: bool = False
    error: str = ""
    commands: tuple[CommandDeclaration, ...] = ()
    options: Mapping[str, OptionSpec] = field(default_factory=dict)
    notify_types: frozenset[str] = frozenset()

    @property
    def loaded(self) -> bool:
        """Whether there is a class to construct."""
        return self.active is not None


Catalogue = Mapping[str, Found]
"""Every module of this host by name, in ascending order."""


def find_modules(module_path: Sequence[str]) -> Catalogue:
    """Import every module that can be found. Blocks for as long as that takes; never raises.

    Not for the loop's thread: importing takes seconds where modules import much.
    """
    raise NotImplementedError


def reports(catalogue: Catalogue) -> tuple[ModuleReport, ...]:
    """What other managers must know of these modules."""
    return tuple(
        ModuleReport(name=found.name, can_run=found.can_run, error=found.error)
        for found in catalogue.values()
    )
