"""Manual pages, made of the same tables as the programs' own help and the pages of docs/."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import click

from mgr.agent.main import command as agent_command
from mgr.agent.main import join as agent_join
from mgr.cli.command_line import EPILOG, front_command
from mgr.cli.local import LOCAL_COMMANDS
from mgr.command.registry import Command
from mgr.demo.main import main as demo_command
from mgr.mgrd import command as mgrd_command
from mgr.mgrd import recover_admin
from mgr.setup.main import command as setup_group

EXIT_MGRCTL = (
    ("0", "done"),
    ("an errno", "the command ran and failed: 22 for a wrong argument, 2 for what does not exist"),
    ("1, 2", "of 'doctor': warnings; errors. 1 of 'module check': below the grade"),
    ("110", "unknown: the command may have run; check before you repeat it"),
    ("130", "interrupted"),
    ("255", "nothing ran: no manager answered, or none is active"),
)
EXIT_MGRD = (
    ("0", "stopped by SIGTERM or SIGINT, or the subcommand is done"),
    ("2", "the command line cannot be parsed"),
    ("17", "another live manager has the name"),
    ("22", "a setting is wrong"),
    ("70", "a bug; its traceback is in the log"),
    ("98", "a port is taken"),
)
ENVIRONMENT_MGRCTL = (
    ("MGR_HOSTS", "managers to connect to, host:port, separated by commas"),
    ("MGR_CONTEXT", "the context to use (see 'mgrctl context')"),
    ("MGR_TLS_CA, MGR_TLS_CERT, MGR_TLS_KEY", "files with certificates; the first turns TLS on"),
    ("MGR_TOKEN_FILE", "file with a token to show instead of a certificate"),
    ("NO_COLOR", "print no colours"),
)
FILES_MGRCTL = (
    ("~/.config/mgr/config.toml, /etc/mgr/config.toml", "hosts, format, timeout_s, certificates"),
    ("~/.config/mgr/contexts.toml", "the clusters that 'mgrctl context' knows"),
    ("~/.cache/mgr/", "the commands of each cluster, for completion"),
)


def man_pages(own_commands: Callable[[], Sequence[Command]]) -> dict[str, Callable[[], str]]:
    """Every page by its file name; ``own_commands`` returns the commands of a manager."""
    pages: dict[str, Callable[[], str]] = {
        "mgrctl.1": lambda: _mgrctl(own_commands()),
        "mgrd.1": _mgrd,
        "mgr-agent.1": lambda: _page(
            "mgr-agent", agent_command, see=("mgr-agent-join(1)", "mgrd(1)", "mgrctl(1)")
        ),
        "mgr-agent-join.1": lambda: _page("mgr-agent join", agent_join, see=("mgr-agent(1)",)),
        "mgr-demo.1": lambda: _page("mgr-demo", demo_command, see=("mgrd(1)", "mgrctl(1)")),
        "mgrd-recover-admin.1": lambda: _page(
            "mgrd recover-admin", recover_admin, see=("mgrd(1)",)
        ),
    }
    for name, command in setup_group.commands.items():
        pages[f"mgrd-{name}.1"] = lambda name=name, command=command: _page(  # type: ignore[misc]
            f"mgrd {name}", command, see=("mgrd(1)",)
        )
    for each in LOCAL_COMMANDS:
        words = " ".join(each.words)
        pages[f"mgrctl-{'-'.join(each.words)}.1"] = lambda words=words, each=each: _page(  # type: ignore[misc]
            f"mgrctl {words}", each.click_command(), see=("mgrctl(1)",)
        )
    return pages


def _mgrctl(own_commands: Sequence[Command]) -> str:
    local = [(" ".join(each.words), each.summary) for each in LOCAL_COMMANDS]
    local += [
        ("help [WORDS]", "list all commands, or those that begin with WORDS"),
        ("completion bash|zsh|fish", "print the completion script of a shell"),
        ("module ...", "commands for authors of modules, which need no cluster"),
    ]
    remote = [(each.signature.usage(), each.help) for each in own_commands]
    return _page(
        "mgrctl",
        front_command(),
        synopsis="[OPTIONS] WORDS...",
        sections=(
            ("COMMANDS OF MGRCTL", _items(local)),
            ("COMMANDS OF A MANAGER", _items(remote)),
            ("EXIT STATUS", _items(EXIT_MGRCTL)),
            ("ENVIRONMENT", _items(ENVIRONMENT_MGRCTL)),
            ("FILES", _items(FILES_MGRCTL)),
            ("EXAMPLES", _literal(EPILOG.partition("Examples:\n")[2].partition("\b")[0])),
        ),
        see=(*(f"mgrctl-{'-'.join(each.words)}(1)" for each in LOCAL_COMMANDS), "mgrd(1)"),
    )


def _mgrd() -> str:
    below = [*(f"mgrd-{name}(1)" for name in setup_group.commands), "mgrd-recover-admin(1)"]
    return _page(
        "mgrd",
        mgrd_command,
        sections=(("EXIT STATUS", _items(EXIT_MGRD)),),
        see=(*below, "mgrctl(1)"),
    )


def _page(
    name: str,
    command: click.Command,
    *,
    synopsis: str = "",
    sections: Sequence[tuple[str, Iterable[str]]] = (),
    see: Sequence[str] = (),
) -> str:
    context = click.Context(command, info_name=name, **command.context_settings)
    text = (command.help or "").strip()
    first = _first_sentence(text)
    lines = [
        f'.TH {name.upper().replace(" ", "-")} 1 "" "mgrd" "mgr manual"',
        ".SH NAME",
        f"{_escaped(name.replace(' ', '-'))} \\- {_escaped(first[:1].lower() + first[1:])}",
        ".SH SYNOPSIS",
        f".B {_escaped(name)}",
        _escaped(synopsis or " ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(text),
        ".SH OPTIONS",
        *_options(command, context),
    ]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for word, each in command.commands.items():
            usage = " ".join(
                [word, *each.collect_usage_pieces(click.Context(each, **each.context_settings))]
            )
            lines += [
                *_items([(usage, _first_sentence(each.help or ""))]),
                *_options(each, context),
            ]
    for heading, content in sections:
        lines += [f".SH {heading}", *content]
    if see:
        lines += [".SH SEE ALSO", _escaped(", ".join(see))]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [each.get_help_record(context) for each in command.get_params(context)]
    return _items(record for record in records if record is not None)


def _items(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [
        line
        for term, text in pairs
        for line in (".TP", f".B {_escaped(term)}", _escaped(" ".join(text.split())) or "\\&")
    ]


def _paragraphs(text: str) -> list[str]:
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", text)]
    return [line for block in blocks for line in (".PP", _escaped(block))][1:]


def _literal(text: str) -> list[str]:
    return [".nf", *(_escaped(line) for line in text.strip("\n").splitlines()), ".fi"]


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).split(". ")[0].rstrip(".")


def _escaped(text: str) -> str:
    """Return ``text`` as troff prints it: no line of it is a request, no dash a hyphen."""
    found = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", found, flags=re.MULTILINE)
