"""Small parquet files that expand: refused within bounded memory, and real data still pass."""

import os
import random
import resource
import subprocess
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diysink.records import BadItemError, Reason, SourceError, check_item, open_source
from diysink.records.parquet import ParquetLimits, parquet_rows

MIB = 2**20
TURNS = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
SMALL = ParquetLimits(memory=96 * MIB, piece=4 * MIB, row=16 * MIB, elements=10_000, total=64 * MIB)


def turns(rows: int, text: str = "ho") -> pa.Array:
    said = [{"from": "human", "value": "<image>\nhi"}, {"from": "gpt", "value": text}]
    return pa.array([said] * rows, TURNS)


def repeated(value: Any, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([value]))


def ids(rows: int) -> pa.Array:
    return pa.array([str(n) for n in range(rows)])


def nulls_in_one_row(count: int, kind: pa.DataType) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array([0, count], pa.int64()), pa.nulls(count, kind))


def deep(levels: int) -> pa.Array:
    array = pa.array([1])
    for _ in range(levels):
        array = pa.StructArray.from_arrays([array], ["a"])
    return array


BOMBS = {
    "one text, in every row": lambda: {
        "id": ids(64), "conversations": turns(64), "subtask": repeated("x" * 10 * MIB, 64)
    },
    "one image, in every row": lambda: {
        "id": ids(64), "conversations": turns(64), "image": repeated(b"x" * 10 * MIB, 64)
    },
    "one page that compresses well": lambda: {
        "id": ids(1), "conversations": turns(1, "x" * 200 * MIB)
    },
    "one row of many nulls": lambda: {
        "id": ids(1), "conversations": turns(1), "image": nulls_in_one_row(60_000_000, pa.int8())
    },
    "one row of many nulls of no type": lambda: {
        "id": ids(1), "conversations": turns(1), "image": nulls_in_one_row(2_000_000, pa.null())
    },
    "one row of many turns": lambda: {
        "id": ids(1),
        "conversations": pa.ListArray.from_arrays(
            pa.array([0, 100_000], pa.int32()), pa.nulls(100_000, TURNS.value_type)
        ),
    },
    "long texts that differ in a letter": lambda: {
        "id": pa.array([f"{'y' * MIB}{n}" for n in range(100)]), "conversations": turns(100)
    },
    "structs in structs": lambda: {"id": ids(1), "conversations": turns(1), "image": deep(40)},
    "a fixed-size list of many": lambda: {
        "id": ids(1),
        "conversations": turns(1),
        "image": pa.FixedSizeListArray.from_arrays(pa.nulls(500_000, pa.int8()), 500_000),
    },
    "a video in every row": lambda: {
        "id": ids(1), "conversations": turns(1), "video": nulls_in_one_row(60_000_000, pa.int8())
    },
}  # fmt: skip


def write(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path, compression="zstd")
    return path


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_expands_is_refused_with_its_name(tmp_path, name):
    path = tmp_path / "bomb.parquet"
    table = pa.table(BOMBS[name]())
    delta = {"id": "DELTA_BYTE_ARRAY"} if "differ" in name else None
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=delta is None,
        column_encoding=delta,
    )
    assert path.stat().st_size < 300_000
    sizes: list[int] = []
    with pytest.raises(SourceError) as caught:
        sizes.extend(
            sum(len(v) for v in row.values() if isinstance(v, str | bytes))
            for row in parquet_rows(path, SMALL)
        )
    assert str(path) in str(caught.value)
    assert len(sizes) < 64
    assert sum(sizes) <= 64 * MIB
    assert len(str(caught.value)) < 600


def test_the_real_limits_hold_in_the_real_place(tmp_path):
    rows = 64
    columns = {"id": ids(rows), "conversations": turns(rows)}
    columns["subtask"] = repeated("x" * 50 * MIB, rows)
    path = write(tmp_path / "bomb.parquet", columns)
    del columns
    assert path.stat().st_size < 10_000  # and 3.4 GB
    code = (
        "import resource, sys\n"  # the peaks of both processes, in kB
        "from diysink.records import SourceError, open_source\n"
        "try:\n"
        "    print(sum(1 for _ in open_source(sys.argv[1], '/tmp').items()))\n"
        "except SourceError as error:\n"
        "    own = open('/proc/self/status').read().split('VmHWM:')[1].split()[0]\n"
        "    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "    print(error, int(own) + worker)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert str(path) in done.stdout
    assert int(done.stdout.split()[-1]) * 1024 < 1.5e9


def test_rows_that_are_nothing_stop_the_intake(tmp_path, monkeypatch):
    from diysink.artifact import Workspace
    from diysink.records import intake, take_in

    monkeypatch.setattr(intake, "MAX_REJECTIONS", 5000)
    rows = 1_000_000
    nothing = {"id": pa.nulls(rows, pa.string()), "conversations": pa.nulls(rows, TURNS)}
    path = write(tmp_path / "a.parquet", nothing)
    with pytest.raises(SourceError, match=r"5\d\d\d of the first .*missing_id"):
        take_in(open_source(path, tmp_path), Workspace(tmp_path, "prepare", {}), "train")


def test_large_images_in_parquet_pass(tmp_path):
    draw = np.random.default_rng(0)
    images = [draw.bytes(2 * MIB) for _ in range(64)]
    path = tmp_path / "a.parquet"
    columns = {"id": ids(64), "conversations": turns(64), "image": images}
    pq.write_table(pa.table(columns), path)  # all in one page, as pyarrow does
    found = list(open_source(path, tmp_path).items())
    assert [row["image"] for row in found] == images
    # With little memory, fewer rows are read at a time; none is lost or read twice.
    tight = ParquetLimits(memory=200 * MIB, piece=8 * MIB, total=2**30)
    pq.write_table(pa.table(columns), path, row_group_size=40, use_dictionary=False)
    assert [(row["id"], row["image"]) for row in parquet_rows(path, tight)] == [
        (str(n), image) for n, image in enumerate(images)
    ]


def test_a_text_of_a_megabyte_passes(tmp_path):
    path = write(tmp_path / "a.parquet", {"id": ids(3), "conversations": turns(3, "é" * 2**19)})
    found = list(open_source(path, tmp_path).items())
    assert [len(row["conversations"][1]["value"]) for row in found] == [2**19] * 3


def test_columns_with_dictionaries_and_views_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {
        "id": ids(3).cast(pa.string_view()),
        "conversations": turns(3),
        "group": repeated("local", 3),
        "image": pa.array([b"a", None, b"c"]).cast(pa.binary_view()),
    }
    pq.write_table(pa.table(columns), path)
    assert [(r["id"], r["group"], r["image"]) for r in open_source(path, tmp_path).items()] == [
        ("0", "local", b"a"),
        ("1", "local", None),
        ("2", "local", b"c"),
    ]


def outcomes(path: Path) -> list[str | None]:
    found: list[str | None] = []
    for row in open_source(path, path.parent).items():
        try:
            check_item(row)
            found.append(None)
        except BadItemError as error:
            found.append(str(error.reason))
    return found


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("video", ["a.mp4", None, ""]),
        ("images", [b"\0\0", None, b""]),
        ("Audio_Path", [["a.mp4"], None, []]),
        ("video", [{"bytes": b"x", "path": None}, None, {"bytes": b"", "path": ""}]),
        ("images", [3, None, None]),
        ("Audio_Path", [0.5, None, float("nan")]),
    ],
)
def test_columns_of_other_media_are_noticed(tmp_path, key, values):
    path = tmp_path / "a.parquet"
    columns = {"id": ids(3), "conversations": turns(3), "image": ["a.png"] * 3, key: values}
    pq.write_table(pa.table(columns | {"model": ["x"] * 3}), path)
    assert outcomes(path) == ["unknown_content", None, None]


def test_a_text_that_is_not_utf8_is_one_bad_item(tmp_path):
    raw = pa.array([b"a", b"\xff\xfe", b"c"])
    bad = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    path = tmp_path / "a.parquet"
    columns = {"id": ids(3), "conversations": turns(3), "image": ["a.png"] * 3}
    pq.write_table(pa.table(columns | {"subtask": bad}), path)
    assert outcomes(path) == [None, "bad_text", None]
    pq.write_table(pa.table(columns | {"id": bad}), path)
    assert outcomes(path) == [None, "bad_text", None]
    said = pa.StructArray.from_arrays([pa.array(["human"] * 3), bad], ["from", "value"])
    listed = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), said)
    pq.write_table(pa.table(columns | {"conversations": listed}), path)
    assert outcomes(path)[1] == "bad_text"


@pytest.mark.parametrize(
    "value", [datetime(2020, 1, 1), Decimal("1.5"), True, date(2020, 1, 1), 1.5, timedelta(days=1)]
)
def test_columns_of_odd_types_are_bad_items(tmp_path, value):
    path = tmp_path / "a.parquet"
    columns = {"id": [value], "conversations": turns(1)}
    pq.write_table(pa.table(columns), path)
    assert outcomes(path) == [str(Reason.WRONG_TYPE)]


def test_a_map_in_place_of_turns_is_another_shape(tmp_path):
    path = tmp_path / "a.parquet"
    kind = pa.map_(pa.string(), pa.string())
    pq.write_table(pa.table({"id": ["a"], "conversations": pa.array([[("a", "b")]], kind)}), path)
    with pytest.raises(SourceError, match="conversations"):
        list(open_source(path, tmp_path).items())


def test_damaged_files_give_rows_or_name_the_file(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ids(50), "conversations": turns(50)}), path)
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(8):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(4, len(data))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            for row in parquet_rows(path):
                assert set(row) >= {"id"}
        except SourceError as error:
            message = str(error)
        else:
            message = str(path)
        assert str(path) in message


def test_whoever_stops_reading_leaves_no_process(tmp_path):
    path = write(tmp_path / "a.parquet", {"id": ids(200), "conversations": turns(200, "x" * 10**6)})
    rows = parquet_rows(path)
    next(rows)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    rows.close()
    assert children
    left = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert len(left) < len(children)


def test_a_reader_that_dies_names_the_file(tmp_path, monkeypatch):
    from diysink.records import parquet

    worker = tmp_path / "parquet_worker.py"
    worker.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(parquet, "__file__", str(tmp_path / "parquet.py"))
    path = write(tmp_path / "a.parquet", {"id": ids(1), "conversations": turns(1)})
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with pytest.raises(SourceError, match=r"a\.parquet.*-6"):
        list(parquet_rows(path))


def test_other_limits_of_memory_are_left_alone(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_AS)
    path = write(tmp_path / "a.parquet", {"id": ids(1), "conversations": turns(1)})
    assert [row["id"] for row in parquet_rows(path)] == ["0"]
    assert resource.getrlimit(resource.RLIMIT_AS) == before
