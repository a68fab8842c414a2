"""Shards: what was written is what is read, at random, in order, in another process, every time."""

import pickle
import random
from multiprocessing import get_context

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.artifact import BrokenFolderError
from diysink.records import ROW_GROUP, SCHEMA, ImageFile, Record, Records, Turn, write_shards
from diysink.records.place import Folder


@pytest.fixture(scope="module")
def written(tmp_path_factory, picture):
    red, blue = ImageFile.of(picture("red")), ImageFile.of(picture("blue"))
    records = [
        Record(
            f"id-{number}",
            ((), (red,), (red, blue))[number % 3],
            (Turn("human", f"q{number} 漢\0"), Turn("gpt", "a")) if number % 5 else (),
            (None, "local")[number % 2],
            (None, "colour")[number % 2],
        )
        for number in range(150)
    ]
    folder = tmp_path_factory.mktemp("records") / "train"
    write_shards(folder, records, records_per_shard=70)
    return folder, records


def test_at_random_and_in_order(written):
    folder, expected = written
    records = Records(folder, row_groups=1)
    assert len(records) == 150
    assert list(records) == expected
    order = random.Random(0).sample(range(-150, 150), 300)
    assert [records[i] for i in order] == [expected[i] for i in order]
    for outside in (150, -151):
        with pytest.raises(IndexError):
            records[outside]


def test_checksums_of_a_row_group_are_looked_at_once_in_a_process(written, monkeypatch):
    folder, expected = written
    opened = []
    parquet = Folder.parquet

    def counted(place, name, **options):
        opened.append(not options["verified"])
        return parquet(place, name, **options)

    monkeypatch.setattr(Folder, "parquet", counted)
    records = Records(folder, row_groups=1)
    far = ROW_GROUP  # of the second row group
    assert [records[0], records[far]] == [expected[0], expected[far]]
    assert opened == [True]
    assert [records[0], records[far]] == [expected[0], expected[far]]
    assert opened == [True, False]
    again = pickle.loads(pickle.dumps(records))
    assert again[0] == expected[0]
    assert opened == [True, False, True]


def test_memory_holds_only_the_row_groups_it_may(written):
    records = Records(written[0], row_groups=2)
    assert len(list(records)) == 150
    assert len(records._groups) == 2
    assert max(table.num_rows for table in records._groups.values()) <= ROW_GROUP


def test_the_files_are_as_documented(written):
    folder, _ = written
    assert sorted(p.name for p in folder.iterdir()) == [
        "manifest.json",
        "part-00000.parquet",
        "part-00001.parquet",
        "part-00002.parquet",
    ]
    with pq.ParquetFile(folder / "part-00000.parquet") as file:
        assert file.schema_arrow.equals(SCHEMA)
        assert [file.metadata.row_group(i).num_rows for i in range(3)] == [32, 32, 6]
        assert file.metadata.row_group(0).column(0).compression == "UNCOMPRESSED"


def _read(records: Records, index: int) -> Record:
    return records[index]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # as DataLoader does on Linux
def test_pickled_and_in_other_processes(written):
    folder, expected = written
    records = Records(folder)
    assert records[3] == expected[3]  # handles are open now, and must not travel
    assert pickle.loads(pickle.dumps(records))[149] == expected[149]
    assert len(pickle.dumps(records)) < 2000
    with get_context("fork").Pool(2) as pool:
        assert pool.starmap(_read, [(records, i) for i in range(20)]) == expected[:20]


def test_the_digest_follows_the_content(written, tmp_path):
    folder, expected = written
    digest = Records(folder).digest
    write_shards(tmp_path / "same", expected, records_per_shard=70)
    assert Records(tmp_path / "same").digest == digest
    changed = [*expected[:-1], Record("other", (), ())]
    write_shards(tmp_path / "other", changed, records_per_shard=70)
    assert Records(tmp_path / "other").digest != digest


def test_a_folder_that_is_not_a_whole_split(written, tmp_path):
    with pytest.raises(BrokenFolderError, match="never finished"):
        Records(tmp_path)
    write_shards(tmp_path / "cut", written[1])
    part = tmp_path / "cut" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(BrokenFolderError, match="bytes"):
        Records(tmp_path / "cut")


def test_no_records_at_all(tmp_path):
    write_shards(tmp_path, [])
    assert list(Records(tmp_path)) == []


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
turns = st.lists(st.tuples(st.sampled_from(["human", "gpt"]), texts), max_size=3)
rows = st.tuples(texts, turns, st.none() | texts, st.none() | texts)


@settings(max_examples=12, deadline=None)
@given(st.lists(rows, max_size=5), st.integers(1, 3))
def test_any_texts_survive(tmp_path_factory, given_rows, size):
    records = [
        Record(identity, (), tuple(Turn(*turn) for turn in said), group, subtask)
        for identity, said, group, subtask in given_rows
    ]
    folder = tmp_path_factory.mktemp("any")
    write_shards(folder, records, records_per_shard=size)
    assert list(Records(folder)) == records
