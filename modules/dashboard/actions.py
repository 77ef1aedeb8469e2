"""What the pages' buttons do: each is one command, run with the rights of who pressed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FIELD_LONGEST: Final = 65536


@dataclass(frozen=True, slots=True)
class Action:
    """A command with the fields of a form as its arguments, and what to say when it is done."""

    prefix: str
    fields: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    done: str = "Done"
    before: tuple[str, ...] = ()
    """Words between the prefix and the fields."""

    def words(self, form: Mapping[str, str]) -> list[str]:
        """Return the words of the command.

        Raises:
            ValueError: A field is missing or too long; the text names it.

        """
        words = [*self.prefix.split(), *self.before]
        for name in (*self.fields, *self.optional):
            value = form.get(name, "")
            if len(value) > FIELD_LONGEST:
                raise ValueError(f"{name} is too long")
            if name not in form or (not value and name in self.optional):
                if name in self.optional:
                    continue
                raise ValueError(f"{name} is missing")
            # By name, so that a value that begins with dashes is a value.
            words.append(f"--{name.replace('_', '-')}={value}")
        return words


ACTIONS: Final[Mapping[str, Action]] = {
    "fail": Action("mgr fail", optional=("successor",), done="Leadership is handed over"),
    "mute": Action("health mute", ("code",), ("ttl",), done="Muted"),
    "unmute": Action("health unmute", ("code",), done="Unmuted"),
    "enable": Action("mgr module enable", ("module",), done="Enabled"),
    "disable": Action("mgr module disable", ("module",), done="Disabled"),
    "reload": Action("mgr module reload", ("module",), done="Reloaded"),
    "release": Action("mgr module release", ("module",), done="Released"),
    "set-option": Action("config set", ("who", "name", "value"), done="Stored"),
    "remove-option": Action("config rm", ("who", "name"), done="Back to its default"),
    "reset-options": Action("config reset", ("num",), done="Options are as they were"),
    "remove-daemon": Action("daemon rm", ("name",), done="Forgotten"),
    "remove-map": Action("map rm", ("name",), ("expected_version",), done="Removed"),
    "archive-crash": Action("crash archive", ("id",), done="Archived"),
    "archive-crashes": Action("crash archive-all", done="All are archived"),
    "remove-crash": Action("crash rm", ("id",), done="Removed"),
}
"""Every button, by the last part of the address to which its form is sent."""
