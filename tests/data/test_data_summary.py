from __future__ import annotations

import torch
from torch.utils.data import Subset

from camtrain.data import DecoyDigits, Waterbirds
from camtrain.data.data_summary import SplitCounts, split_counts, summary_table
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.in_memory_samples import InMemorySamples
from tests.data.object_trees import make_waterbirds

FILES = [
    ImageFile("a", 0, boxes=((0, 0, 1, 1), (1, 1, 2, 2)), classes=(0, 2)),
    ImageFile("b", 1, mask="m"),
    ImageFile("c", 0, boxes=((0, 0, 1, 1),), mask="m"),
    ImageFile("d", 0),
]


def test_files_are_counted_and_not_read():
    counts = split_counts(ImageFileSamples(FILES, has_boxes=True, has_masks=True))
    assert counts == SplitCounts(4, {0: 3, 1: 1}, boxes=4, boxed=3, masked=2)
    assert split_counts(ImageFileSamples(FILES)) == SplitCounts(4, {0: 3, 1: 1})
    assert split_counts(ImageFileSamples(FILES, num_classes=3)).of_class == {0: 3, 1: 1, 2: 1}
    part = Subset(ImageFileSamples(FILES, has_boxes=True), [1, 3])
    assert split_counts(part) == SplitCounts(2, {0: 1, 1: 1}, boxes=1, boxed=1)
    assert split_counts(part, annotated=[1]).boxes == 0


def test_samples_in_memory_and_of_ones_own():
    images, labels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 1])
    with_boxes = InMemorySamples(images, labels, boxes=torch.zeros(4, 4))
    assert split_counts(with_boxes) == SplitCounts(4, {0: 1, 1: 3}, boxes=4, boxed=4)
    assert split_counts([{"image": images[0], "label": 1}]) == SplitCounts(1)


def test_groups_that_a_split_lacks_are_named(tmp_path):
    make_waterbirds(tmp_path)
    table = tmp_path / "metadata.csv"
    lines = [line for line in table.read_text().splitlines() if ",1,1,0," not in line]  # class 1, val, place 0
    table.write_text("\n".join(lines))
    told = Waterbirds(str(tmp_path), image_size=8).summary()
    assert told.splitlines()[-1] == "val has no image of '1, place 0'"
    assert " ".join(told.split()).count("2 of '0, place 0', 2 of '0, place 1', 2 of '1, place") == 3
    assert "\nval has 2 of '0, place 0', 2 of '0, place 1', 2 of '1, place 1'\n" in told
    assert "test     8         2 of 2     –" in told


def test_many_missing_classes_are_counted():
    told = summary_table({"val": SplitCounts(1, {0: 1})}, [str(index) for index in range(9)])
    assert told.splitlines()[-1] == "val has no image of '1', '2', '3', '4', '5' and 3 more"


def test_a_summary_of_embedded_data():
    assert "10 of 10" in DecoyDigits().summary(["val"])
