"""The public images that our files name: pulled, or stood in for under the same name.

A stand-in is made of Debian's packages where no image registry can be reached. It has what the
public image has and, as important, lacks what that lacks: etcd's has no shell.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.compose import debian
from tests.e2e.compose.debian import CACHE, Release, sources
from tests.e2e.compose.engine import Engine
from tests.e2e.compose.shell import UnavailableError, run, say
from tests.support.tree import ROOT

STAND_IN: Final = "stand-in"
"""Label of an image that is one."""

TRUSTED_ETCD: Final = (3, 5, 28)
ETCD_SUITES: Final = ("trixie", "forky", "sid")
"""Debian releases that may have an etcd to be trusted, the most settled first."""

HAPROXY_SUITE: Final = "trixie"
PYTHON_SUITE: Final = "bookworm"
CERTIFICATES: Final = Path("/usr/local/share/ca-certificates")


def provide(engine: Engine) -> dict[str, str]:
    """See that the engine has every image our files name; settings for Compose where one differs.

    Raises:
        UnavailableError: One can neither be pulled nor stood in for.

    """
    names = named_images()
    settings: dict[str, str] = {}
    for name in names:
        if _here(engine, name) or _pulled(engine, name):
            continue
        if name.startswith("python:"):
            _stand_in_python(engine, name)
        elif name.startswith("haproxy:"):
            _stand_in_haproxy(engine, name)
        elif "/etcd:" in name:
            settings["ETCD_IMAGE"] = _stand_in_etcd(engine, name.partition(":")[0])
        else:
            raise UnavailableError(f"{name} cannot be pulled, and no stand-in is known for it")
    return settings


def busybox(engine: Engine, name: str) -> None:
    """Make the image ``name``: BusyBox and nothing else, of Debian's package.

    Raises:
        UnavailableError: It cannot be made; the message says why.

    """
    tree = Release(PYTHON_SUITE).unpack(
        "busybox-static", wanted=lambda package: package == "busybox-static"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _copy(next(tree.glob("**/bin/busybox")), root / "bin/busybox")
        (root / "tmp").mkdir()
        (root / "bin/sh").symlink_to("busybox")
        _import(engine, root, name, ("ENV PATH=/bin",))


def named_images() -> list[str]:
    """Every image that deploy/ names, the ones it builds left out."""
    found: set[str] = set()
    for file in ("Dockerfile", "chaos/Dockerfile"):
        text = (ROOT / "deploy" / file).read_text()
        found |= set(re.findall(r"^FROM (\S+:\S+)", text, re.MULTILINE))
    text = (ROOT / "deploy/compose.yaml").read_text()
    defaults = re.findall(r"image: \$\{\w+:-(\S+)\}", text)
    return sorted(found | {name for name in defaults if not name.startswith("mgr")})


def is_stand_in(engine: Engine, image: str) -> bool:
    """Whether the engine's ``image`` was made here."""
    form = f'{{{{index .Config.Labels "{STAND_IN}"}}}}'
    return bool(engine.docker("image", "inspect", "-f", form, image, check=False).strip())


def _here(engine: Engine, name: str) -> bool:
    return name in engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()


def _pulled(engine: Engine, name: str) -> bool:
    if os.environ.get("MGR_TEST_PULL") == "0":
        return False
    try:
        engine.docker("pull", "-q", name, limit_s=180)
    except RuntimeError as error:
        say(f"{name} cannot be pulled: {str(error).splitlines()[-1][:100]}")
        return False
    return True


def _stand_in_etcd(engine: Engine, repository: str) -> str:
    """Programs and what they load, and nothing else: a health check by shell fails here too."""
    for suite in ETCD_SUITES:
        release = Release(suite)
        version = release.version("etcd-server")
        if version and tuple(map(int, version.split("."))) >= TRUSTED_ETCD:
            break
    else:
        raise UnavailableError("no Debian release looked at has an etcd to be trusted")
    name = f"{repository}:v{version}"
    if _here(engine, name):
        return name
    say(f"making {name} from Debian {suite}")
    tree = release.unpack(
        "etcd-server",
        "etcd-client",
        wanted=lambda package: package.startswith(("etcd-", "libc6")),
        version=version,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _copy_libraries(tree, root)
        for program in tree.glob("usr/bin/etcd*"):
            _copy(program, root / "usr/local/bin" / program.name)
        for name_of in ("var/lib/etcd", "tmp", "etc"):
            (root / name_of).mkdir(parents=True, exist_ok=True)
        changes = ("WORKDIR /var/lib/etcd", 'CMD ["/usr/local/bin/etcd"]', "EXPOSE 2379 2380")
        _import(engine, root, name, ("ENV PATH=/usr/local/bin", *changes))
    return name


def _stand_in_haproxy(engine: Engine, name: str) -> None:
    """HAProxy and a shell with its libraries; runs as nobody in particular, as the public one."""
    release = Release(HAPROXY_SUITE)
    version = release.version("haproxy")
    if not version.startswith(name.partition(":")[2]):
        raise UnavailableError(f"{name}: Debian {HAPROXY_SUITE} has {version or 'none'}")
    say(f"making {name} from Debian {HAPROXY_SUITE}")
    tree = release.unpack(
        "haproxy",
        "bash",
        wanted=lambda package: package.startswith(("lib", "zlib", "haproxy", "bash")),
        version=version,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _copy_libraries(tree, root)
        _copy(tree / "usr/sbin/haproxy", root / "usr/local/sbin/haproxy")
        _copy(tree / "usr/bin/bash", root / "bin/bash")
        for name_of in ("tmp", "etc"):
            (root / name_of).mkdir(exist_ok=True)
        command = 'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
        _import(engine, root, name, ("ENV PATH=/usr/local/sbin:/bin", "USER 99:99", command))


def _stand_in_python(engine: Engine, name: str) -> None:
    """Debian's Python under the public image's paths, with this machine's way to the index."""
    if PYTHON_SUITE not in name:
        raise UnavailableError(f"{name}: Debian {PYTHON_SUITE} has no such Python")
    raw = f"mgr-test-python:{PYTHON_SUITE}"
    engine.docker("import", debian_root(), raw, limit_s=120)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "ca").mkdir()
        for certificate in CERTIFICATES.glob("*.crt"):
            shutil.copy(certificate, context / "ca")
        (context / "pip.conf").write_text(_pip_settings())
        (context / "Dockerfile").write_text(
            f"FROM {raw}\n"
            "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8\n"
            f"COPY ca {CERTIFICATES}\n"
            "COPY pip.conf /etc/pip.conf\n"
            "RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED"
            " && for name in python python3; do ln -sf /usr/bin/python3 /usr/local/bin/$name; done"
            " && for name in pip pip3; do ln -sf /usr/bin/pip3 /usr/local/bin/$name; done"
            " && update-ca-certificates >/dev/null 2>&1\n"
            f'LABEL {STAND_IN}={PYTHON_SUITE}\nCMD ["python3"]\n'
        )
        engine.docker("build", "-q", "-t", name, context, limit_s=120)
    engine.docker("image", "rm", raw, check=False)


def debian_root() -> Path:
    """Return an archive of a small Debian with Python; made once.

    Raises:
        UnavailableError: It cannot be made; the message says why.

    """
    archive = CACHE / f"python-{PYTHON_SUITE}.tar"
    if archive.exists():
        return archive
    debian.install("mmdebstrap", "debian-archive-keyring")
    say(f"making a Debian {PYTHON_SUITE} with Python (about a minute)")
    fresh = archive.with_name(f"fresh-{archive.name}")
    hooks = Path("/usr/share/mmdebstrap/hooks/merged-usr")
    lean = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
    try:
        run(
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=apt"),
            *(f"--hook-dir={hooks}", "--include=usr-is-merged"),
            "--include=ca-certificates,python3,python3-venv,python3-pip",
            *("--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in lean)),
            *(PYTHON_SUITE, fresh, "-"),
            limit_s=300,
            data=sources(PYTHON_SUITE),
        )
    except RuntimeError as error:
        raise UnavailableError(str(error)) from None
    return fresh.rename(archive)


def _pip_settings() -> str:
    """This machine's package index, less what only this machine can read, and its certificates."""
    shown = run("python3", "-m", "pip", "config", "list", check=False)
    index = re.search(r"index-url='(https?:[^']*)'", shown)
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    return "\n".join([*lines, *([f"index-url = {index[1]}"] if index else [])]) + "\n"


def _copy_libraries(tree: Path, root: Path) -> None:
    def shared(folder: str, names: Sequence[str]) -> set[str]:
        return {name for name in names if ".so" not in name and not (Path(folder) / name).is_dir()}

    _merge_usr(root)
    for name in ("usr/lib", "lib"):
        if (tree / name).is_dir():
            _copy_tree(tree / name, root / "usr/lib", shared)
    for name in ("usr/lib64", "lib64"):
        if (tree / name).is_dir():
            _copy_tree(tree / name, root / "usr/lib64", shared)


def _merge_usr(root: Path) -> None:
    for name in ("lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")


def _copy_tree(
    source: Path, target: Path, ignore: Callable[[str, Sequence[str]], set[str]]
) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _import(engine: Engine, root: Path, name: str, changes: Sequence[str]) -> None:
    root.chmod(0o755)
    (root / "tmp").chmod(0o1777)
    archive = root.parent / f"{root.name}.tar"
    try:
        run("tar", "-C", root, "-cf", archive, ".")
        words = [word for change in (*changes, f"LABEL {STAND_IN}=yes") for word in ("-c", change)]
        engine.docker("import", *words, archive, name, limit_s=120)
    finally:
        archive.unlink(missing_ok=True)
