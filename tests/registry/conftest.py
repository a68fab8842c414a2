"""Registered versions with a toy for a model: decisions are made by the predictions they carry."""

import io
import json
import shutil
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from diysink.model import Parts, assemble
from diysink.registry import challenge
from diysink.registry.package import SIGNATURE
from diysink.registry.promotion import DIGEST
from diysink.selection import (
    Reweight,
    ReweightSelection,
    ReweightSettings,
    SentenceEncoder,
    save_selection,
)

NAME = "toy"
WORDS = ["<pad>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:", *"abcdefgh"]
CHAT = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
SIZES = {"intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def predictions(correct: np.ndarray, *, first: int = 0) -> pd.DataFrame:
    """One row an item, two items an image; ``correct`` says which are answered rightly."""
    items = np.arange(first, first + len(correct))
    return pd.DataFrame(
        {
            "variant": "dual",
            "seed": 3,
            "id": [f"item-{i}" for i in items],
            "image": [f"image-{i // 2}" for i in items],
            "group": np.where(items % 2, "local", "global"),
            "subtask": "colour",
            "question": "what?",
            "reference": "red",
            "prediction": np.where(correct, "red", "blue"),
            "correct": correct.astype(bool),
        }
    )


def answers(share: float, n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Predictions of which ``share`` is right; a higher share contains the lower one's items."""
    order = np.random.default_rng(seed).permutation(n)
    return predictions(order < round(share * n))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of a model that answers without weights."""
    root = tmp_path_factory.mktemp("toy")
    (root / "predictions.parquet").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own use of pandas
        mlflow.pyfunc.save_model(
            root / "package",
            python_model=str(Path(__file__).with_name("toy.py")),
            artifacts={"predictions": str(root / "predictions.parquet")},
            signature=SIGNATURE,
            input_example=pd.DataFrame({"image": [b"a picture"], "question": ["what?"]}),
            pip_requirements=["mlflow"],
        )
    return root / "package"


@pytest.fixture
def version(tracking: Path, toy: Path, tmp_path: Path) -> Callable[[pd.DataFrame], int]:
    """Registers predictions as a new version of the model and as challenger; its number."""
    client = MlflowClient()
    client.create_registered_model(NAME)

    def make(table: pd.DataFrame, digest: str = "d") -> int:
        root = tmp_path / uuid.uuid4().hex
        shutil.copytree(toy, root)
        table.to_parquet(root / "artifacts" / "predictions.parquet")
        made = client.create_model_version(NAME, str(root), tags={DIGEST: digest})
        challenge(NAME, int(made.version))
        return int(made.version)

    return make


def files(number: int) -> Path:
    """Where the package of a version lies."""
    return Path(MlflowClient().get_model_version_download_uri(NAME, str(number)))


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with random weights."""
    root = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(hidden_size=12, image_size=12, patch_size=4, **SIZES)
    CLIPVisionModel(vision).save_pretrained(root / "encoder")
    (root / "encoder" / "preprocessor_config.json").write_text(
        '{"image_processor_type": "CLIPImageProcessor", "size": {"height": 12, "width": 12},'
        ' "do_center_crop": false}'
    )
    text = LlamaConfig(
        hidden_size=16, vocab_size=len(WORDS), pad_token_id=0, eos_token_id=1, **SIZES
    )
    LlamaForCausalLM(text).save_pretrained(root / "language")
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        chat_template=CHAT,
    ).save_pretrained(root / "language")
    parts = Parts(str(root / "encoder"), str(root / "language"))
    assemble(parts, None, connector="dual", arrangement="front").save(root / "saved")
    return root / "saved"


def png(seed: int) -> bytes:
    """A file of 24 x 24 random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def patch_norms(folder: Path, data: bytes) -> np.ndarray:
    """Norms of an image's patches where the connector reads them, by transformers alone."""
    encoder = CLIPVisionModel.from_pretrained(folder.parent / "encoder").eval()
    processor = CLIPImageProcessorPil.from_pretrained(folder.parent / "encoder")
    pixels = processor(Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        states = encoder(**pixels, output_hidden_states=True).hidden_states[-2]
    return states[0, 1:].norm(dim=-1).numpy()


@pytest.fixture(scope="session")
def sinking_model(saved_model: Path, tiny_sentence: Path) -> Path:
    """The saved model with half of its tokens called sinks, and ReW."""
    folder = saved_model.parent / "sinking"
    shutil.copytree(saved_model, folder)
    settings = json.loads((folder / "config.json").read_text())
    norms = [patch_norms(saved_model, png(seed)) for seed in range(8)]
    settings["tau"] = float(np.median(norms))
    (folder / "config.json").write_text(json.dumps(settings))
    shutil.copytree(tiny_sentence, folder / "sentence")
    torch.manual_seed(0)
    sentence = SentenceEncoder.load(folder / "sentence")
    reweight = Reweight(ReweightSettings(dim=sentence.dim, hidden=4, output="softmax"))
    torch.nn.init.normal_(reweight.out.weight)
    save_selection(ReweightSelection(sentence, reweight), folder)
    return folder
