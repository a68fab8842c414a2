"""Readers: pieces make no difference, broken sources stop with a file and a line."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.records import BadItemError, Reason, SourceError, check_item, open_source, source


def read(path: Path) -> list:
    return list(open_source(path, path.parent).items())


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "data.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.lists(values, max_size=6), st.integers(1, 40), st.sampled_from([None, 2]), st.booleans())
def test_reading_in_pieces_is_reading_at_once(tmp_path_factory, items, piece, indent, plain):
    path = tmp_path_factory.mktemp("json") / "data.json"
    path.write_text(json.dumps(items, indent=indent, ensure_ascii=plain), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_PIECE", piece)
        assert read(path) == items


def test_nan_comes_through_as_a_value(tmp_path):
    (only,) = read(write(tmp_path, '[{"id": "a", "image": NaN}]'))
    assert math.isnan(only["image"])


def test_a_byte_order_mark_is_skipped(tmp_path):
    assert read(write(tmp_path, b'\xef\xbb\xbf[{"id": "a"}]')) == [{"id": "a"}]


@pytest.mark.parametrize("piece", [3, 2**20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a JSON list"),
        ('{"id": "a"}\n{"id": "b"}', "JSON Lines"),
        ('"text"', "expected a JSON list"),
        ('[\n{"id": "a"},\n{"id" "b"}\n]', "line 3: not JSON"),
        ('[\n{"id": "a"},\n{"id": "b', "line 3: not JSON"),
        ('[\n{"id": "a"}\n{"id": "b"}\n]', "line 3: not JSON"),
        ('[{"id": "a"},\n]', "line 2: not JSON"),
        ('[{"id": "a"}', "line 1: not JSON"),
        ('[{"id": "a"}]\n\nmore', "line 3: not JSON .text after"),
        ("[" + "[" * 100_000, "not JSON"),
        ("[" + "9" * 5000 + "]", "not JSON"),
        ('[{"id": "a\nb"}]', "line 1: not JSON"),
        (b'[{"id": "\xff\xfe"}]', "not UTF-8"),
        ('[{"id": "a"}]'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_broken_json_stops_with_the_line(tmp_path, monkeypatch, text, message, piece):
    monkeypatch.setattr(source, "_PIECE", piece)
    path = write(tmp_path, text)
    with pytest.raises(SourceError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_string_that_never_ends_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_PIECE", 100)
    monkeypatch.setattr(source, "_LONGEST", 1000)
    path = write(tmp_path, '[{"id": "' + "x" * 100_000)
    scanned = []
    monkeypatch.setattr(
        source._Scanner,
        "_more",
        lambda self, n, more=source._Scanner._more: scanned.append(n) or more(self, n),
    )
    with pytest.raises(SourceError, match="more than 1000 characters"):
        read(path)
    assert sum(scanned) < 5000


@pytest.mark.parametrize("depth", [500, 988, 995, 3000, 200_000])
@pytest.mark.parametrize("shape", ["[]", "{}"])
@pytest.mark.parametrize("piece", [1000, 2**20])
def test_an_item_nested_too_deep_does_not_stop_the_others(
    tmp_path, monkeypatch, item, depth, shape, piece
):
    monkeypatch.setattr(source, "_PIECE", piece)
    opening, closing = ("[", "]") if shape == "[]" else ('{"a\\"]}": ', "}")
    deep = '{"id": "deep", "image": ' + opening * depth + '"]\\\\"' + closing * depth + "}"
    path = write(tmp_path, f"[{json.dumps(item())}, {deep}, {json.dumps(item(id='b'))}]")
    first, second, third = read(path)
    assert (first["id"], third["id"]) == ("a", "b")
    with pytest.raises(BadItemError) as caught:
        check_item(second)
    assert caught.value.reason in (Reason.TOO_DEEP, Reason.WRONG_TYPE)
    if depth > 1000:
        assert caught.value.reason == Reason.TOO_DEEP


def test_an_item_that_is_too_long_says_so(tmp_path, monkeypatch, item):
    monkeypatch.setattr(source, "_PIECE", 100)
    monkeypatch.setattr(source, "_LONGEST", 1000)
    assert len(read(write(tmp_path, json.dumps([item(x="y" * 800)])))) == 1
    for long in ("y" * 5000, [0] * 5000, [[]] * 5000):
        with pytest.raises(SourceError, match="more than 1000 characters"):
            read(write(tmp_path, json.dumps([item(x=long)])))


TURNS = [{"from": "human", "value": "<image>\nhi"}, {"from": "gpt", "value": "ho"}]


def test_parquet_gives_the_same_items_as_json(tmp_path, item):
    items = [item(id="a", group="local"), item(id="b", image=None, group=None)]
    pq.write_table(pa.Table.from_pylist([i | {"extra": 1} for i in items]), tmp_path / "a.parquet")
    expected = json.loads(json.dumps(items))
    assert read(tmp_path / "a.parquet") == expected
    (tmp_path / "parts").mkdir()
    for number, each in enumerate(items):
        table = pa.Table.from_pylist([each])
        pq.write_table(table, tmp_path / "parts" / f"part-{number}.parquet")
    assert list(open_source(tmp_path / "parts", tmp_path).items()) == expected


def test_parquet_of_another_shape(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"columns \['id', 'text'\]"):
        read(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceError, match="not readable as parquet"):
        read(tmp_path / "b.parquet")


def test_what_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "none.json", tmp_path)
    with pytest.raises(SourceError, match="image folder"):
        open_source(write(tmp_path, "[]"), tmp_path / "none")
    with pytest.raises(SourceError, match="this has none"):
        open_source(tmp_path, tmp_path)


def test_a_plain_folder(tmp_path):
    for name in ("b.png", "a/c.PNG", "a/readme.txt", ".hidden", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path.parent)
    found = open_source(None, tmp_path)
    assert not found.conversations
    assert [i["id"] for i in found.items()] == ["a/c.PNG", "a/readme.txt", "b.png", "link"]
    assert all(i["id"] == i["image"] for i in found.items())
