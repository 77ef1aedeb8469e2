"""``mgrctl module ...``: the commands for authors of modules. They need no cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mgr.errors import InvalidArgumentError

GRADES: Final = ("bronze", "silver", "gold", "platinum")
GRADE_MISSED: Final = 1
"""Exit status if a module has not the grade that was asked for."""


def run(words: Sequence[str], options: Mapping[str, Any]) -> int:
    """Run ``mgrctl module WORDS``; ``options`` are those that mgrctl takes anywhere.

    Raises:
        MgrError: It failed; the text names the thing and the next step.
        click.UsageError: The words are wrong.

    """
    arguments = [*words, *(["--help"] if options.get("help") else [])]
    status = group.main(
        arguments or ["--help"],
        prog_name="mgrctl module",
        standalone_mode=False,
        obj=options,
    )
    return status if isinstance(status, int) else 0


@click.group(
    help="For authors of modules: these commands need no cluster.",
    epilog="Commands of the manager, on modules that it runs: mgrctl module top, mgrctl module env "
    "ls, mgrctl module env sync NAME. All others: mgrctl help mgr module",
)
def group() -> None:
    """Hold the commands."""


@group.command(
    short_help="Write a new module with a test.",
    help="Write the folder NAME with a new module, its manifest, its page and a test that passes.",
)
@click.argument("name")
@click.option(
    "--in", "parent", type=click.Path(path_type=Path), default=".", help="Folder to write it into."
)
def new(name: str, parent: Path) -> int:
    """Write a new module."""
    from mgr.authoring.package import SUFFIX  # noqa: PLC0415 - each command its own
    from mgr.authoring.scaffold import create_module  # noqa: PLC0415 - as above

    folder = create_module(name, parent)
    _print(
        f"{folder} is written. Next:\n"
        f"  pytest {folder}\n"
        f"  mgrctl module dev {folder}\n"
        f"  mgrctl module package {folder}\n"
        f"  mgrctl mgr module install {name}{SUFFIX}\n"
        f"  mgrctl mgr module enable {name}"
    )
    return 0


@group.command(
    short_help="Run a module with a prompt, reload it on save.",
    help="Run the module in folder PATH with stores in memory. Type its commands at the prompt; it "
    "is reloaded when a file is saved. breakpoint() in a command opens the debugger.",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--pdb", "post_mortem", is_flag=True, help="Open the debugger where a command raised."
)
def dev(path: Path, *, post_mortem: bool) -> int:
    """Run a module."""
    from mgr.authoring import dev as session  # noqa: PLC0415 - as above
    from mgr.authoring.source import ModuleSource  # noqa: PLC0415 - as above

    session.run(ModuleSource.at(path), post_mortem=post_mortem)
    return 0


@group.command(
    short_help="Grade a module by rules.",
    help="Try the rules for modules on the one in folder PATH, and print for each that is broken "
    "why, and what to do. Its code and its tests run. Exit status 1: below the wanted grade.",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--at-least", type=click.Choice(GRADES), default="bronze", show_default=True, help="The grade."
)
@click.pass_obj
def check(options: Mapping[str, Any], path: Path, at_least: str) -> int:
    """Grade a module."""
    from mgr.authoring.check import check_module  # noqa: PLC0415 - as above
    from mgr.authoring.rules import Grade  # noqa: PLC0415 - as above
    from mgr.authoring.source import ModuleSource  # noqa: PLC0415 - as above

    report = check_module(ModuleSource.at(path))
    if str(options.get("format") or "").startswith("json"):
        indent = 4 if options["format"] == "json-pretty" else None
        _print(json.dumps(report.as_document(), indent=indent))
    else:
        _print(report.as_text())
    return 0 if report.grade >= Grade[at_least.upper()] else GRADE_MISSED


@group.command(
    short_help="Pack a module into one file.",
    help="Pack the module in folder PATH into one file (-o FILE; default: NAME.mgrmodule) and "
    "print its SHA-256. The same files make the same file.",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_obj
def package(options: Mapping[str, Any], path: Path) -> int:
    """Pack a module."""
    from mgr.authoring import package as packages  # noqa: PLC0415 - as above
    from mgr.authoring.source import ModuleSource  # noqa: PLC0415 - as above
    from mgr.host.module_archive import sha256_of  # noqa: PLC0415 - as above

    source = ModuleSource.at(path)
    data = packages.pack(source)
    target = Path(options.get("out_file") or f"{source.name}{packages.SUFFIX}")
    try:
        target.write_bytes(data)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write {target}: {error.strerror}") from None
    _print(f"sha256:{sha256_of(data)}  {target}")
    return 0


@group.command(
    short_help="Check and unpack such a file.",
    help="Check the package FILE and write the module's folder, for a folder of module_path.",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--in", "parent", type=click.Path(path_type=Path), default=".", help="Folder to write it into."
)
@click.option("--sha256", "digest", default="", metavar="DIGEST", help="Refuse any other file.")
def unpack(file: Path, parent: Path, digest: str) -> int:
    """Unpack a module."""
    from mgr.authoring import package as packages  # noqa: PLC0415 - as above
    from mgr.host.module_archive import read  # noqa: PLC0415 - as above

    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {file}: {error.strerror}") from None
    _print(str(packages.unpack(read(data, digest=digest), parent)))
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text.rstrip()}\n")
