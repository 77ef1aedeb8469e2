"""A module in one file: the same every time."""

import pytest

from mgr.authoring import package as packages
from mgr.authoring.scaffold import AlreadyThereError, create_module
from mgr.authoring.source import ModuleSource
from mgr.errors import InvalidArgumentError, TooLargeError
from mgr.host.module_archive import read


@pytest.fixture
def source(tmp_path):
    return ModuleSource.at(create_module("greet", tmp_path / "from"))


def test_the_same_files_make_the_same_package(source, tmp_path):
    """Caches and hidden files do not belong to it; what is unpacked is packed the same again."""
    data = packages.pack(source)
    (source.folder / "__pycache__").mkdir()
    (source.folder / "__pycache__/x.pyc").write_bytes(b"x")
    (source.folder / ".git").touch()
    (tmp_path / "to").mkdir()

    package = read(data)
    folder = packages.unpack(package, tmp_path / "to")

    assert packages.pack(source) == data
    assert folder == tmp_path / "to/greet"
    assert packages.pack(ModuleSource.at(folder)) == data
    assert read(data, digest=f"sha256:{package.digest}") == package


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


def test_a_folder_that_is_there_is_not_touched(source):
    """EEXIST; nothing is left of the attempt."""
    parent = source.folder.parent
    package = read(packages.pack(source))

    with pytest.raises(AlreadyThereError, match="greet is there already"):
        packages.unpack(package, parent)

    assert [each.name for each in parent.iterdir()] == ["greet"]
