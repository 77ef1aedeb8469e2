"""A module in one file: the same every time, and what was changed on the way is refused."""

import io
import json
import zipfile

import pytest

from mgr.authoring import package as packages
from mgr.authoring.scaffold import AlreadyThereError, create_module
from mgr.authoring.source import ModuleSource
from mgr.errors import InvalidArgumentError, TooLargeError


@pytest.fixture
def source(tmp_path):
    return ModuleSource.at(create_module("greet", tmp_path / "from"))


def rebuilt(data, change):
    """The archive with its entries changed by ``change``, a function of the dictionary of them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def index(entries, **changes):
    entries["MODULE.json"] = json.dumps({**json.loads(entries["MODULE.json"]), **changes}).encode()


def test_the_same_files_make_the_same_package(source, tmp_path):
    """Caches and hidden files do not belong to it; what is unpacked is packed the same again."""
    data = packages.pack(source)
    (source.folder / "__pycache__").mkdir()
    (source.folder / "__pycache__/x.pyc").write_bytes(b"x")
    (source.folder / ".git").touch()
    (tmp_path / "to").mkdir()

    package = packages.read(data)
    folder = packages.unpack(package, tmp_path / "to")

    assert packages.pack(source) == data
    assert folder == tmp_path / "to/greet"
    assert packages.pack(ModuleSource.at(folder)) == data
    assert packages.read(data, digest=f"sha256:{package.digest}") == package


def test_another_file_than_the_one_that_was_named_is_refused(source):
    """By its hash: nobody has to trust the way."""
    with pytest.raises(InvalidArgumentError, match="not the one that was named: sha256:"):
        packages.read(packages.pack(source), digest="0" * 64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e: e.update({"module.py": b"evil()"}), "module.py was changed"),
        (lambda e: e.update({"more.py": b""}), "not those that its index lists"),
        (lambda e: e.pop("README.md"), "not those that its index lists"),
        (lambda e: index(e, format=2), "its format is 2, and this program reads 1"),
        (lambda e: index(e, module="../greet"), "its name is '../greet'"),
        (lambda e: index(e, files={}), "it has no module.py"),
        (lambda e: e.pop("MODULE.json"), "MODULE.json"),
    ],
)
def test_what_was_changed_is_refused(source, change, why):
    """With what is wrong."""
    with pytest.raises(InvalidArgumentError, match=why):
        packages.read(rebuilt(packages.pack(source), change))


def test_a_path_that_leaves_the_folder_is_refused(source, tmp_path):
    """Also if its hash is right."""

    def escape(entries):
        text = entries.pop("README.md")
        entries["../README.md"] = text
        listed = json.loads(entries["MODULE.json"])["files"]
        index(entries, files={name.replace("README", "../README"): h for name, h in listed.items()})

    with pytest.raises(InvalidArgumentError, match=r"unsafe path '../README.md'"):
        packages.read(rebuilt(packages.pack(source), escape))
    with pytest.raises(InvalidArgumentError, match="not a package of a module"):
        packages.read(b"no zip")


def test_what_is_too_large_or_a_link_is_not_packed(source, monkeypatch):
    """The text names the file."""
    monkeypatch.setattr(packages, "BYTES_MAX", 10_000)
    (source.folder / "data.bin").write_bytes(b"x" * 20_000)
    with pytest.raises(TooLargeError, match=r"the largest is data\.bin"):
        packages.pack(source)
    (source.folder / "data.bin").unlink()
    (source.folder / "link.py").symlink_to(source.folder / "module.py")
    with pytest.raises(InvalidArgumentError, match="is a symbolic link"):
        packages.pack(source)


def test_a_package_that_grows_when_it_is_unpacked_is_refused(source, monkeypatch):
    """Its content is limited, too, before any of it is read."""
    data = packages.pack(source)
    monkeypatch.setattr(packages, "BYTES_MAX", len(data) + 10)

    with pytest.raises(TooLargeError, match="unpacks to at most"):
        packages.read(data)


def test_a_folder_that_is_there_is_not_touched(source):
    """EEXIST; nothing is left of the attempt."""
    parent = source.folder.parent
    package = packages.read(packages.pack(source))

    with pytest.raises(AlreadyThereError, match="greet is there already"):
        packages.unpack(package, parent)

    assert [each.name for each in parent.iterdir()] == ["greet"]
