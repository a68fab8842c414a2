"""No name leads out of the image folder; every name that fails has its reason."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.records import BadItemError, ImageFolder, Reason, SourceError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    root = home / "images"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "in.png").write_bytes(b"inside")
    (home / "secret.png").write_bytes(b"secret")
    (root / "within.png").symlink_to("sub/in.png")
    (root / "out.png").symlink_to(home / "secret.png")
    (root / "outfolder").symlink_to(home)
    (root / "dangling.png").symlink_to("nowhere.png")
    (root / "circle.png").symlink_to("circle.png")
    os.mkfifo(root / "pipe.png")
    return ImageFolder(root)


def reason(folder, name, max_bytes=1000) -> Reason:
    with pytest.raises(BadItemError) as caught:
        folder.read(name, max_bytes)
    return caught.value.reason


@pytest.mark.parametrize("name", ["sub/in.png", "within.png", "./sub/in.png", "sub//in.png"])
def test_files_inside(folder, name):
    assert folder.read(name, 1000) == b"inside"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", Reason.BAD_PATH),
        ("a\0b.png", Reason.BAD_PATH),
        ("x" * 300 + ".png", Reason.BAD_PATH),
        ("circle.png", Reason.BAD_PATH),
        ("/etc/hostname", Reason.ABSOLUTE_PATH),
        ("C:\\pictures\\a.png", Reason.ABSOLUTE_PATH),
        ("../secret.png", Reason.PATH_OUTSIDE),
        ("sub/../sub/in.png", Reason.PATH_OUTSIDE),
        ("out.png", Reason.LINK_OUTSIDE),
        ("outfolder/secret.png", Reason.LINK_OUTSIDE),
        ("none.png", Reason.MISSING_FILE),
        ("dangling.png", Reason.MISSING_FILE),
        ("sub", Reason.MISSING_FILE),
        ("pipe.png", Reason.MISSING_FILE),
        ("sub/in.png/deeper.png", Reason.MISSING_FILE),
        ("http://example.org/a.png", Reason.MISSING_FILE),
    ],
)
def test_names_that_fail(folder, name, expected):
    assert reason(folder, name) == expected


def test_an_absolute_path_is_refused_even_if_it_is_inside(folder):
    assert reason(folder, str(folder.root / "sub/in.png")) == Reason.ABSOLUTE_PATH


def test_too_large(folder):
    assert reason(folder, "sub/in.png", max_bytes=5) == Reason.FILE_TOO_LARGE


def test_unreadable(folder, monkeypatch):
    def deny(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    assert reason(folder, "sub/in.png") == Reason.UNREADABLE_FILE


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder.root)
    assert ImageFolder(tmp_path / "link").read("sub/in.png", 1000) == b"inside"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        ImageFolder(tmp_path / "none")


@pytest.fixture
def cache(folder, tmp_path):
    """The same folder with links into DVC's cache, and two other folders beside it."""
    root = tmp_path / "images"
    root.mkdir()
    for name in ("cache/ab/cd", "cache-of-others", "far"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x").write_bytes(name.encode())
    (root / "cached.png").symlink_to(tmp_path / "cache/ab/cd/x")
    (root / "neighbour.png").symlink_to(tmp_path / "cache-of-others/x")
    (root / "chain.png").symlink_to(tmp_path / "cache/far")
    (tmp_path / "cache/far").symlink_to(tmp_path / "far/x")
    (root / "linked").symlink_to(tmp_path / "cache/ab")
    return root


def test_links_into_an_allowed_root_are_read(cache):
    allowed = ImageFolder(cache, [cache.parent / "cache"])
    assert allowed.read("cached.png", 1000) == b"cache/ab/cd"
    assert allowed.read("linked/cd/x", 1000) == b"cache/ab/cd"
    assert allowed.state("cached.png")
    for name in ("neighbour.png", "chain.png"):  # a similar name; through the cache and out of it
        assert reason(allowed, name) == Reason.LINK_OUTSIDE
    both = ImageFolder(cache, [cache.parent / "cache", str(cache.parent / "far")])
    assert both.read("chain.png", 1000) == b"far"


def test_without_allowed_roots_links_stay_outside(cache):
    found = ImageFolder(cache)
    for name in ("cached.png", "linked/cd/x", "neighbour.png"):
        assert reason(found, name) == Reason.LINK_OUTSIDE


def test_names_never_lead_out_whatever_is_allowed(cache):
    allowed = ImageFolder(cache, [cache.parent])
    assert reason(allowed, "../cache/ab/cd/x") == Reason.PATH_OUTSIDE
    assert reason(allowed, str(cache.parent / "cache/ab/cd/x")) == Reason.ABSOLUTE_PATH
    assert reason(allowed, "linked/../cached.png") == Reason.PATH_OUTSIDE
    assert reason(allowed, "linked") == Reason.MISSING_FILE


def test_an_allowed_root_may_be_a_link(cache):
    (cache.parent / "link").symlink_to(cache.parent / "cache")
    assert ImageFolder(cache, [cache.parent / "link"]).read("cached.png", 99) == b"cache/ab/cd"


@pytest.mark.parametrize("root", ["none", "images/cached.png", "/"])
def test_allowed_roots_that_are_none(cache, root):
    with pytest.raises(SourceError, match="allowed root"):
        ImageFolder(cache, [cache.parent / root])


parts = st.sampled_from(
    ["..", ".", "", "sub", "in.png", "outfolder", "secret.png", "/", "~", "%2e"]
)


@given(st.lists(parts, max_size=6).map("/".join))
def test_the_secret_is_never_read(folder, name):
    with contextlib.suppress(BadItemError):
        assert folder.read(name, 1000) == b"inside"
