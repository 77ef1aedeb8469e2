"""A page of the dashboard: its address, what it takes to see it, and how its content is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .reader import Reader, Sourced


class NotFoundError(Exception):
    """There is no such thing; the text says what and where to look."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page.

    Attributes:
        caller: As ``MgrModule.identify`` returned it.
        permitted: Returns those of some commands that the viewer may run.

    """

    caller: Mapping[str, Any]
    permitted: Callable[[Collection[str]], set[str]]

    @property
    def name(self) -> str:
        """The viewer's name; empty where nobody has to identify themselves."""
        return str(self.caller.get("name") or "")

    def may(self, *prefixes: str) -> bool:
        """Return whether the viewer may run all of these commands."""
        return self.permitted(prefixes) == set(prefixes)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request for a page's content."""

    reader: Reader
    viewer: Viewer
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, default: int = 1) -> int:
        """Return a number of the query, at least 1."""
        text = self.query.get(name, "")
        return max(1, int(text)) if text.isdecimal() and len(text) < 9 else default

    def text(self, name: str, longest: int = 200) -> str:
        """Return a text of the query, cut to ``longest`` characters."""
        return self.query.get(name, "")[:longest].strip()


Content = Callable[[PageRequest], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        name: Name of its template, and of its entry in the navigation.
        path: Its route.
        title: Heading and window title; a template may give a longer one.
        needs: The command that a viewer must be permitted to run to see it.
        content: Returns the template's variables.
        in_navigation: Whether the navigation lists it.
        under: The entry of the navigation that is marked while it is shown.

    """

    name: str
    path: str
    title: str
    needs: str
    content: Content
    in_navigation: bool = True
    under: str = ""

    @property
    def entry(self) -> str:
        """The entry of the navigation that is marked."""
        return self.under or self.name


def sources_of(content: Mapping[str, Any]) -> dict[str, Sourced]:
    """Return the sourced values of a page's content, by name."""
    return {name: value for name, value in content.items() if isinstance(value, Sourced)}
