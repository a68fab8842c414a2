"""Records that lie elsewhere: read in place through fsspec, with the same checks."""

import pickle

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from diysink.artifact import BrokenFolderError
from diysink.records import Records


@pytest.fixture(scope="module")
def bucket():
    """A local server of S3 with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="shared")
        yield "s3://shared"
    server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def url(request, tiny_records, tmp_path):
    """A copy of the tiny records at a URL."""
    match request.param:
        case "file":
            root = f"file://{tmp_path}/copy"
        case "memory":
            root = f"memory://{tmp_path.name}/copy"
        case _:
            root = f"{request.getfixturevalue('bucket')}/{tmp_path.name}/copy"
    files, path = fsspec.url_to_fs(root)
    files.put(f"{tiny_records.folder}/", f"{path}/", recursive=True)
    files.invalidate_cache()
    return root


def rewrite(url, name, change):
    files, path = fsspec.url_to_fs(url)
    data = bytearray(files.cat_file(f"{path}/{name}"))
    files.pipe_file(f"{path}/{name}", bytes(change(data)))
    files.invalidate_cache()


def shard(url):
    files, path = fsspec.url_to_fs(url)
    return next(name for name in files.find(path) if name.endswith(".parquet")).rpartition("/")[2]


def test_the_same_records(url, tiny_records):
    records = pickle.loads(pickle.dumps(Records(url)))
    assert records.digest == tiny_records.digest
    assert list(records) == list(tiny_records)
    assert list(records.dialogues()) == list(tiny_records.dialogues())


def test_a_changed_byte_of_a_page_is_found(url):
    def flip(data):
        data[len(data) // 3] ^= 1
        return data

    rewrite(url, shard(url), flip)
    with pytest.raises(BrokenFolderError, match=shard(url)):
        list(Records(url))


def test_a_changed_byte_of_the_footer_is_found(url):
    def flip(data):
        data[-20] ^= 1
        return data

    rewrite(url, shard(url), flip)
    with pytest.raises(BrokenFolderError, match=shard(url)):
        Records(url)[0]


def test_a_cut_file_and_a_missing_one(url):
    rewrite(url, shard(url), lambda data: data[:-1])
    with pytest.raises(BrokenFolderError, match="the manifest says"):
        Records(url)
    files, path = fsspec.url_to_fs(url)
    files.rm_file(f"{path}/{shard(url)}")
    files.invalidate_cache()
    with pytest.raises(BrokenFolderError, match="missing"):
        Records(url)
    with pytest.raises(BrokenFolderError, match=r"manifest\.json"):
        Records(f"{url}/nothing")
