"""Templates and how values are shown: ages, times, sizes, counts. Everything is escaped."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
NOW_S: Final = 1.5
SINGLE_DIGIT: Final = 10
KIBI: Final = 1024


def render(template: str, /, **values: Any) -> Markup:
    """Return the text of a template."""
    return Markup(environment().get_template(template).render(values))  # noqa: S704 - the environment escapes


@cache
def environment() -> Environment:
    """Return the environment of all templates."""
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=ChainableUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        ago=ago, epoch=epoch, iso=iso, stamp=stamp, bytes=size, millis=millis, count=count,
        number=number, seconds=seconds, span=span, static=static_address, json=pretty,
        option_name=option_name,
    )  # fmt: skip
    return found


def static_files() -> dict[str, tuple[bytes, str]]:
    """Return every static file with its type, under the name that contains its digest."""
    return {
        _named(path): (path.read_bytes(), TYPES[path.suffix])
        for path in STATIC.iterdir()
        if path.suffix in TYPES
    }


@cache
def static_address(name: str) -> str:
    """Return the address of a static file. It changes with the content: browsers keep it."""
    return f"/static/{_named(STATIC / name)}"


def _named(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return f"{path.stem}-{digest}{path.suffix}"


def epoch(at: float | str | None) -> str:
    """Return a moment (seconds since 1970, or ISO 8601) in seconds since 1970; empty if unknown."""
    found = _moment(at)
    return "" if found is None else f"{found.timestamp():.1f}"


def iso(at: float | str | None) -> str:
    """Return a moment in ISO 8601; empty if it is unknown."""
    found = _moment(at)
    return "" if found is None else found.isoformat(timespec="milliseconds")


def stamp(at: float | str | None) -> str:
    """Return a moment for people, to the second."""
    found = _moment(at)
    return "unknown" if found is None else f"{found:%Y-%m-%d %H:%M:%S} UTC"


def ago(at: float | str | None) -> str:
    """Return how long ago a moment was: ``3 min 20 s ago``. The pages' script says the same."""
    found = _moment(at)
    if found is None:
        return "unknown"
    return span(time.time() - found.timestamp(), " ago", "now")  # noqa: TID251 - for people


def span(seconds: float, after: str = "", nothing: str = "0 s") -> str:
    """Return a length of time in its two largest units."""
    if seconds < NOW_S:
        return nothing
    for index, (unit_s, name) in enumerate(UNITS):
        whole, rest = divmod(int(seconds), unit_s)
        if whole:
            lower = UNITS[index + 1] if index + 1 < len(UNITS) else None
            if lower and whole < SINGLE_DIGIT and rest >= lower[0]:
                return f"{whole} {name} {rest // lower[0]} {lower[1]}{after}"
            return f"{whole} {name}{after}"
    return nothing


def size(number_of_bytes: float) -> str:
    """Return a number of bytes with a binary prefix."""
    value, prefixes = float(number_of_bytes), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while abs(value) >= KIBI and len(prefixes) > 1:
        value /= KIBI
        prefixes.pop(0)
    return f"{value:.0f} {prefixes[0]}" if prefixes[0] == "B" else f"{value:.1f} {prefixes[0]}"


def millis(value: float) -> str:
    """Return a number of milliseconds."""
    return f"{value:.1f} ms"


def seconds(value: float) -> str:
    """Return a length of time; to the millisecond if it is short."""
    return f"{value:.3f} s" if value < SINGLE_DIGIT else span(value)


def pretty(value: Any) -> str:
    """Return a document as text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def option_name(full: str) -> str:
    """Return an option of the history, whose name begins with its section, for people."""
    section, _, name = full.partition("/")
    return name if section == "mgr" else f"{name} for {section}"


def count(value: int) -> str:
    """Return a whole number, its thousands set apart by a thin space."""
    return f"{value:,}".replace(",", "\u202f")


def number(value: float) -> str:
    """Return a number with as many digits as people read."""
    if value == int(value) and abs(value) < 1e15:
        return count(int(value))
    return f"{value:.4g}"


def _moment(at: float | str | None) -> datetime | None:
    if not at:
        return None
    if isinstance(at, str):
        try:
            found = datetime.fromisoformat(at)
        except ValueError:
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.fromtimestamp(at, UTC)
