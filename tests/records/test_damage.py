"""A damaged shard is noticed by whoever reads it, and named; nothing wrong is ever returned."""

import errno
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diysink.artifact import BrokenFolderError
from diysink.records import ImageFile, Record, Records, Turn, reader, write_shards

PART = "part-00000.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, encoded):
    """A split of forty records in one shard, and the records."""
    noise = np.random.default_rng(0).integers(0, 255, (10, 10, 3), dtype=np.uint8)
    image = ImageFile.of(encoded(Image.fromarray(noise)))
    turns = (Turn("human", "<image>q"), Turn("gpt", "a"))
    records = [Record(f"id-{n}", (image,), turns, (None, "local")[n % 2]) for n in range(40)]
    folder = tmp_path_factory.mktemp("whole")
    write_shards(folder, records)
    return folder, records


def parts(data: bytes) -> dict[str, range]:
    """Where the first page's header, the pages and the footer lie."""
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return {
        "magic": range(4),
        "header": range(4, 40),
        "pages": range(40, footer),
        "footer": range(footer, len(data) - 8),
        "end": range(len(data) - 8, len(data)),
    }


@pytest.mark.parametrize("part", ["magic", "header", "pages", "footer", "end"])
def test_flipped_bits_name_the_file_or_change_nothing(whole, part):
    folder, records = whole
    path = folder / PART
    data = path.read_bytes()
    where = parts(data)[part]
    draw = random.Random(part)
    noticed = unchanged = 0
    try:
        for _ in range(60):
            damaged = bytearray(data)
            damaged[draw.choice(where)] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            try:
                assert list(Records(folder)) == records
            except BrokenFolderError as error:
                noticed += str(path) in str(error) and "prepare" in str(error)
            else:
                unchanged += 1
    finally:
        path.write_bytes(data)
    assert noticed + unchanged == 60  # never other records, never another error
    assert noticed >= {"magic": 0, "header": 50, "pages": 55, "footer": 60, "end": 60}[part]


def test_a_shard_that_became_something_else(whole, tmp_path):
    _, records = whole
    write_shards(tmp_path, records)
    path = tmp_path / PART
    for content in (b"\0", b"PAR1"):
        path.write_bytes((content * path.stat().st_size)[: path.stat().st_size])
        with pytest.raises(BrokenFolderError, match=PART):
            Records(tmp_path)[0]


def test_a_shard_that_goes_away_while_it_is_read(whole, tmp_path):
    _, records = whole
    write_shards(tmp_path, records, records_per_shard=20)
    found = Records(tmp_path)
    assert found[0] == records[0]
    (tmp_path / "part-00001.parquet").unlink()
    with pytest.raises(BrokenFolderError, match=r"part-00001\.parquet"):
        found[39]


def test_a_manifest_that_lost_its_shards(whole, tmp_path):
    write_shards(tmp_path, whole[1])
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    for changes in ({"shards": None}, {"shards": [{}]}, {"row_group": "x"}, {"shards": [3]}):
        path.write_text(json.dumps(manifest | changes))
        with pytest.raises(BrokenFolderError, match=r"manifest\.json"):
            Records(tmp_path)


def test_folders_from_before_there_were_checksums_are_read(whole, tmp_path):
    _, records = whole
    write_shards(tmp_path, records)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["shards"][0]["footer"]
    path.write_text(json.dumps(manifest))
    assert list(Records(tmp_path)) == records


def test_too_many_open_files_is_no_damage():
    with pytest.raises(OSError, match="Too many") as caught, reader.reading(Path("x")):
        raise OSError(errno.EMFILE, "Too many open files")
    assert not isinstance(caught.value, BrokenFolderError)


def test_pages_carry_checksums(whole):
    with pq.ParquetFile(whole[0] / PART, page_checksum_verification=True) as file:
        assert file.read().num_rows == 40
    data = bytearray((whole[0] / PART).read_bytes())
    at = data.index(b"\x89PNG") + 50  # a pixel
    data[at] ^= 1
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.ParquetFile(pa.BufferReader(bytes(data)), page_checksum_verification=True).read()
