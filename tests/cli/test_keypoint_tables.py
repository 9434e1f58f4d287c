"""Tables of keypoints as CSV and as Parquet."""

import csv
import json
import sys

import pytest
from calls import call
from PIL import Image
from saved_networks import saved_two_convolutions

from p2net_tf.cli import keypoint_tables
from p2net_tf.cli.keypoint_tables import open_table
from p2net_tf.utils.exceptions import UserError

COLUMNS = {"frame": int, "time": float, "keypoint": str, "x": float}
ROWS = [(0, 0.0, "nose", 1.23456), (1, 1 / 3, "left, eye", -2.0), (2, 2 / 3, "nose", 3e5)]


def written(path, rows=ROWS):
    with open_table(path, COLUMNS) as add:
        add(rows[:2])
        add(row for row in rows[2:])
    return path


def test_a_csv_has_the_digits_of_its_columns(tmp_path):
    assert list(csv.reader(written(tmp_path / "t.csv").open())) == [
        ["frame", "time", "keypoint", "x"],
        ["0", "0.000000", "nose", "1.235"],
        ["1", "0.333333", "left, eye", "-2.000"],
        ["2", "0.666667", "nose", "300000.000"],
    ]


@pytest.mark.parametrize("rows", [ROWS, []], ids=["some", "none"])
@pytest.mark.parametrize("group", [1, 50_000])
def test_a_parquet_file_has_the_numbers_and_their_types(tmp_path, monkeypatch, rows, group):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow, the extra 'parquet', is not installed")
    monkeypatch.setattr(keypoint_tables, "_GROUP", group)
    table = parquet.read_table(written(tmp_path / "t.parquet", rows))
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "string", "double"]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(UserError, match=r"pip install 'p2net_tf\[parquet\]'"),
        open_table(tmp_path / "t.parquet", COLUMNS),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_pictures_have_a_table_too(tmp_path, suffix):
    """With the keypoints of predictions.json, where COCO counts the middles of pixels as whole numbers."""
    saved_two_convolutions(tmp_path / "net.keras")
    Image.effect_noise((80, 60), 90).convert("RGB").save(tmp_path / "noise.png")
    out = tmp_path / "out"
    boxes = ("--boxes", "10,10,40,40")
    call(
        "predict",
        tmp_path / "noise.png",
        "--model",
        tmp_path / "net.keras",
        *boxes,
        "--table",
        suffix,
        "--out",
        out,
    )
    if suffix == "csv":
        rows = list(csv.DictReader((out / "keypoints.csv").open()))
    else:
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        rows = parquet.read_table(out / "keypoints.parquet").to_pylist()
    entry = json.loads((out / "predictions.json").read_text())[0]
    assert [(row["file_name"], row["image_id"], int(row["person"])) for row in rows] == [
        ("noise.png", "1", 0)
    ] * 17
    found = [[float(row["x"]) - 0.5, float(row["y"]) - 0.5] for row in rows]
    expected = [entry["keypoints"][3 * k : 3 * k + 2] for k in range(17)]
    assert found == [pytest.approx(place, abs=2e-3) for place in expected]
