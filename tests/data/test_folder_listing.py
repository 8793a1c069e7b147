"""A listing says the same of each file as looking the file up does."""

from __future__ import annotations

from pathlib import Path

import pytest

from camtrain.data.folder_listing import FolderListing

FILES = ["b.PNG", "a.webp", "deep/er/c.jpeg", "notes.txt", ".hidden.png", ".cache/d.png", "no_extension", "raw.CR2"]


@pytest.fixture
def folder(tmp_path):
    for name in [*FILES, "linked/e.png", "full.png/f.png"]:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).touch()
    (tmp_path / "folder" / "linked").rename(tmp_path / "elsewhere")
    (tmp_path / "folder" / "empty.png").mkdir()
    (tmp_path / "folder" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "folder" / "link.png").symlink_to(tmp_path / "folder" / "a.webp")
    (tmp_path / "folder" / "deep" / "to_folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder" / "deep" / "around").symlink_to(tmp_path / "folder")
    return tmp_path / "folder"


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_images_are_the_visible_ones_below_a_folder(folder):
    expected = ["a.webp", "b.PNG", "deep/er/c.jpeg", "full.png/f.png", "link.png"]
    assert names(FolderListing(folder).images(), folder) == expected


def test_arrays_are_images_if_they_are_said_to_be(folder):
    (folder / "array.npy").touch()
    assert folder / "array.npy" in FolderListing(folder, arrays=True).images()
    assert folder / "array.npy" in FolderListing(folder).other_files()


def test_what_has_the_name_of_an_image_and_is_none(folder):
    assert names(FolderListing(folder).no_images(), folder) == ["empty.png", "gone.jpg"]


def test_files_of_other_types(folder):
    assert names(FolderListing(folder).other_files(), folder) == ["no_extension", "raw.CR2"]


def test_links_to_folders_are_named_and_not_followed(folder):
    assert names(FolderListing(folder).linked_folders(), folder) == ["deep/around", "deep/to_folder"]


def test_paths_are_in_the_order_of_their_folders_and_names(folder):
    for name in ("a-b.png", "a/z.png", "a0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    found = FolderListing(folder).images()
    assert found == sorted(found)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FolderListing(tmp_path / "nowhere")
