"""What people have in place of a checkpoint is named, with the remedy, before anything is built."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from diysink.artifact import BrokenFileError
from diysink.encoders import (
    CheckpointError,
    check_weights,
    checkpoint_source,
    load_encoder,
    load_image_processor,
    load_vision_tower,
)
from diysink.encoders.checkpoint import weight_files
from tests.encoders.towers import make

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 13\n"
LLAVA = {  # liuhaotian/llava-v1.5-7b
    "architectures": ["LlavaLlamaForCausalLM"],
    "hidden_size": 4096,
    "image_aspect_ratio": "pad",
    "mm_hidden_size": 1024,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "model_type": "llava",
}
CLIP = {"model_type": "clip_vision_model"}


def files(**content):
    """A folder with these files; ``__`` in a name is a dot, ``_in_`` a folder."""

    def write(folder):
        for name, value in content.items():
            path = folder / name.replace("__", ".").replace("_in_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(value, bytes):
                path.write_bytes(value)
            else:
                path.write_text(value if isinstance(value, str) else json.dumps(value))

    return write


ADAPTER = {"base_model_name_or_path": "lmsys/vicuna-7b-v1.5", "peft_type": "LORA"}
# name: (what lies there, what is said of it)
KINDS = {
    "the authors' v1.5": (files(config__json=LLAVA), ["LLaVA authors' own", "llava-1.5-7b-hf"]),
    "llava_llama": (
        files(config__json=LLAVA | {"model_type": "llava_llama"}),
        ["LLaVA authors' own", "llava_llama", "llava-1.5-7b-hf"],
    ),
    "llava_mistral": (
        files(config__json={"model_type": "llava_mistral"}),
        ["LLaVA authors' own", "llava-v1.6-mistral-7b-hf"],
    ),
    "llava_qwen": (
        files(config__json={"model_type": "llava_qwen", "mm_vision_tower": "siglip"}),
        ["LLaVA authors' own", "llava-onevision"],
    ),
    "an adapter": (
        files(adapter_config__json=ADAPTER, adapter_model__safetensors=b"x"),
        ["LORA adapter of lmsys/vicuna-7b-v1.5", "merge_and_unload()"],
    ),
    "an adapter beside a model": (
        files(adapter_config__json=ADAPTER, config__json=CLIP),
        ["adapter", "merge_and_unload()"],
    ),
    "the authors' adapter": (
        files(adapter_config__json=ADAPTER, non_lora_trainables__bin=b"x", config__json=LLAVA),
        ["adapter", "merge_lora_weights.py"],
    ),
    "an adapter one folder down": (
        files(run_in_adapter_config__json=ADAPTER),
        ["run holds a LORA adapter"],
    ),
    "an unpacked archive": (files(model_in_config__json=CLIP), ["/model in it is: give that"]),
    "two folders down": (files(a_in_b_in_config__json=CLIP), ["/a/b in it is: give that"]),
    "a Trainer's output": (
        files(
            **{f"checkpoint-{n}_in_config__json": CLIP for n in (10, 20)},
            training_args__bin=b"x",
        ),
        ["checkpoint-10 in it is", "there are 2"],
    ),
    "the hub's cache": (
        files(snapshots_in_abc_in_config__json=CLIP, blobs_in_x=b"x"),
        ["hub's cache", "snapshots/abc"],
    ),
    "diffusers": (files(model_index__json={}, unet_in_config__json={}), ["diffusers"]),
    "Lightning": (
        files(checkpoints_in_last__ckpt=b"x", hparams__yaml="a: 1"),
        ["Lightning", "load_from_checkpoint"],
    ),
    "DeepSpeed": (
        files(latest="global_step9", global_step9_in_mp_rank_00_model_states__pt=b"x"),
        ["DeepSpeed", "zero_to_fp32.py"],
    ),
    "FSDP": (files(x__distcp=b"x"), ["FSDP", "accelerate merge-weights"]),
    "Megatron": (
        files(latest_checkpointed_iteration__txt="9", iter_9_in_x__pt=b"x"),
        ["Megatron"],
    ),
    "GGUF": (files(**{"llava.Q4.gguf": b"GGUF"}), ["GGUF"]),
    "ONNX": (files(model__onnx=b"x"), ["ONNX"]),
    "an empty folder": (lambda folder: None, ["empty folder"]),
    "no config": (files(README__md="x", vocab__json={}), ["no config.json", "README.md"]),
    "a list": (files(config__json=[1]), ["config.json holds a list"]),
    "no model_type": (files(config__json={"hidden_size": 4}), ["no model_type"]),
    "timm": (
        files(config__json={"architecture": "vit_base", "num_features": 8, "pretrained_cfg": {}}),
        ["timm"],
    ),
    "open_clip": (files(config__json={"model_cfg": {}}), ["open_clip"]),
    "unknown": (files(config__json={"model_type": "lava"}), ["'lava'", "does not know"]),
    "code": (
        files(config__json={"model_type": "lava", "auto_map": {"AutoModel": "x.Y"}}),
        ["'lava'", "never run"],
    ),
    "MLX": (files(config__json=CLIP | {"quantization": {"bits": 4}}), ["MLX"]),
}
BROKEN = {
    "an LFS config": (files(config__json=LFS), "config.json", "git lfs pull"),
    "LFS weights": (
        files(config__json=CLIP, model__safetensors=LFS),
        "model.safetensors",
        "git lfs pull",
    ),
    "an LFS tokenizer": (
        files(config__json=CLIP, tokenizer__model=LFS),
        "tokenizer.model",
        "git lfs pull",
    ),
    "an LFS shard": (
        files(config__json=CLIP, **{"model-00002-of-00002.safetensors": LFS}),
        "model-00002-of-00002.safetensors",
        "git lfs pull",
    ),
    "git-annex": (
        files(config__json="/annex/objects/SHA256E-s13--4d7a.json"),
        "config.json",
        "git annex get",
    ),
    "a web page": (files(config__json="<!doctype html><html>"), "config.json", "web page"),
    "not JSON": (files(config__json='{"model_type": '), "config.json", "not JSON"),
    "not text": (files(config__json=b"\xff\xfe\x00"), "config.json", "not JSON"),
    "no bytes": (files(config__json=CLIP, model__safetensors=b""), "model.safetensors", "0 bytes"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_is_named_with_the_remedy(kind, tmp_path):
    write, said = KINDS[kind]
    write(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        checkpoint_source(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert [words for words in said if words not in str(caught.value)] == []


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_read_is_named(kind, tmp_path):
    write, name, why = BROKEN[kind]
    write(tmp_path)
    with pytest.raises(BrokenFileError) as caught:
        checkpoint_source(tmp_path)
    assert caught.value.path == tmp_path / name
    assert why in caught.value.why


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    files(config__json=CLIP)(tmp_path)
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "../blobs/abc")
    with pytest.raises(BrokenFileError, match="cp -rL") as caught:
        checkpoint_source(tmp_path)
    assert caught.value.path == tmp_path / "model.safetensors"


def test_pointers_that_nobody_reads_do_no_harm(towers, tmp_path):
    """`git lfs pull --include "*.safetensors"` leaves the others."""
    shutil.copytree(towers["clip"], tmp_path, dirs_exist_ok=True)
    for name in ("pytorch_model.bin", "flax_model.msgpack", "README.md", "picture.png"):
        (tmp_path / name).write_text(LFS)
    (tmp_path / ".gitattributes").write_text("")
    assert checkpoint_source(tmp_path) == str(tmp_path)
    load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.safetensors", "Give the folder that it lies in"),
        ("llava.gguf", "GGUF"),
        ("model.onnx", "ONNX"),
        ("pytorch_model.bin", "pickle"),
        ("last.ckpt", "pickle"),
        ("llava.tar.gz", "Unpack"),
        ("llava.zip", "Unpack"),
    ],
)
def test_a_file_in_the_place_of_a_folder(name, said, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=said):
        checkpoint_source(tmp_path / name)


def test_a_name_that_is_neither_here_nor_on_the_hub():
    """As it is offline, which tests are."""
    with pytest.raises(FileNotFoundError, match=r"no folder models/mine here.*hub"):
        checkpoint_source("models/mine")


@pytest.fixture
def clip(towers, tmp_path):
    shutil.copytree(towers["clip"], tmp_path / "clip")
    return tmp_path / "clip"


def shards(folder, count=2):
    """The weights in several files with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {}
    for number in range(count):
        name = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        chosen = {key: weights[key] for key in sorted(weights)[number::count]}
        save_file(chosen, folder / name, {"format": "pt"})
        where |= dict.fromkeys(chosen, name)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": where})
    )
    return sorted(set(where.values()))


def test_shards_are_looked_at_and_missed(clip):
    names = shards(clip)
    assert [path.name for path in weight_files(clip)] == names
    check_weights(str(clip))
    load_encoder(clip)
    (clip / names[1]).unlink()
    with pytest.raises(CheckpointError, match=f"names 2 shards, and 1 of them .*{names[1]}"):
        load_encoder(clip)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({}, "no weight_map"),
        ({"weight_map": {}}, "no weight_map"),
        ({"weight_map": {"a": "../x.safetensors"}}, "not a file of its folder"),
        ([], "no weight_map"),
    ],
)
def test_an_index_that_is_none(index, said, clip):
    shards(clip)
    (clip / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BrokenFileError, match=said) as caught:
        load_encoder(clip)
    assert caught.value.path.name == "model.safetensors.index.json"


def rename(name):
    return lambda folder: (folder / "model.safetensors").rename(folder / name)


def without_index(folder):
    shards(folder)
    (folder / "model.safetensors.index.json").unlink()


def mistral(folder):
    rename("consolidated.safetensors")(folder)
    (folder / "params.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename("pytorch_model.bin"), "unpickle"),
        (rename("tf_model.h5"), "TensorFlow"),
        (rename("flax_model.msgpack"), "Flax"),
        (rename("model.gguf"), "GGUF"),
        (rename("open_clip_model.safetensors"), "no model.safetensors"),
        (without_index, "index.json, which says what is in which"),
        (mistral, "Mistral"),
        (rename("x.distcp"), "FSDP"),
        (lambda folder: (folder / "model.safetensors").unlink(), "a config.json and no weights"),
    ],
)
def test_weights_of_other_formats(change, said, clip):
    change(clip)
    with pytest.raises(CheckpointError, match=said):
        load_encoder(clip)


def test_the_authors_weights_are_told_by_their_names_before_a_model_is_built(clip, monkeypatch):
    """config.json was exchanged for another one."""
    weights = load_file(clip / "model.safetensors")
    weights["model.mm_projector.0.weight"] = torch.zeros(2, 2)
    save_file(weights, clip / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(nn.Module, "__init__", lambda *_: pytest.fail("a model was built"))
    with pytest.raises(CheckpointError, match=r"mm_projector.*llava-1\.5-7b-hf"):
        load_vision_tower(clip)


def edit_header(path, old, new, more=0):
    """Exchange bytes of a header for as many others: the file keeps its size.

    The byte behind them becomes another digit with ``more``.
    """
    data = bytearray(path.read_bytes())
    assert len(old) == len(new)
    start = data.index(old)
    data[start : start + len(old)] = new
    data[start + len(old)] += more
    path.write_bytes(data)


def cut(size):
    def change(path):
        path.write_bytes(path.read_bytes()[:size])

    return change


DAMAGES = {
    "cut off": cut(-1000),
    "cut off in the header": cut(60),
    "nearly nothing": cut(5),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "header length": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    "header length, a little": lambda path: path.write_bytes(b"\x01" + path.read_bytes()[1:]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a pickle": lambda path: torch.save({"a": torch.zeros(2)}, path),
    "a dtype": lambda path: edit_header(path, b'"F32"', b'"X32"'),
    "an offset": lambda path: edit_header(path, b'"data_offsets":[0,', b'"data_offsets":[4,'),
    "a shape": lambda path: edit_header(path, b'"shape":[', b'"shape":[', 1),
    "header bytes": lambda path: edit_header(path, b'"shape"', b'"sh\xffpe"'),
    "a name": lambda path: edit_header(path, b"fc1.weight", b"fc1.weighu"),
}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_of_weights_names_the_file(damage, sharded, clip):
    names = shards(clip) if sharded else ["model.safetensors"]
    needle = b"fc1.weight" if damage == "a name" else b""
    broken = next(name for name in names if needle in (clip / name).read_bytes())
    DAMAGES[damage](clip / broken)
    with pytest.raises(ValueError, match=broken):
        load_encoder(clip)


def test_a_weight_of_another_shape_is_named_with_its_file(clip):
    weights = load_file(clip / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.0.mlp.fc1.weight"))
    weights[name] = weights[name].T.contiguous()
    save_file(weights, clip / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"1 weights of other shapes.*{name}.*model\.safe"):
        load_encoder(clip)


def test_no_weight_is_read_to_look(clip, monkeypatch):
    """A look costs the same for a model of any size."""
    import diysink.encoders.checkpoint as module

    with (clip / "model.safetensors").open("r+b") as file:
        header = int.from_bytes(file.read(8), "little")
    read = []
    opened = module.check_tensors

    def watched(path):
        read.append(path)
        return opened(path)

    monkeypatch.setattr(module, "check_tensors", watched)
    checkpoint_source(clip)
    assert read == []
    check_weights(str(clip))
    assert read == [clip / "model.safetensors"]
    assert header < 100_000


def test_every_entrance_looks(tmp_path, parts):
    """The same three folders, given wherever a folder or hub id is taken."""
    from diysink.evaluation.lvlm import load_lvlm
    from diysink.model import Parts, assemble, from_llava, load
    from diysink.selection import SentenceEncoder

    def language(folder):
        assemble(
            Parts(encoder=str(parts / "encoder"), language=str(folder)),
            None, connector="single", arrangement="natural",
        )  # fmt: skip

    entrances = {
        "load_encoder": load_encoder,
        "load_vision_tower": load_vision_tower,
        "load_image_processor": load_image_processor,
        "from_llava": lambda folder: from_llava(folder, None),
        "load": load,
        "load_lvlm": load_lvlm,
        "sentence encoder": SentenceEncoder.load,
        "language model": language,
    }
    for kind, (write, error) in {
        "original": (KINDS["the authors' v1.5"][0], CheckpointError),
        "adapter": (KINDS["an adapter"][0], CheckpointError),
        "pointer": (BROKEN["LFS weights"][0], BrokenFileError),
    }.items():
        folder = tmp_path / kind
        folder.mkdir()
        write(folder)
        for name, enter in entrances.items():
            with pytest.raises(error) as caught:
                enter(folder)
            assert str(folder) in str(caught.value), (kind, name)


def test_a_tower_of_a_whole_model_still_loads(tmp_path):
    whole = make("clip", whole=True)
    whole.save_pretrained(tmp_path)
    load_encoder(tmp_path)
