from __future__ import annotations

import pytest

from camtrain.data import Waterbirds
from camtrain.messages import DataError
from tests.data.object_trees import make_waterbirds

HEADER = "img_id,img_filename,y,split,place,place_filename\n"


@pytest.fixture
def root(tmp_path):
    make_waterbirds(tmp_path)
    return tmp_path


def test_classes_splits_and_groups(root):
    data = Waterbirds(str(root), class_names=["landbird", "waterbird"], image_size=16, batch_size=8)
    assert data.class_names == ["landbird", "waterbird"]
    assert data.group_names == [
        "landbird, place 0", "landbird, place 1", "waterbird, place 0", "waterbird, place 1"
    ]  # fmt: skip
    for number, split in enumerate(("train", "val", "test")):
        names = [file.path.relative_to(root).as_posix() for file in data.samples(split).files]
        assert len(names) == 8
        assert all(name.split("/")[1].startswith(f"{number}_") for name in names)
    (batch,) = data.val_dataloader()
    assert batch.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert batch.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.to("cpu").groups.tolist() == batch.groups.tolist()
    assert batch.subset([5, 2]).groups.tolist() == [2, 1]


def test_a_table_of_ones_own(root):
    rows = ["file,breed,camera,part", "0/0_0_0.png,pug,10,train", "0/0_0_1.png,boxer,9,val", "1/0_0_0.png,pug,9,test"]
    (root / "images.csv").write_text("\n".join(rows))
    names = {"path_column": "file", "class_column": "breed", "split_column": "part"}
    data = Waterbirds(str(root), "images.csv", **names, group_column="camera")
    assert data.class_names == ["boxer", "pug"]
    assert data.group_names == ["boxer, camera 9", "boxer, camera 10", "pug, camera 9", "pug, camera 10"]
    assert data.samples("train")[0]["group"] == 3
    plain = Waterbirds(str(root), "images.csv", **names, group_column=None)
    assert plain.group_names is None
    assert "group" not in plain.samples("train")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: the column 'img_filename' of `path_column` is not there"),
        ("img_filename,y,splt,place\n", "the column 'split' of `split_column` is not there; did you mean 'splt'?"),
        ("img_filename,y,split,place,y\n", "the column 'y' of `class_column` is twice"),
        (HEADER, "expected images below the header, got none"),
        (HEADER + "1,a.png,0,0\n", "line 2: expected 6 fields, got 4"),
        (HEADER + "1,a.png,0,0,,x\n", "line 2: expected a value for 'place', got none"),
        (HEADER + "1,a.png,0,3,1,x\n", "line 2: expected a split of 0, 1, 2, train, val, test, got '3'"),
        (HEADER + "1,a.png,0,0,1,x\n2,a.png,0,1,1,x\n", "line 3: the same image as in line 2: 'a.png'"),
        (HEADER + '1,"a.png,0,0,1,x\n', "unexpected end of data"),
    ],
)
def test_a_bad_table_is_named(root, content, message):
    (root / "metadata.csv").write_text(content)
    with pytest.raises(DataError, match=f"metadata.csv: .*{message}") as caught:
        Waterbirds(str(root))
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"`root`: expected the table .*other.csv, which does not exist"):
        Waterbirds(str(root), "other.csv")
    with pytest.raises(ValueError, match="`class_names`: expected a name for each of the 2 classes 0, 1, got bird"):
        Waterbirds(str(root), class_names=["bird"])
    (root / "0" / "2_0_0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such image: .*2_0_0.png"):
        Waterbirds(str(root)).samples("test")[0]
