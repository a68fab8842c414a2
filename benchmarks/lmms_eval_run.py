"""Does lmms-eval get the same answers from our models as our own evaluation?

An environment of its own is built as the guide says, with a wheel of this checkout. In it lmms-eval
itself runs local tasks about images of the miniature: a stock LLaVA, the same with sinks to the
front, and as a DIYSink model under selections. Its answers are compared with those of
`diysink.evaluation.predict`, item by item, and its scores with our metric. No connection leaves the
machine while it runs. The connector is trained for a minute: the answers must be equal, not right.

    python -m benchmarks.lmms_eval_run --out benchmarks/results/lmms-eval-run.json
    python -m benchmarks.lmms_eval_run --environment /tmp/lmms     # built once, used again
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.extraction import processor
from benchmarks.lmms_eval_models import Miniature, build
from diysink.evaluation.benchmarks import Benchmark
from diysink.evaluation.predict import predict
from diysink.lmms_eval.answering import Answering, answering
from diysink.records import Record, answer_of
from tests.pipelines.offline import command as offline

ROOT = Path(__file__).parents[1]
BATCH = 8
MOST = 8  # tokens of an answer
CHOICES = ("red", "green", "blue", "yellow", "yes", "no")
PACKAGES = ("lmms_eval", "torch", "transformers", "datasets", "accelerate", "protobuf")
TASK = """
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {data}}}}}
task: {name}
test_split: test
output_type: {kind}
doc_to_visual: !function pictures.pictures
doc_to_text: "{{{{question}}}}"
doc_to_target: {target}
"""
GENERATE = """
generation_kwargs: {{max_new_tokens: {most}, temperature: 0, do_sample: false, until: ["\\n"]}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}
"""
CHOOSE = """
doc_to_choice: choices
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
PICTURES = """
from io import BytesIO

from PIL import Image


def pictures(doc):
    return [Image.open(BytesIO(image)).convert("RGB") for image in doc["images"]]
"""


@dataclass(frozen=True)
class Run:
    """One call of lmms-eval, and the same for our own evaluation."""

    name: str
    folder: Path
    arguments: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:  # lmms-eval parses paths, too: no commas
        return "".join(letter for letter in self.name if letter.isalnum())

    @property
    def model_args(self) -> str:
        given = {"pretrained": self.folder, "dtype": "float32"} | self.arguments | self.options
        return ",".join(f"{name}={value}" for name, value in given.items())

    def ours(self) -> Any:
        options = {"options": self.options} if self.options else {}
        return answering(str(self.folder), dtype="float32", **self.arguments, **options)


def runs_of(models: Miniature) -> list[Run]:
    moved = {"intervention": "reposition"}, {"where": "front"}
    profile, tau = {"profile": models.profile}, {"tau": models.tau}
    return [
        Run("LLaVA, stock", models.llava),
        Run("LLaVA, front (profile)", models.llava, moved[0] | profile, moved[1]),
        Run("LLaVA, front (tau)", models.llava, moved[0] | tau, moved[1]),
        Run("DIYSink, both", models.diysink),
        Run("DIYSink, sink", models.diysink, {"selection": "sink"}),
        Run("DIYSink, nonsink", models.diysink, {"selection": "nonsink"}),
        Run("DIYSink, front", models.diysink, *moved),
    ]


def environment(folder: Path, log: Path) -> Path:
    """The environment of the guide; its Python."""
    python = folder / "bin/python"
    if python.exists():
        return python
    source, pins = folder.with_name("source"), folder.with_name("lmms.txt")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    source.mkdir()
    tracked = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", source], input=tracked.stdout, check=True)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("protobuf==")]
    # The build of torch that runs here, so that both compute the same bits.
    pins.write_text("\n".join([*kept, f"torch=={torch.__version__}"]) + "\n")
    with log.open("a") as out:
        for given in (
            ["install", f"torch=={torch.__version__}"],
            ["install", "--constraint", pins, f"{source}[lmms-eval]"],
            # The index's wheel needs CUDA, and nothing here needs torchvision.
            ["uninstall", "--yes", "torchvision"] if "+cpu" in torch.__version__ else ["check"],
        ):
            subprocess.run([python, "-m", "pip", *given], check=True, stdout=out, stderr=out)
    return python


def write_tasks(folder: Path, records: list[Record]) -> None:
    """Two local tasks: all questions, and those about one image with choices."""
    folder.mkdir()
    (folder / "pictures.py").write_text(PICTURES)
    rows = pd.DataFrame(
        {
            "images": [[image.data for image in record.images] for record in records],
            "question": [record.conversations[0].text for record in records],
            "answer": [answer_of(record) for record in records],
        }
    )
    single = rows[[len(images) == 1 for images in rows["images"]]]
    single = single[single["answer"].isin(CHOICES)].assign(
        choices=[list(CHOICES)] * int(single["answer"].isin(CHOICES).sum()),
        label=lambda table: table["answer"].map(CHOICES.index),
    )
    for name, table, kind, target, rest in (
        ("miniature", rows, "generate_until", "answer", GENERATE.format(most=MOST)),
        ("miniature_choice", single, "multiple_choice", "label", CHOOSE),
    ):
        data = folder / f"{name}.parquet"
        table.to_parquet(data)
        task = TASK.format(data=data, name=name, kind=kind, target=target) + rest
        (folder / f"{name}.yaml").write_text(task)


def lmms_eval(
    python: Path, run: Run, task: str, tasks: Path, out: Path, *more: str
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The samples in order, and the scores, as lmms-eval writes them."""
    attempts, home = out / "attempts", out / "home"
    home.mkdir(parents=True)
    variables = {
        "PATH": os.environ["PATH"], "HOME": str(home), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(offline.GUARD), "OFFLINE_LOG": str(attempts),
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "disabled",
    }  # fmt: skip
    call = [
        python, "-m", "lmms_eval", "--model", "diysink", "--model_args", run.model_args,
        "--tasks", task, "--include_path", tasks, "--batch_size", str(BATCH), "--log_samples",
        "--output_path", out / "results", *more,
    ]  # fmt: skip
    with (out / "log").open("w") as log:
        subprocess.run(call, env=variables, cwd=out, check=True, stdout=log, stderr=log)
    if attempts.exists():
        raise RuntimeError(f"lmms-eval called out: {attempts.read_text()}")
    if not any((out / "results").rglob("*results.json")):  # it ends well whatever happens
        raise RuntimeError(f"lmms-eval wrote no results:\n{(out / 'log').read_text()[-2000:]}")
    [samples] = (out / "results").rglob(f"*samples_{task}.jsonl")
    [results] = (out / "results").rglob("*results.json")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    scores = json.loads(results.read_text())["results"][task]
    return sorted(lines, key=lambda line: line["doc_id"]), scores


def compared(run: Run, records: list[Record], python: Path, work: Path) -> dict[str, Any]:
    """One run both ways."""
    out = work / run.slug
    samples, scores = lmms_eval(python, run, "miniature", work / "tasks", out)
    theirs = [sample["filtered_resps"] for sample in samples]
    with run.ours() as model:
        model.set(max_new_tokens=MOST, likelihoods=False)
        table = predict(
            model.model, records, benchmark=Benchmark("miniature"), variant=run.name, batch=BATCH
        )
    ours = table["prediction"].tolist()
    return {
        "model_args": run.model_args.replace(f"{work}/", ""),
        "items": len(ours),
        "equal answers": sum(a == b for a, b in zip(ours, theirs, strict=True)),
        "different answers": len(set(ours)),
        "accuracy": float(table["correct"].mean()),
        "exact_match of lmms-eval": scores["exact_match,none"],
        "answers": ours,
    }


def likeliest(model: Answering, records: list[Record]) -> list[int]:
    """The choice of each question that our own likelihoods put first."""
    from dataclasses import replace

    model.set(max_new_tokens=MOST, likelihoods=True)
    found = []
    for choice in CHOICES:
        asked = [
            replace(r, conversations=(r.conversations[0], replace(r.conversations[1], text=choice)))
            for r in records
        ]
        found.append(model.model.answer(asked).log_likelihoods)
    return [int(best) for best in np.argmax(found, axis=0)]


def choices(run: Run, records: list[Record], python: Path, work: Path) -> dict[str, Any]:
    """Choices by likelihood, both ways."""
    out = work / f"{run.slug}-choices"
    samples, scores = lmms_eval(
        python, run, "miniature_choice", work / "tasks", out, "--force_simple"
    )
    asked = [r for r in records if len(r.images) == 1 and answer_of(r) in CHOICES]
    theirs = [int(np.argmin([float(loss) for loss, _ in s["filtered_resps"]])) for s in samples]
    with run.ours() as model:
        ours = likeliest(model, asked)
    right = [CHOICES[one] == answer_of(record) for one, record in zip(ours, asked, strict=True)]
    return {
        "items": len(ours),
        "equal choices": sum(a == b for a, b in zip(ours, theirs, strict=True)),
        "accuracy": float(np.mean(right)),
        "acc of lmms-eval": scores["acc,none"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--environment", type=Path, help="built if it is not there; kept")
    parser.add_argument("--work", type=Path, help="empty folder that is kept")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary) / "work"
        work.mkdir(exist_ok=True)
        python = environment(given.environment or work / "environment", work / "pip.log")
        models, records = build(work / "models")
        write_tasks(work / "tasks", records)
        found = {run.name: compared(run, records, python, work) for run in runs_of(models)}
        first = runs_of(models)[0]
        chosen = choices(first, records, python, work)
        listed = subprocess.run(
            [python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True
        )
    stock = {
        name: found[f"{name}, {kind}"].copy()
        for name, kind in (("LLaVA", "stock"), ("DIYSink", "both"))
    }
    for name, one in found.items():
        base = stock[name.split(",")[0]]["answers"]
        one["answers other than stock"] = sum(
            a != b for a, b in zip(one["answers"], base, strict=True)
        )
    for one in found.values():
        del one["answers"]
    versions = {
        package["name"].replace("-", "_"): package["version"]
        for package in json.loads(listed.stdout)
    }
    result = {
        "runs": found,
        "choices by likelihood": chosen,
        "questions about two images": sum(len(record.images) > 1 for record in records),
        "versions": {name: versions[name] for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": processor(),
    }
    print(json.dumps(result, indent=2))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n")
    unequal = [
        name
        for name, one in found.items()
        if one["equal answers"] != one["items"]
        or abs(one["accuracy"] - one["exact_match of lmms-eval"]) > 1e-9
    ]
    if unequal or chosen["equal choices"] != chosen["items"]:
        sys.exit(f"Not equal: {', '.join(unequal) or 'choices by likelihood'}")


if __name__ == "__main__":
    main()
