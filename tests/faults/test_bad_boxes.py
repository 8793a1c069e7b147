"""A bad CSV of boxes is one line that names the file, the row and what to do."""

from __future__ import annotations

import pytest

from camtrain.data import ImageFolderData
from camtrain.messages import DataError
from tests.data.fake_data import make_image_folder

HEADER = b"path,x0,y0,x1,y1\n"
ROW = b"train/circle/0.png,1,2,30,40\n"
EXPECTED = "expected the header 'path,x0,y0,x1,y1', got "
UTF_8 = "expected a CSV file in UTF-8, got "
FIELDS = "expected comma-separated fields, quotes closed: "


def row(*fields):
    return HEADER + ",".join(["train/circle/0.png", *fields]).encode() + b"\n"


CASES = {
    "empty": (b"", f"line 1: {EXPECTED}''"),
    "blank": (b"\n\n", f"line 1: {EXPECTED}''"),
    "a byte order mark alone": (b"\xef\xbb\xbf", f"line 1: {EXPECTED}''"),
    "header alone": (HEADER, "expected boxes below the header, got none"),
    "semicolons": (
        (HEADER + ROW).replace(b",", b";"),
        f"line 1: {EXPECTED}'path;x0;y0;x1;y1'; it is separated by semi",
    ),
    "tabs": ((HEADER + ROW).replace(b",", b"\t"), "separated by tabs: save it with commas"),
    "other header": (b"image,xmin,ymin,xmax,ymax\n" + ROW, f"line 1: {EXPECTED}'image,xmin"),
    "no header": (ROW, f"line 1: {EXPECTED}'train/circle/0.png,1"),
    "capitals": (b"Path,X0,Y0,X1,Y1\n" + ROW, f"line 1: {EXPECTED}'Path"),
    "missing column": (b"path,x0,y0,x1\n", f"line 1: {EXPECTED}'path,x0,y0,x1'"),
    "one more column": (b"path,x0,y0,x1,y1,label\n" + ROW, f"line 1: {EXPECTED}"),
    "short row": (row("1", "2"), "line 2: expected 5 fields (path,x0,y0,x1,y1), got 3"),
    "long row": (row(*"12345"), "line 2: expected 5 fields (path,x0,y0,x1,y1), got 6"),
    "text": (row("a", "b", "c", "d"), "line 2: expected a number for x0, got 'a'"),
    "nothing": (row("1", "2", "", "4"), "line 2: expected a number for x1, got ''"),
    "NaN": (row("1", "nan", "3", "4"), "line 2: expected a number for y0, got 'nan'"),
    "infinity": (row("1", "2", "inf", "4"), "line 2: expected a number for x1, got 'inf'"),
    "too large for a number": (row("1", "2", "1e400", "4"), "line 2: expected a number for x1, got '1e400'"),
    "hexadecimal": (row("0x1", "2", "3", "4"), "line 2: expected a number for x0, got '0x1'"),
    "underscore": (row("0_1", "2", "3", "4"), "line 2: expected a number for x0, got '0_1'"),
    "percent": (row("10%", "2", "3", "4"), "line 2: expected a number for x0, got '10%'"),
    "decimal comma": (row('"1,5"', "2", "3", "4"), "line 2: expected a number for x0, got '1,5'"),
    "negative": (row("-1", "2", "3", "4"), "line 2: the box (-1, 2, 3, 4) is not inside its image of 48x40 pixels"),
    "outside": (row("1", "2", "49", "4"), "line 2: the box (1, 2, 49, 4) is not inside its image of 48x40 pixels"),
    "reversed": (row("3", "2", "1", "4"), "line 2: expected x0 < x1, got x0=3, x1=1"),
    "upside down": (row("1", "4", "3", "2"), "line 2: expected y0 < y1, got y0=4, y1=2"),
    "no area": (row("1", "2", "1", "4"), "line 2: expected x0 < x1, got x0=1, x1=1"),
    "unknown image": (HEADER + ROW + b"train/circle/99.png,1,2,3,4\n", "line 3: no image 'train/circle/99.png' in "),
    "backslashes": (HEADER + ROW.replace(b"/", b"\\"), "line 2: no image 'train\\\\circle\\\\0.png' in "),
    "outside of the folder": (HEADER + b"../secret.png,1,2,3,4\n", "line 2: no image '../secret.png' in "),
    "absolute": (HEADER + b"/etc/passwd,1,2,3,4\n", "line 2: no image '/etc/passwd' in "),
    "duplicate": (HEADER + ROW + b"\n" + ROW, "line 4: the same box of the same image as in line 2; delete one"),
    "UTF-16": ((HEADER + ROW).decode().encode("utf-16"), f"line 1: {UTF_8}the byte 0xff; save it as CSV in UTF-8"),
    "Latin-1": (HEADER + ROW + "train/k\xe4fer/0.png,1,2,3,4\n".encode("latin-1"), f"line 3: {UTF_8}the byte 0xe4"),
    "a picture": (b"\x89PNG\r\n\x1a\n", f"line 1: {UTF_8}the byte 0x89"),
    "null character": (row("1", "2", "3\0", "4"), f"line 2: {UTF_8}a null character"),
    "very long field": (row("9" * 200_000, "2", "3", "4"), f"line 2: {FIELDS}field larger than field limit"),
    "very long path": (HEADER + b"x" * 50_000 + b",1,2,3,4\n", "line 2: no image 'xxx"),
    "quote not closed": (
        HEADER + ROW + b'"train/circle/1.png,1,2,3,4\n' + ROW,
        f"line 3: {FIELDS}unexpected end of data",
    ),
    "last quote not closed": (row("1", "2", "3", '"4'), f"line 2: {FIELDS}unexpected end of data"),
    "text behind a quote": (row("1", "2", "3", '"4"x'), f"line 2: {FIELDS}"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("boxes")
    make_image_folder(root, images_per_class=2, splits=("train", "val"))
    return root


def data(root):
    return ImageFolderData(str(root / "images"), boxes_csv=str(root / "bad.csv"))


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_one_line(root, case):
    content, expected = CASES[case]
    (root / "bad.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        data(root).setup("fit")
    message = str(caught.value)
    assert expected in message
    assert message.startswith(str(root / "bad.csv"))
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "content", [HEADER + ROW, b"\xef\xbb\xbf" + HEADER + ROW, (HEADER + ROW).replace(b"\n", b"\r\n")]
)
def test_a_good_file_is_read(root, content):
    (root / "bad.csv").write_bytes(content)
    data(root).setup("fit")


def test_a_folder_is_no_file(root):
    with pytest.raises(ValueError, match=r"`boxes_csv`: expected a file, got .*images"):
        ImageFolderData(str(root / "images"), boxes_csv=str(root / "images"))
    (root / "file").touch()
    with pytest.raises(ValueError, match=r"`masks_root`: expected a folder, got .*file"):
        ImageFolderData(str(root / "images"), masks_root=str(root / "file"))
