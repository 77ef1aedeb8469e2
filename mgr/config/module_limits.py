"""Limits of single modules: the options, and what takes effect for one module.

Each option is a text of words, ``VALUE`` for all modules and ``MODULE=VALUE`` for one of them. 0
is no limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from mgr.config.module_words import parse_words, readable_words
from mgr.config.option_types import OPTION_TYPES, refuse
from mgr.config.schema import OptionSpec
from mgr.store.keys import NAME

MEMORY_MAX: Final = "mgr_module_memory_max"
OPEN_FILES_MAX: Final = "mgr_module_open_files_max"
PROCESSES_MAX: Final = "mgr_module_processes_max"
CPU_WEIGHT: Final = "mgr_module_cpu_weight"
COMMAND_WARN: Final = "mgr_module_command_warn"
COMMAND_MAX: Final = "mgr_module_command_max"

CPU_WEIGHT_DEFAULT: Final = 100
ALL: Final = ""
"""Stands for every module that is not named, in what is parsed."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of one option.

    Attributes:
        kind: The type of each value, as of an option: ``size``, ``uint``, ``float``.
        low: The lowest value beside 0.
        high: The highest value.
        example: Shown in errors.

    """

    kind: str
    low: float
    high: float
    example: str


_WORDS: Final = {
    MEMORY_MAX: _Words("size", 32 << 20, 1 << 50, "512M"),
    OPEN_FILES_MAX: _Words("uint", 32, 1 << 20, "256"),
    PROCESSES_MAX: _Words("uint", 8, 1 << 20, "64"),
    CPU_WEIGHT: _Words("uint", 1, 10_000, "50"),
    COMMAND_WARN: _Words("float", 0.1, 86_400, "10"),
    COMMAND_MAX: _Words("float", 0.1, 86_400, "60"),
}


@dataclass(frozen=True, slots=True)
class ModuleLimits:
    """The limits of one module; 0: none.

    Attributes:
        memory_bytes: Memory of its process and of all that this starts.
        open_files: Open files of its process.
        processes: Processes and threads, its own included.
        cpu_weight: Its share of the processor when that is contended, beside 100 of others.
        command_s: Seconds after which its process is killed because of a command that still runs.

    """

    memory_bytes: int = 0
    open_files: int = 0
    processes: int = 0
    cpu_weight: int = CPU_WEIGHT_DEFAULT
    command_s: float = 0.0


NO_LIMITS: Final = ModuleLimits()


def limits_of(module: str, option: Callable[[str], object]) -> ModuleLimits:
    """Return the limits of ``module``; ``option`` reads one of the manager's options."""

    def value(name: str) -> float:
        return limit_of(module, name, option)

    return ModuleLimits(
        memory_bytes=int(value(MEMORY_MAX)),
        open_files=int(value(OPEN_FILES_MAX)),
        processes=int(value(PROCESSES_MAX)),
        cpu_weight=int(value(CPU_WEIGHT)) or CPU_WEIGHT_DEFAULT,
        command_s=value(COMMAND_MAX),
    )


def limit_of(module: str, name: str, option: Callable[[str], object]) -> float:
    """Return the value of the option ``name`` for ``module``; 0 if there is none.

    A text that was stored by force may have malformed words; they are skipped.
    """
    text = str(option(name) or "")
    if not text:
        return 0.0
    chosen: dict[str, float] = {}
    for named, value in readable_words(text, partial(_read, name)):
        chosen.setdefault(named, value)
    return chosen.get(module, chosen.get(ALL, 0.0))


def normalised(name: str, text: str) -> str:
    """Return ``text`` in the form in which it is stored: the value for all, then by module.

    Raises:
        InvalidArgumentError: A word is malformed, or a module is named twice.

    """
    words = sorted(parse_words(text, partial(_read, name)).items())
    return " ".join(f"{module}={_text(v)}" if module else _text(v) for module, v in words)


def module_limit_options() -> tuple[OptionSpec, ...]:
    """Return the declarations of the options."""
    return tuple(
        OptionSpec(
            name=name,
            default="",
            desc=desc,
            long_desc=long_desc,
            runtime=True,
            check=partial(normalised, name),
        )
        for name, desc, long_desc in _DESCRIPTIONS
    )


_FORM: Final = "Words: VALUE for all modules, MODULE=VALUE for one; 0: no limit. "
_DESCRIPTIONS: Final = (
    (
        MEMORY_MAX,
        "Most memory of the process of a module and all it starts, as '512M prometheus=2G'",
        _FORM + "Enforced by the kernel (cgroup v2) where this manager has a group of its own, "
        "else by a limit of its address space and by checks once a second. Health: "
        "MGR_MODULE_MEMORY.",
    ),
    (
        OPEN_FILES_MAX,
        "Most open files of the process of a module, as '256 dashboard=4096'",
        _FORM + "Health: MGR_MODULE_OPEN_FILES.",
    ),
    (
        PROCESSES_MAX,
        "Most processes and threads of a module that has a process of its own, as '64 cephadm=512'",
        _FORM + "Enforced by the kernel (cgroup v2) where this manager has a group of its own, "
        "else its process is killed within a second. Health: MGR_MODULE_PROCESSES.",
    ),
    (
        CPU_WEIGHT,
        "Share of the processor of a module with a process of its own, as 'insights=20'",
        (
            "Words: VALUE for all modules, MODULE=VALUE for one, 1 to 10000; the default is 100, "
            "as the manager's own. A weight of cgroup v2 where this manager has a group of its "
            "own, else a nice value."
        ),
    ),
    (
        COMMAND_WARN,
        "Seconds after which health names a command of a module, as 'crash=30'",
        _FORM + "It overrides mgr_command_slow_after for the modules that it names. Health: "
        "MGR_COMMAND_SLOW.",
    ),
    (
        COMMAND_MAX,
        "Seconds after which the process of a module is killed for its command, as '60 crash=0'",
        _FORM + "Only for modules in processes of their own: a thread cannot be ended. Health: "
        "MGR_MODULE_COMMAND_TIME.",
    ),
)


def _read(name: str, word: str) -> tuple[str, float]:
    words = _WORDS[name]
    module, equals, text = word.rpartition("=")
    if equals and not NAME.fullmatch(module):
        raise refuse(f"'{word}' is not MODULE={words.example}")
    value = float(OPTION_TYPES[words.kind].parse(text))
    if value != 0 and not words.low <= value <= words.high:
        raise refuse(f"'{word}': the value is 0 or from {_text(words.low)} to {_text(words.high)}")
    return module, value


def _text(value: float) -> str:
    return f"{value:g}" if value < 1 << 20 or value % 1 else f"{value:.0f}"
