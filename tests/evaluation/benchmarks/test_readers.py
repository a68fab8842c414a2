"""Rows of published files: in any order, the same in any format; what is hostile is refused."""

import json
import os
import pickle
import zipfile
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.evaluation.benchmarks.readers import (
    Delimited,
    Images,
    JSONFile,
    JSONLines,
    ParquetRows,
    Storage,
    StoredFile,
    embedded,
    json_file,
    open_rows,
    storage,
)
from diysink.records import BadItemError, Reason, SourceError
from diysink.records import parquet as records_parquet
from diysink.records.parquet import ParquetLimits
from tests.evaluation.benchmarks.samples import b64, delimited, image, lines, parquet, png, put

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ROWS = st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), min_size=1, max_size=5)


def file_of(path):
    return StoredFile(path)


@given(ROWS, st.randoms())
@settings(max_examples=25, deadline=None)
def test_texts_come_back_in_any_order(tmp_path_factory, rows, random):
    folder = tmp_path_factory.mktemp("rows")
    put(folder / "list.json", json.dumps(rows, ensure_ascii=False))
    put(folder / "within.json", {"info": [1, {"a": "]}"}], "rows": rows, "after": 1})
    put(folder / "object.json", {f'"{n}\u00e9': row for n, row in enumerate(rows)})
    readers = [
        JSONLines(file_of(lines(folder / "a.jsonl", rows))),
        JSONFile(file_of(folder / "list.json")),
        JSONFile(file_of(folder / "within.json"), within="rows"),
        JSONFile(file_of(folder / "object.json")),
    ]
    # CSV has no way to tell a lone carriage return in a value from the end of a line.
    if not any("\r" in text for row in rows for text in row.values()):
        readers.append(Delimited(file_of(delimited(folder / "a.tsv", rows))))
        readers.append(Delimited(file_of(delimited(folder / "a.csv", rows, ",")), ","))
    order = random.sample(range(len(rows)), len(rows))
    for reader in readers:
        assert len(reader) == len(rows)
        assert [reader[number] for number in order] == [rows[number] for number in order]


def test_parquet_comes_back_in_any_order_from_any_shard(tmp_path):
    rows = [{"n": number, "image": image(number)} for number in range(13)]
    parquet(tmp_path / "part/a-0.parquet", rows[:5], row_group=2)
    parquet(tmp_path / "part/a-1.parquet", rows[5:], row_group=3)
    reader = open_rows(Storage(tmp_path).find("a-*.parquet"))
    assert [reader[number]["n"] for number in range(13)] == list(range(13))
    assert [reader[number]["n"] for number in (12, 0, 6, 5, 4)] == [12, 0, 6, 5, 4]
    assert embedded(reader[7]["image"]).data == png(7)
    assert reader.only("n")[3] == {"n": 3}
    with pytest.raises(IndexError):
        reader[13]


def test_keys_and_what_is_kept(tmp_path):
    path = put(tmp_path / "a.json", {"x": {"n": 1}, "y": {"n": 2}, "z": {"n": 3}})
    seen = {}
    reader = JSONFile(
        file_of(path),
        key="id",
        keep=lambda row: row["n"] != 2,
        see=lambda row, number: seen.update({row["id"]: number}),
    )
    assert [reader[number] for number in (1, 0)] == [{"id": "z", "n": 3}, {"id": "x", "n": 1}]
    assert seen == {"x": 0, "z": 1}


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_pieces_of_any_size(tmp_path, piece, monkeypatch):
    """Numbers, escapes and characters of several bytes that a piece cuts in two."""
    rows = [{"a": 1.25e10, "b": 'caf\u00e9 \\" ]}'}, {"a": -17}, {"a": [1234567, {"b": None}]}]
    path = put(tmp_path / "a.json", "\ufeff" + json.dumps(rows, ensure_ascii=False, indent=1))
    monkeypatch.setattr(json_file, "PIECE", piece)
    reader = JSONFile(file_of(path))
    assert [reader[number] for number in range(3)] == rows
    path = put(tmp_path / "b.json", {"year": 12345, "share": -1.5e10, "rows": rows})
    reader = JSONFile(file_of(path), within="rows")
    assert [reader[number] for number in range(3)] == rows


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[1]",
        "[{}",
        "[{},]",
        "[{} {}]",
        '{"a": {}',
        '{"a" {}}',
        "{1: {}}",
        "null",
        '[{"a": tru}]',
        b'[{"a": "\xff"}]',
        "[" * 5000,
        '[{"a": ' + "1" * 5000 + "}]",
    ],
)
def test_json_that_is_broken_or_empty_is_refused(tmp_path, content):
    with pytest.raises(SourceError):
        JSONFile(file_of(put(tmp_path / "a.json", content)))


def test_json_without_what_it_must_hold_is_refused(tmp_path):
    for content in ('{"info": 1}', "[{}]", '{"rows": 1}'):
        with pytest.raises(SourceError):
            JSONFile(file_of(put(tmp_path / "a.json", content)), within="rows")


def test_an_entry_without_end_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "PIECE", 64)
    monkeypatch.setattr(json_file, "LONGEST", 1000)
    path = put(tmp_path / "a.json", '[{"a": "' + "x" * 100_000)
    with pytest.raises(SourceError, match="more than 1000 characters"):
        JSONFile(file_of(path))


@pytest.mark.parametrize("content", ["", "\n\n", "a\tb\n", "[1]\n", "{\n"])
def test_lines_that_are_no_rows_are_refused(tmp_path, content):
    path = put(tmp_path / "a.txt", content)
    if content.startswith("a"):
        with pytest.raises(SourceError, match="empty"):
            Delimited(file_of(path))
        return
    with pytest.raises(SourceError):
        JSONLines(file_of(path))[0]


def test_a_line_that_is_too_long_is_refused(tmp_path):
    path = put(tmp_path / "a.tsv", "a\tb\n" + "x" * 500 + "\ty\n1\t2\n")
    assert Delimited(file_of(path), longest=503)[1] == {"a": "1", "b": "2"}
    with pytest.raises(SourceError, match="more than 500 bytes"):
        Delimited(file_of(path), longest=500)
    endless = put(tmp_path / "b.tsv", 'a\n"' + "x\n" * 500)  # a quote that is never closed
    with pytest.raises(SourceError, match="more than 500 bytes"):
        Delimited(file_of(endless), longest=500)


def test_a_value_longer_than_the_csv_module_takes_by_itself(tmp_path):
    long = "x" * 200_000
    assert Delimited(file_of(delimited(tmp_path / "a.tsv", [{"a": long}])))[0] == {"a": long}


@pytest.mark.parametrize("line", ["1", "1\t2\t3", '"1"x\t2', "\udcff\t2"])
def test_a_row_of_another_shape_is_named(tmp_path, line):
    path = tmp_path / "a.tsv"
    path.write_bytes(f"a\tb\n1\t2\n{line}\n".encode(errors="surrogateescape"))
    reader = Delimited(file_of(path))
    assert reader[0] == {"a": "1", "b": "2"}
    with pytest.raises(SourceError):
        reader[1]


def test_parquet_that_is_none_or_empty_is_refused(tmp_path):
    with pytest.raises(SourceError, match="not readable as parquet"):
        ParquetRows([file_of(put(tmp_path / "a.parquet", b"PAR1nothingPAR1"))])
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="empty"):
        ParquetRows([file_of(tmp_path / "b.parquet")])


def test_a_parquet_bomb_is_refused(tmp_path, monkeypatch):
    path = parquet(tmp_path / "a.parquet", [{"a": "short"}, {"a": "x" * 100_000}])
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(
        records_parquet, "ParquetLimits", partial(ParquetLimits, row=50_000, piece=50_000)
    )
    reader = ParquetRows([file_of(path)])
    assert reader[0] == {"a": "short"}
    with pytest.raises(SourceError, match="row 1: this row alone"):
        reader[1]


def test_a_zip_bomb_is_refused_and_nothing_is_written_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LARGEST", 10_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("val.json", "[" + " " * 10_000_000 + "{}]")
        archive.writestr("../outside.json", "[{}]")
        archive.writestr("/absolute.json", "[{}]")
    place = Storage(tmp_path)
    with pytest.raises(SourceError, match="at most"):
        open_rows(place.find("val.json"))
    assert place.find("outside.json") == place.find("absolute.json") == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_broken_or_encrypted_archive_is_named(tmp_path):
    put(tmp_path / "a.zip", b"PK\x03\x04 nothing")
    with pytest.raises(SourceError, match=r"a\.zip"):
        Storage(tmp_path).find("val.json")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("val.json", json.dumps([{"a": 1}] * 100))
    whole = (tmp_path / "a.zip").read_bytes()
    assert len(open_rows(Storage(tmp_path).find("val.json"))) == 100
    at = whole.index(b'{"a": 1}')
    put(tmp_path / "a.zip", whole[:at] + b"{x" + whole[at + 2 :])  # its checksum is wrong now
    with pytest.raises(SourceError, match="damaged"):
        open_rows(Storage(tmp_path).find("val.json"))
    flags = whole.index(b"PK\x01\x02") + 8
    put(tmp_path / "a.zip", whole[:flags] + b"\x01" + whole[flags + 1 :])
    with pytest.raises(SourceError, match="encrypted"):
        open_rows(Storage(tmp_path).find("val.json"))


def test_pickled_files_are_never_read(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    for name in ("a.pkl", "a.pt", "a.npy"):
        with pytest.raises(SourceError, match="pickled"):
            open_rows([file_of(put(tmp_path / name, pickle.dumps(Harm())))])
    assert not (tmp_path / "harm").exists()


def test_one_image_is_the_same_in_every_form(tmp_path):
    put(tmp_path / "images/a.png", png(1))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("images/b.png", png(1))
        archive.writestr("c.png", png(1))
    images = Images(Storage(tmp_path), "images", ".")
    found = [
        embedded(form) for form in (png(1), image(1), b64(1), b64(1)[:40] + "\n" + b64(1)[40:])
    ]
    found += [images.read(name) for name in ("a.png", "images/a.png", "b.png", "c.png")]
    assert {(each.sha256, each.width, each.height) for each in found} == {(found[0].sha256, 6, 4)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../secret.png", Reason.PATH_OUTSIDE),
        ("a/../../secret.png", Reason.PATH_OUTSIDE),
        ("/etc/passwd", Reason.ABSOLUTE_PATH),
        ("C:\\secret.png", Reason.ABSOLUTE_PATH),
        ("link.png", Reason.LINK_OUTSIDE),
        ("", Reason.BAD_PATH),
        ("none.png", Reason.MISSING_FILE),
        ("broken.png", Reason.BROKEN_IMAGE),
        ("packed-broken.png", Reason.BROKEN_IMAGE),
        ("text.png", Reason.NOT_AN_IMAGE),
        ("empty.png", Reason.EMPTY_FILE),
    ],
)
def test_an_image_that_is_outside_missing_or_broken_is_refused(tmp_path, name, reason):
    folder = tmp_path / "benchmark"
    put(tmp_path / "secret.png", png(1))
    put(folder / "images/broken.png", png(1)[:45])
    put(folder / "images/text.png", "hello")
    put(folder / "images/empty.png", b"")
    (folder / "images/link.png").symlink_to(tmp_path / "secret.png")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("../secret.png", png(1))
        archive.writestr("packed-broken.png", png(1)[:45])
    with pytest.raises(BadItemError) as error:
        Images(Storage(folder), "images").read(name)
    assert error.value.reason == reason


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png"])
def test_a_name_that_leads_out_is_not_looked_for_in_an_archive(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr(name, png(1))
    with pytest.raises(BadItemError) as error:
        Images(Storage(tmp_path), "images").read(name)
    assert error.value.reason in (Reason.PATH_OUTSIDE, Reason.ABSOLUTE_PATH)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.WRONG_TYPE),
        (7, Reason.WRONG_TYPE),
        ({"bytes": None, "path": "/etc/passwd"}, Reason.WRONG_TYPE),
        ("images/a.png", Reason.NOT_AN_IMAGE),
        ("aGVsbG8=", Reason.NOT_AN_IMAGE),
        ("!" * (90 * 2**20), Reason.FILE_TOO_LARGE),
    ],
)
def test_what_is_no_image_is_refused(value, reason):
    with pytest.raises(BadItemError) as error:
        embedded(value)
    assert error.value.reason == reason


def test_an_image_in_an_archive_is_held_to_the_limit_of_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * (65 * 2**20))
    with pytest.raises(BadItemError, match="at most"):
        Images(Storage(tmp_path), ".").read("a.png")
