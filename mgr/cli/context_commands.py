"""``mgrctl context``: list, choose, add and remove the clusters that mgrctl knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from mgr.cli import contexts
from mgr.cli.config import TLS_FILES, read_toml, relative_to
from mgr.cli.local import Front
from mgr.errors import InvalidArgumentError

HEADINGS: Final = ("", "NAME", "MANAGERS", "CERTIFICATES")


@click.group()
def command() -> None:
    """List, choose, add and remove the clusters that mgrctl knows.

    They are stored in mgr/contexts.toml, in $XDG_CONFIG_HOME or ~/.config.
    --context NAME, or MGR_CONTEXT, chooses one for a single call.
    """


@command.command("ls")
@click.pass_obj
def list_contexts(front: Front) -> int:
    """List the contexts; * marks the current one."""
    found = contexts.load(os.environ)
    document = [
        {"name": name, "current": name == found.current, **_shown(config)}
        for name, config in sorted(found.contexts.items())
    ]
    rows = [
        (
            "*" if name == found.current else "",
            name,
            ",".join(config.hosts),
            config.tls_cert or config.token_file or config.tls_ca or "-",
        )
        for name, config in sorted(found.contexts.items())
    ]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [HEADINGS, *rows]
    ]
    front.show(document, "\n".join(lines))
    return 0


@command.command()
@click.argument("name")
def use(name: str) -> int:
    """Make NAME the context of every call that names no managers; - is none."""
    contexts.use(os.environ, "" if name == "-" else name)
    return 0


@command.command()
@click.argument("name")
@click.option("-m", "--mgr", "hosts", metavar="HOST:PORT,...", help="Its managers.")
@click.option("--tls-ca", metavar="FILE", help="CA that signed the managers' certificates.")
@click.option("--tls-cert", metavar="FILE", help="Certificate to show to them.")
@click.option("--tls-key", metavar="FILE", help="Its private key.")
@click.option("--token-file", metavar="FILE", help="Token to show instead of a certificate.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Take the values of this config.toml, such as the one that 'mgrd init' wrote.",
)
@click.option("--use", "current", is_flag=True, help="Make it the current one.")
@click.pass_obj
def add(
    front: Front, /, name: str, config: Path | None, *, current: bool, **given: str | None
) -> int:
    """Add the context NAME, or replace it.

    What is not given here is taken from the flags before the words: mgrctl -m a:7400 context add x.
    """
    values: dict[str, Any] = {}
    if config is not None:
        found = read_toml(config)
        if found is None:
            raise InvalidArgumentError(f"there is no {config}")
        relative_to(config.absolute().parent, found)
        values |= found
    hosts = given.pop("hosts") or front.options.get("hosts")
    values |= {"hosts": hosts.split(",")} if hosts else {}
    for file in TLS_FILES:
        if text := given[file] or front.options.get(file):
            values[file] = str(Path(text).absolute())
    if not values.get("hosts"):
        raise InvalidArgumentError(f"name the managers: mgrctl context add {name} -m HOST:PORT")
    _check(values)
    if contexts.add(os.environ, name, values, use=current):
        front.remark(f"'{name}' is the current context")
    return 0


@command.command()
@click.argument("name")
def rm(name: str) -> int:
    """Remove the context NAME. Its certificates stay where they are."""
    contexts.remove(os.environ, name)
    return 0


def _check(values: Mapping[str, Any]) -> None:
    from mgr.cli.config import FileConfig, tls  # noqa: PLC0415 - as the next
    from mgr.client.peers import addresses_in  # noqa: PLC0415 - it imports gRPC

    try:
        config = msgspec.convert(values, FileConfig)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(str(error)) from None
    # What cannot be used is refused here, not at the next call.
    addresses_in(config.hosts)
    tls({}, {}, config)


def _shown(config: Any) -> dict[str, Any]:
    return {"hosts": list(config.hosts), **{name: getattr(config, name) for name in TLS_FILES}}
