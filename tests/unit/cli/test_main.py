"""``mgrctl``: words, flags, exit status, and what goes where."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from mgr.cli import command_line
from mgr.cli.main import main
from tests.support.tree import ROOT

NOBODY = "127.0.0.1:1"


def mgrctl(*words, hosts=NOBODY, env=None):
    """Run the real program."""
    return subprocess.run(
        [sys.executable, "-m", "mgr.cli.main", *words],
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"MGR_HOSTS": hosts} | (env or {}),
        timeout=30,
        check=False,
        text=True,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("completion", "bash"),
        ("completion", "zsh"),
        ("completion", "fish"),
        (),
        ("-f", "jsno", "x"),
    ],
)
def test_what_needs_no_manager_does_not_wait_for_grpc(words):
    """Help and completion must be instant; importing grpc takes a quarter of a second."""
    code = (
        "import sys; from mgr.cli.main import main; main(sys.argv[1:]); "
        "sys.exit('grpc' in sys.modules or 'rich' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 0


def test_nobody_answered_is_no_errno(capsys):
    """255, every endpoint and its reason, nothing on stdout."""
    status = main(["-m", f"{NOBODY},127.0.0.1:2", "-t", "1", "status"])

    out, err = capsys.readouterr()
    assert (status, out) == (255, "")
    assert err.startswith("Error EHOSTUNREACH: no manager answered")
    assert NOBODY in err
    assert "127.0.0.1:2" in err
    assert "refused" in err
    assert "name the other managers" not in err


def test_one_manager_that_is_away_is_not_the_cluster(capsys):
    """Others may lead: whoever knows one address only is told where to write more."""
    assert main(["-m", NOBODY, "-t", "1", "status"]) == 255

    assert "name the other managers, too (--mgr, MGR_HOSTS" in capsys.readouterr().err


def test_errors_are_json_where_json_was_asked_for(capsys):
    """On stderr: stdout is the answer, and there is none."""
    status = main(["-m", NOBODY, "-t", "1", "status", "-f", "json"])

    out, err = capsys.readouterr()
    assert (status, out) == (255, "")
    assert json.loads(err)["error"]["code"] == "UNREACHABLE"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no command given"),
        (["-f", "jsno", "x"], "'jsno' is not one of"),
        (["--frmat", "json", "x"], "--format"),
        (["-t", "0", "x"], "-t"),
        (["-t", "soon", "x"], "'soon' is not a valid float"),
        (["-m", "a:b", "x"], "'a:b' is not host:port"),
        (["-m", " , ", "x"], "no manager address"),
        (["completion"], "name a shell"),
        (["completion", "tcsh"], "bash|zsh|fish"),
        (["--watch-info", "status"], "give no command with it"),
        (["--watch", "-o", "x", "status"], "leave out -o FILE"),
        (["--context", "nix", "status"], "no context 'nix'"),
        (["-i", "/no/such/file", "x"], "cannot read /no/such/file"),
    ],
)
def test_what_was_typed_wrong_is_named(words, text, capsys):
    """One line on stderr, and EINVAL as the exit status."""
    status = main(words)

    out, err = capsys.readouterr()
    assert (status, out) == (22, "")
    assert err.startswith("Error EINVAL: ")
    assert text in err


def test_a_bad_config_file_is_named(home, capsys):
    """With what is wrong in it."""
    file = home / "config/mgr/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("hosts = 7\n")

    assert main(["status"]) == 22
    assert f"{file}: Expected `array`, got `int` - at `$.hosts`" in capsys.readouterr().err


def test_an_interrupted_command_says_so(monkeypatch):
    """130, as shells expect."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mgr.cli.command_line._dispatch", interrupted)

    assert main(["status"]) == 130


def test_the_program_exits_with_what_main_returns():
    """The module is a program as well."""
    done = mgrctl("-t", "1", "status")

    assert done.returncode == 255
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["mgr.cli.command_line", "click", "mgr.cli.run", "grpc"])
def test_an_interruption_during_an_import_is_no_traceback(module, tmp_path):
    """Whoever changes his mind in the first half second sees a prompt."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )

    done = mgrctl("status", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_user_who_named_the_managers_needs_no_hint_to_do_so(capsys):
    """Only who relied on the default does."""
    main(["-m", NOBODY, "-t", "1", "health"])

    assert "name the managers" not in capsys.readouterr().err


def test_the_commands_for_authors_need_no_manager(capsys, tmp_path):
    """And neither etcd nor gRPC; their errors are those of mgrctl."""
    into = ["--in", str(tmp_path)]

    assert main(["module", "new", "greet", *into]) == 0
    out = capsys.readouterr().out
    assert f"mgrctl module dev {tmp_path}/greet" in out
    assert main(["module", "new", "greet", *into]) == 17
    assert capsys.readouterr().err.startswith("Error EEXIST: ")
    file = str(tmp_path / "greet.mgrmodule")
    assert main(["module", "package", str(tmp_path / "greet"), "-o", file]) == 0
    digest = capsys.readouterr().out.split()[0]
    assert main(["module", "unpack", file, "--sha256", digest, "--in", str(tmp_path / "x")]) == 22
    (tmp_path / "x").mkdir()
    assert main(["module", "unpack", file, "--sha256", digest, "--in", str(tmp_path / "x")]) == 0
    assert (tmp_path / "x/greet/module.py").is_file()
    assert main(["module", "check", str(tmp_path)]) == 2
    for words in (["module"], ["module", "--help"], ["help", "module"], ["module", "nonsense"]):
        status = main(words)
        shown = capsys.readouterr()
        assert status == (22 if "nonsense" in words else 0)
        assert "check" in shown.out or "No such command 'nonsense'" in shown.err


def test_the_managers_commands_for_modules_reach_it(capsys):
    """They begin with the same word as those for authors; nobody listens there."""
    for words in (["module", "top"], ["module", "env", "ls"], ["module", "env", "sync", "greet"]):
        assert main(["-m", NOBODY, "-t", "1", *words]) == 255
        assert capsys.readouterr().err.startswith("Error ")


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (("module",), "", ["check", "dev", "env", "new", "package", "top", "unpack"]),
        (("module",), "p", ["package"]),
        (("module", "new"), "", []),
    ],
)
def test_the_commands_for_authors_are_completed(words, incomplete, offered):
    """Without asking a manager: they need none."""
    context = click.Context(click.Command("mgrctl"))
    context.params = {"words": words}

    found = command_line._complete_words(context, click.Argument(["words"]), incomplete)

    assert [item.value for item in found] == offered
