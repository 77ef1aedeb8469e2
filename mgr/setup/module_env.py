"""The command line of ``mgrd module-env``: libraries of modules on this host."""

from __future__ import annotations

import sys

import click

from mgr.config.installed_modules import module_folders
from mgr.errors import InvalidArgumentError
from mgr.host.finder import ModuleLocation, module_locations
from mgr.host.module_environment import Environments, EnvironmentState
from mgr.setting_flags import setting_flags
from mgr.settings import Settings
from mgr.setup.files import CONFIG_FILE, settings_of

CONFIG = click.option(
    "--config", default=CONFIG_FILE, help=f"Settings file.  [default: {CONFIG_FILE}]"
)


@click.group("module-env")
def module_env() -> None:
    """Libraries of modules that have a requirements.txt, on this host.

    They are installed by uv, or else by pip, with the settings that these have here. A manager that
    runs uses them when a module is started next.
    """


@module_env.command("sync")
@click.argument("names", nargs=-1, metavar="[MODULE]...")
@setting_flags
@CONFIG
def sync(*, names: tuple[str, ...], config: str, **flags: str | None) -> None:
    """Install what the modules require; without names, of every module that requires something."""
    settings, _ = settings_of(config, flags)
    environments = Environments.of(settings)
    modules = _modules(settings)
    if unknown := set(names) - modules.keys():
        raise InvalidArgumentError(f"there is no module {min(unknown)!r} in module_path")
    wanted = names or [
        name
        for name, each in modules.items()
        if environments.state(name, each.place) is not EnvironmentState.NONE
    ]
    for name in wanted:
        digest = environments.sync(name, modules[name].place)
        sys.stdout.write(f"{name}: {digest}\n")


@module_env.command("ls")
@setting_flags
@CONFIG
def ls(*, config: str, **flags: str | None) -> None:
    """List the modules that require something, and whether it is installed."""
    settings, _ = settings_of(config, flags)
    environments = Environments.of(settings)
    for name, each in _modules(settings).items():
        state = environments.state(name, each.place)
        if state is not EnvironmentState.NONE:
            sys.stdout.write(f"{name}: {state.value}\n")


def _modules(settings: Settings) -> dict[str, ModuleLocation]:
    found = module_locations(module_folders(settings), settings.bundled_skip)
    return {each.name: each for each in sorted(found, key=lambda each: each.name)}
