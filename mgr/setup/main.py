"""The command lines of ``mgrd init``, ``mgrd join``, ``mgrd issue`` and ``mgrd restore``."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mgr.addresses import advertised_address, split_address
from mgr.errors import InvalidArgumentError, InvalidSettingError, MgrError
from mgr.pki.authority import Authority, Subject
from mgr.pki.join_token import LIFETIME_S, MANAGER_PREFIX, PROFILES, JoinToken, new_token
from mgr.pki.private_key import PUBLIC, PrivateKey
from mgr.pki.subject import manager_subject
from mgr.pki.token_text import TokenText
from mgr.setting_flags import setting_flags
from mgr.settings import Settings
from mgr.setup import restore_command
from mgr.setup.cluster_record import check_etcd, create_cluster, open_authority
from mgr.setup.files import (
    CONFIG_FILE,
    FOLDER,
    Writer,
    absolute,
    join_listen_of,
    lacking_lines,
    settings_of,
    settings_text,
)
from mgr.setup.module_env import module_env
from mgr.tls import CA_FILE, CLIENT_FILE, MANAGER_FILE, PASSPHRASE_FILE, loose_key

CLIENT_DAYS: Final = 365.0
MANAGER_DAYS: Final = 90.0
CONTEXT: Final = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}
TOKEN_VARIABLE: Final = "MGR_JOIN_TOKEN"  # noqa: S105 - a name, not a secret


@click.group(context_settings=CONTEXT)
def command() -> None:
    """Make the certificates of a cluster, install libraries of modules, or restore a backup."""


command.add_command(module_env)


def main() -> None:
    """Run one of the commands; an error is one line, and its errno the exit status."""
    try:
        command(prog_name="mgrd", standalone_mode=False)
    except MgrError as error:
        sys.stderr.write(f"mgrd: {error}\n")
        sys.exit(error.errno)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _places(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--san",
            "names",
            multiple=True,
            metavar="NAME",
            help="A further DNS name or IP address of this manager; may be repeated.",
        ),
        click.option(
            "--dir",
            "folder",
            default=FOLDER,
            type=click.Path(path_type=Path),
            help=f"Folder for certificates and keys.  [default: {FOLDER}]",
        ),
        click.option(
            "--config",
            default=CONFIG_FILE,
            help=f"Settings file: read if it exists, else written.  [default: {CONFIG_FILE}]",
        ),
    ):
        function = option(function)
    return function


@command.command("init", context_settings=CONTEXT)
@setting_flags
@_places
@click.option("--admin", default="admin", help="Name of the first administrator.  [default: admin]")
@click.option(
    "--ca-key",
    type=click.Path(path_type=Path),
    help="Write the CA's key, encrypted, to this file and keep it nowhere else: the cluster then "
    "signs nothing, and 'mgrd issue' makes further certificates.",
)
@click.option(
    "--ca-passphrase-file",
    type=click.Path(path_type=Path),
    help="File with the passphrase of the CA's key.  [default: a new one is made]",
)
@click.option("--join-tokens", default=1, type=click.IntRange(0, 100), help="How many to print.")
@click.option(
    "--signers",
    is_flag=True,
    help="The managers that join with them get the CA's passphrase too, and can sign.",
)
def init(  # noqa: PLR0913 - the command line
    *,
    config: str,
    folder: Path,
    names: tuple[str, ...],
    admin: str,
    ca_key: Path | None,
    ca_passphrase_file: Path | None,
    join_tokens: int,
    signers: bool,
    **flags: str | None,
) -> None:
    """Make a cluster's CA and the certificates of its first manager and administrator.

    Settings are those of mgrd: etcd must answer. Prints join tokens for further managers.
    """
    settings, given = settings_of(config, flags)
    authority = Authority.generate(settings.cluster)
    passphrase = _passphrase(ca_passphrase_file)
    listen = join_listen_of(settings)
    manager = _issue(authority, manager_subject(settings, (*names, _host(listen))), MANAGER_DAYS)
    writer, lines = Writer(), []
    tokens = []
    with writer.undone_on_error():
        kept = b"" if ca_key else passphrase
        writer.manager(folder / "tls", manager, authority.certificate, kept)
        hosts = _advertised(settings)
        client = _issue(authority, Subject(admin), CLIENT_DAYS)
        writer.client(folder / "admin" / "mgr", client, authority.certificate, hosts)
        sealed = authority.seal(passphrase)
        if ca_key is not None:
            writer.write(ca_key, sealed)
            if ca_passphrase_file is None:
                writer.write(ca_key.with_name(f"{ca_key.name}.passphrase"), passphrase + b"\n")
        else:
            tokens = [_manager_token(authority, signer=signers) for _ in range(join_tokens)]
        added = {"tls_dir": absolute(folder / "tls")} | ({} if ca_key else {"join_listen": listen})
        lines += _settings_file(writer, config, settings_text(settings, given, added))
        asyncio.run(
            create_cluster(
                settings,
                certificate=authority.certificate,
                sealed_key="" if ca_key else sealed,
                admin=admin,
                manager=MANAGER_PREFIX + settings.id,
                tokens=tokens,
            )
        )
    lines += [f"start this manager:  mgrd --config {config}"]
    lines += [f"administer it:       XDG_CONFIG_HOME={folder / 'admin'} mgrctl status"]
    lines += [_where_the_key_is(ca_key, folder)]
    address = _reached(settings, listen)
    lines += [
        f"further managers, each once within {LIFETIME_S // 60} minutes:  "
        f"mgrd join {address} --token {text}"
        for text, _ in tokens
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _manager_token(authority: Authority, *, signer: bool) -> tuple[TokenText, JoinToken]:
    pin, lifetime_s = authority.pin, LIFETIME_S
    return new_token("manager", "mgr.*", pin=pin, lifetime_s=lifetime_s, signer=signer)


def _where_the_key_is(ca_key: Path | None, folder: Path) -> str:
    if ca_key is not None:
        return f"the CA's key is in {ca_key} and nowhere else: take it away from here"
    kept_in = folder / "tls" / PASSPHRASE_FILE
    return f"this manager signs: keep a copy of {kept_in}, or let a second manager sign"


@command.command("join", context_settings=CONTEXT)
@click.argument("hosts", metavar="HOST:PORT,...")
@click.option("--token", envvar=TOKEN_VARIABLE, help=f"Join token.  [{TOKEN_VARIABLE}]")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with the join token.")
@setting_flags
@_places
def join(
    *,
    hosts: str,
    token: str | None,
    token_file: Path | None,
    config: str,
    folder: Path,
    names: tuple[str, ...],
    **flags: str | None,
) -> None:
    """Get this manager's certificate from the cluster at HOST:PORT, for a join token."""
    # Imported here: init and issue need no gRPC.
    from mgr.client.join_cluster import exchange  # noqa: PLC0415

    settings, given = settings_of(config, flags)
    parsed = TokenText.parse(_secret(token, token_file))
    listen = join_listen_of(settings)
    subject = manager_subject(settings, (*names, _host(listen)))
    if (folder / "tls" / MANAGER_FILE).exists():
        raise InvalidSettingError(f"{folder / 'tls' / MANAGER_FILE} exists already")
    key = PrivateKey()
    answer = asyncio.run(exchange(hosts, parsed, subject.name, key, addresses=subject.addresses))
    if not answer.HasField("manager"):
        raise InvalidArgumentError("this join token is not for a manager")
    writer = Writer()
    with writer.undone_on_error():
        pem = key.with_certificate(answer.certificate.decode())
        ca = answer.ca.decode()
        writer.manager(folder / "tls", pem, ca, answer.manager.ca_passphrase)
        added = {"tls_dir": absolute(folder / "tls"), "join_listen": listen}
        received = {"cluster": answer.manager.cluster, "etcd": list(answer.manager.etcd)}
        text = settings_text(
            settings, given, added | {n: v for n, v in received.items() if n not in given}
        )
        lines = _settings_file(writer, config, text)
    lines += [f"start this manager:  mgrd --config {config}"]
    lines += [f"clients:             add {_advertised(settings)} to their hosts"]
    sys.stdout.write("\n".join(lines) + "\n")
    _warn_about_etcd(config, flags, received["etcd"])


@command.command("issue", context_settings=CONTEXT)
@click.argument("name")
@click.option("--profile", type=click.Choice(PROFILES), required=True)
@click.option(
    "--config",
    default=CONFIG_FILE,
    help=f"Settings of a manager of the cluster, on its host.  [default: {CONFIG_FILE}]",
)
@click.option(
    "--ca-key",
    type=click.Path(path_type=Path),
    help="The CA's key, if it is kept outside of the cluster; needs the next two.",
)
@click.option("--ca", type=click.Path(path_type=Path), help="The CA's certificate.")
@click.option("--ca-passphrase-file", type=click.Path(path_type=Path))
@click.option("--san", "names", multiple=True, metavar="NAME", help="An address of a manager.")
@click.option("--signer", is_flag=True, help="Give a manager the CA's passphrase, so it can sign.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), default=MANAGER_DAYS)
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), required=True, help="A folder to write to."
)
def issue(  # noqa: PLR0913 - the command line
    *,
    name: str,
    profile: str,
    config: str,
    ca_key: Path | None,
    ca: Path | None,
    ca_passphrase_file: Path | None,
    names: tuple[str, ...],
    signer: bool,
    days: float,
    folder: Path,
) -> None:
    """Sign a certificate for NAME, without a token and without a running manager.

    On a manager's host, or with a CA's key that is kept outside of the cluster. What a client may
    do is decided by its capabilities (mgrctl auth caps), which this does not give.
    """
    manager = profile == "manager"
    if manager != name.startswith(MANAGER_PREFIX):
        raise InvalidArgumentError(f"names of managers, and no others, begin with {MANAGER_PREFIX}")
    passphrase = b""
    if ca_key is not None:
        if ca is None or ca_passphrase_file is None:
            raise InvalidArgumentError("--ca-key needs --ca and --ca-passphrase-file")
        opened = Authority.unseal(_text(ca), _text(ca_key), _passphrase(ca_passphrase_file))
    else:
        settings, _ = settings_of(config, {})
        opened, passphrase = asyncio.run(open_authority(settings))
    subject = Subject(name, server=manager, addresses=names if manager else ())
    pem = _issue(opened, subject, days)
    writer = Writer()
    with writer.undone_on_error():
        if manager:
            writer.manager(folder, pem, opened.certificate, passphrase if signer else b"")
        else:
            writer.write(folder / CA_FILE, opened.certificate, mode=PUBLIC)
            writer.write(folder / CLIENT_FILE, pem)
    sys.stdout.write(f"wrote {folder}\n")


command.add_command(restore_command.command)


def _issue(authority: Authority, subject: Subject, days: float) -> bytes:
    key = PrivateKey()
    lifetime = dt.timedelta(days=days)
    return key.with_certificate(authority.sign(key.request(subject.name), subject, lifetime))


def _settings_file(writer: Writer, config: str, text: str) -> list[str]:
    """Write the settings file, or name the lines that an existing one lacks."""
    if not Path(config).exists():
        # The user of the unit must be able to read it; it names secrets and contains none.
        writer.write(Path(config), text, mode=PUBLIC, folder_mode=0o755)
        return [f"wrote {config}"]
    lacking = lacking_lines(config, text)
    return [f"{config} must contain:", *(f"    {line}" for line in lacking)] if lacking else []


def _warn_about_etcd(config: str, flags: Mapping[str, str | None], used: Sequence[str]) -> None:
    """Warn if etcd does not answer with the settings that this manager will have.

    The active tells where etcd is, but files and passwords for it are this host's own.
    """
    try:
        settings, _ = settings_of(config, flags)
        asyncio.run(check_etcd(settings))
    except MgrError as error:
        sys.stderr.write(
            f"mgrd: etcd, which the cluster reaches at {','.join(used)}, refuses the settings in "
            f"{config} or does not answer: {error}. Correct them before you start this manager\n"
        )


def _advertised(settings: Settings) -> str:
    _, port = split_address(settings.grpc_listen, "grpc_listen")
    return advertised_address(settings.grpc_listen, settings.grpc_advertise, port)


def _reached(settings: Settings, listen: str) -> str:
    return advertised_address(listen, settings.join_advertise, split_address(listen, "address")[1])


def _host(address: str) -> str:
    return split_address(address, "address")[0]


def _passphrase(file: Path | None) -> bytes:
    """Read the passphrase, or make one of 256 random bits.

    Raises:
        InvalidSettingError: The file cannot be read, or everybody may read it.

    """
    if file is None:
        return secrets.token_urlsafe(32).encode()
    if loose := loose_key(str(file)):
        raise InvalidSettingError(loose)
    return _text(file).strip().encode()


def _secret(token: str | None, file: Path | None) -> str:
    if file is not None:
        return _text(file).strip()
    if not token:
        raise InvalidArgumentError(f"give --token, --token-file or {TOKEN_VARIABLE}")
    return token


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettingError(f"cannot read {file}: {error}") from None
