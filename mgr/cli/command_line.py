"""``mgrctl``: sends a command in the words of ``ceph`` to the active manager.

Flags come before the words. After the first word, everything belongs to the command except the
flags that Ceph's client takes anywhere (``-f -i -o -p -h``). Help and completion must be fast, so
this module does not import grpc.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from mgr.cli import command_cache, config, contexts, interrupt, local, output, query, this_host
from mgr.cli.invocation import Invocation
from mgr.errors import InvalidArgumentError, MgrError
from mgr.tls import Tls
from mgr.version import installed_version

FORMATS: Final = ("plain", "json", "json-pretty", "yaml", "xml", "xml-pretty")
AUTHORS_WORD: Final = "module"
"""First word of the commands that need no cluster; those of the manager begin ``mgr module``."""
MANAGERS_WORDS: Final = frozenset({"env", "top"})
"""Words that, after ``AUTHORS_WORD``, make it a command of the manager."""
SHELLS: Final = ("bash", "zsh", "fish")
LOWEST: Final = ("debug", "info", "sec", "warn", "error")
PRIORITIES: Final = dict(
    zip(LOWEST, ("debug", "info", "security", "warning", "error"), strict=True)
)
TIMEOUT_S: Final = 10.0
_WORDLESS: Final = frozenset({"watch", "status", "help", *(f"watch_{name}" for name in LOWEST)})
COMPLETE_VARIABLE: Final = "_MGRCTL_COMPLETE"

EPILOG: Final = """\b
Examples:
  mgrctl status
  mgrctl -f json-pretty mgr dump
  mgrctl config set mgr mgr/hello/place Rome
  mgrctl help config
  mgrctl -w
  mgrctl module new greet        for authors of modules, needs no cluster
  mgrctl audit follow --who=ops
  mgrctl auth renew              a new certificate in place of your own
\b
Exit status: 0, or the errno of the answer; 255 nothing ran (no manager answered, or none
is active), 110 the outcome is unknown, 130 interrupted."""


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit status: the errno of its answer, or 0.

    255 means that nothing ran: no manager answered, or none is active. It is no errno, so a
    script can distinguish it from a command that failed. 110 means that the outcome is unknown.
    """
    arguments = list(argv)
    form = ""
    try:
        options = dict(_parse(arguments))
        form = options.get("format") or ""
        return _dispatch(options) if options else 0
    except click.UsageError as error:
        return output.failure(InvalidArgumentError(error.format_message()), form)
    except MgrError as error:
        return output.failure(error, form)
    except (KeyboardInterrupt, click.exceptions.Abort):
        return interrupt.INTERRUPTED
    except BrokenPipeError:
        # ``mgrctl ... | head`` is no error, but the interpreter would flush into the closed pipe
        # at exit and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return output.PIPE_CLOSED


def _common_options() -> list[click.Option]:
    return [
        click.Option(["-f", "--format"], type=click.Choice(FORMATS), help="Output format."),
        click.Option(
            ["-i", "--in-file"], metavar="FILE", help="Input file of the command; - is stdin."
        ),
        click.Option(
            ["-o", "--out-file"],
            metavar="FILE",
            help="Write the answer to FILE; or what jsonpath=PATH, template=TEXT or "
            "template-file=FILE make of its JSON to stdout.",
        ),
        click.Option(
            ["-p", "--period"],
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="Pause between runs of a polling or watched command; 0: run once.  [default: 1]",
        ),
    ]


def _tls_options() -> list[click.Option]:
    words = {
        "ca": "CA that signed the managers' certificates; turns TLS on.  [env: MGR_TLS_CA]",
        "cert": "Certificate for managers that ask for one.  [env: MGR_TLS_CERT]",
        "key": "Private key of the certificate.  [env: MGR_TLS_KEY]",
    }
    token = "Token to show instead of a certificate.  [env: MGR_TOKEN_FILE]"  # noqa: S105 - a help text
    return [
        *(
            click.Option([f"--tls-{name}"], metavar="FILE", help=text)
            for name, text in words.items()
        ),
        click.Option(["--token-file"], metavar="FILE", help=token),
    ]


def _front_options() -> list[click.Parameter]:
    watched = [
        click.Option(
            [f"--watch-{name}"], is_flag=True, help=f"Follow the cluster log from {name} upwards."
        )
        for name in LOWEST
    ]
    return [
        click.Option(
            ["-m", "--mgr", "hosts"],
            metavar="HOST:PORT,...",
            help="Managers to connect to; one is enough.  [env: MGR_HOSTS; default: "
            "127.0.0.1:7400]",
        ),
        click.Option(
            ["--context"],
            metavar="NAME",
            help="The cluster of this name: see mgrctl context.  [env: MGR_CONTEXT]",
        ),
        *_common_options(),
        *_tls_options(),
        click.Option(["-s", "--status"], is_flag=True, help="Short for the command status."),
        click.Option(
            ["-w", "--watch"],
            is_flag=True,
            help="Follow the cluster log; with a command that only reads: repeat and redraw it.",
        ),
        *watched,
        click.Option(
            ["--watch-channel"],
            metavar="CHANNEL",
            default="cluster",
            help="Channel of the log to follow; * for all.  [default: cluster]",
        ),
        click.Option(
            ["-t", "--timeout", "timeout_s"],
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Time limit in all.  [default: 10]",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Print term and duration of the answer."
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print no remarks beside the answer."),
        click.Option(["--version"], is_flag=True, help="Print the version."),
        click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, shell_complete=_complete_words),
    ]


def front_command() -> click.Command:
    """Return the command line as far as the first word of the command."""
    return click.Command(
        "mgrctl",
        params=_front_options(),
        callback=lambda **options: options,
        help="Send a command to the active manager. 'mgrctl help' lists the commands.",
        epilog=EPILOG,
        options_metavar="[OPTIONS]",
        context_settings={
            "allow_interspersed_args": False,
            "help_option_names": ["-h", "--help"],
        },
    )


def _parse(arguments: list[str]) -> dict[str, Any]:
    """Parse the command line; return {} if click has answered it itself (help, completion)."""
    options = front_command().main(
        arguments,
        prog_name="mgrctl",
        complete_var=COMPLETE_VARIABLE,
        standalone_mode=False,
    )
    if not isinstance(options, dict):
        return {}
    behind = click.Command(
        "mgrctl",
        params=[
            *_common_options(),
            click.Option(["--watch"], is_flag=True),
            click.Option(["-h", "--help"], is_flag=True),
            click.Argument(["words"], nargs=-1, type=click.UNPROCESSED),
        ],
        callback=lambda **options: options,
        add_help_option=False,
        # Flags that are not in ``params`` belong to the command.
        context_settings={"ignore_unknown_options": True},
    )
    later = behind.main(list(options["words"]), prog_name="mgrctl", standalone_mode=False)
    return options | {
        name: value for name, value in later.items() if value is not None and value is not False
    }


def _dispatch(options: dict[str, Any]) -> int:
    words: tuple[str, ...] = options["words"]
    if options["version"]:
        sys.stdout.write(f"mgrctl {installed_version()}\n")
        return 0
    if words[:1] == ("completion",) and len(words) <= 2:
        return _completion(words[1:])
    if not words and not _works_without_words(options):
        raise InvalidArgumentError("no command given; see: mgrctl --help, mgrctl help")
    explains = bool(options.get("help")) or words[:1] == ("help",)
    asked = words[1:] if words[:1] == ("help",) else words
    if is_for_authors(asked):
        from mgr.authoring.main import run as author  # noqa: PLC0415 - few commands need it

        interrupt.raise_again()
        return author(asked[1:], options | {"help": explains})
    if found := local.find(asked):
        front = local.Front(options, lambda words: _invocation(options, tuple(words)))
        return local.run(found, asked[len(found.words) :], front, explain=explains)
    return _ask(options, asked, explains=explains)


def is_for_authors(words: Sequence[str]) -> bool:
    """Return whether ``words`` are a command for authors of modules, which needs no cluster."""
    return tuple(words[:1]) == (AUTHORS_WORD,) and not MANAGERS_WORDS.intersection(words[1:2])


def _ask(options: dict[str, Any], asked: tuple[str, ...], *, explains: bool) -> int:
    """Do what managers are needed for."""
    lowest = next((name for name in LOWEST if options[f"watch_{name}"]), "")
    if lowest and asked:
        raise InvalidArgumentError("--watch-... follows the cluster log: give no command with it")
    invocation = _invocation(options, ("status", *asked) if options["status"] else asked)
    if invocation.words and not (lowest or explains):
        interrupt.raise_again()
        if (status := this_host.execute(invocation, os.environ)) is not None:
            return status
    from mgr.cli import run  # noqa: PLC0415 - imports grpc: a tenth of a second that help saves

    # From here on an interruption is an exception: a stream is closed, and a file is whole.
    interrupt.raise_again()
    if lowest or (options["watch"] and not invocation.words):
        channel = options["watch_channel"]
        return run.watch(
            invocation,
            lowest=PRIORITIES[lowest or "info"],
            channel="" if channel == "*" else channel,
        )
    return run.explain(invocation) if explains else run.execute(invocation)


def _invocation(options: dict[str, Any], words: tuple[str, ...]) -> Invocation:
    file_config, environment = contexts.chosen(options["context"], options["hosts"], os.environ)
    hosts = config.hosts(options["hosts"], environment, file_config)
    out_file: str | None = options["out_file"]
    queried = out_file if out_file is not None and query.is_query(out_file) else ""
    return Invocation(
        words=words,
        hosts=hosts,
        named=hosts != config.DEFAULT_HOSTS,
        tls=config.tls(options, environment, file_config),
        table=command_cache.path(hosts, os.environ),
        format=options["format"] or file_config.format,
        in_file=options["in_file"],
        out_file=None if queried else out_file,
        query=queried,
        period_s=1.0 if options["period"] is None else options["period"],
        timeout_s=options["timeout_s"] or file_config.timeout_s or TIMEOUT_S,
        verbose=options["verbose"],
        quiet=options["quiet"],
        watch=options["watch"],
    )


def _works_without_words(options: dict[str, Any]) -> bool:
    return any(value for name, value in options.items() if name in _WORDLESS)


def _completion(shells: tuple[str, ...]) -> int:
    if len(shells) != 1 or shells[0] not in SHELLS:
        raise InvalidArgumentError(f"name a shell: mgrctl completion {'|'.join(SHELLS)}")
    kind = get_completion_class(shells[0])
    if kind is None:
        raise AssertionError("click knows the three shells")
    nothing = click.Command("mgrctl")
    sys.stdout.write(kind(nothing, {}, "mgrctl", COMPLETE_VARIABLE).source())
    return 0


def _complete_words(
    context: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    words: tuple[str, ...] = context.params.get("words") or ()
    if is_for_authors(words):
        from mgr.authoring.main import group  # noqa: PLC0415 - few commands need it

        known = {name: each.short_help for name, each in group.commands.items()}
        known |= dict.fromkeys(MANAGERS_WORDS, "a command of the manager")
        return [
            CompletionItem(name, help=text)
            for name, text in sorted(known.items())
            if len(words) == 1 and name.startswith(incomplete)
        ]
    if (own := local.complete(words, incomplete, os.environ)) is not None:
        return [CompletionItem(word, help=text) for word, text in own]
    from mgr.cli.complete import candidates  # noqa: PLC0415 - only a shell that completes

    given = context.params

    def configured() -> tuple[str, Callable[[], Tls | None]]:
        file_config, environment = contexts.chosen(given["context"], given["hosts"], os.environ)
        hosts = config.hosts(given["hosts"], environment, file_config)
        return hosts, lambda: config.tls(given, environment, file_config)

    found = list(candidates(words, incomplete, configured))
    found += local.first_words(words, incomplete)
    if not words and AUTHORS_WORD.startswith(incomplete):
        found.append((AUTHORS_WORD, "commands for authors of modules; they need no cluster"))
    return [CompletionItem(word, help=text) for word, text in found]
