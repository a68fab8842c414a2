"""What lmms-eval makes of the cases; it runs where lmms-eval is installed, and diysink is not.

``python theirs.py CASES OUT``. The package `lmms_eval.tasks` is stood in for by an empty one with
its folder, as its own `__init__` needs torch and transformers, and so does the registry of metrics;
the functions that judge do not. No
language model is asked: where lmms-eval would, it gets what the case gives as the model's reply.
"""

import importlib
import json
import random
import sys
import types
from collections import defaultdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

root = Path(find_spec("lmms_eval").submodule_search_locations[0])
stand_in = types.ModuleType("lmms_eval.tasks")
stand_in.__path__ = [str(root / "tasks")]
sys.modules["lmms_eval.tasks"] = stand_in
registry = types.ModuleType("lmms_eval.api.registry")  # it needs torch; all it does is to register
registry.register_metric = registry.register_aggregation = lambda *_, **__: (
    lambda function: function
)
sys.modules["lmms_eval.api.registry"] = registry

import pandas as pd  # noqa: E402
from loguru import logger  # noqa: E402

logger.remove()


def task(name, module="utils"):
    return importlib.import_module(f"lmms_eval.tasks.{name}.{module}")


def scored(score, parsed=None, **more):
    return {"score": float(score), "parsed": parsed, **more}


def vqa(name, function):
    def judge(case):
        answers = case["answers"]
        if name == "vqav2":
            answers = [{"answer": each, "answer_id": i} for i, each in enumerate(answers)]
        doc = {"question_id": 0, "answers": list(answers)}
        return scored(getattr(task(name), function)(doc, [case["prediction"]])["exact_match"])

    return judge


def gqa(case):
    metrics = importlib.import_module("lmms_eval.api.metrics")
    made = metrics.exact_match_hf_evaluate(
        [case["prediction"]], [case["reference"]], ignore_case=True, ignore_punctuation=True
    )
    return scored(made["exact_match"])


def pope(case):
    doc = {"question_id": 0, "answer": case["reference"]}
    result = task("pope").pope_process_results(doc, [case["prediction"]])["pope_accuracy"]
    return scored(result["score"], result["prediction"], result=result)


def mme(case):
    doc = {
        "question_id": case["unit"],
        "answer": case["reference"],
        "category": case["subtask"],
    }
    [result] = task("mme").mme_process_results(doc, [case["prediction"]]).values()
    return scored(result["score"], task("mme").parse_pred_ans(case["prediction"]), result=result)


def scienceqa(case):
    doc = {"choices": case["options"], "answer": "ABCD".index(case["reference"])}
    return scored(task("scienceqa").sqa_process_results(doc, [case["prediction"]])["exact_match"])


def mmmu(case):
    module, kind = task("mmmu"), case["details"]["question_type"]
    # A guess is seen as None: which letter is drawn is not compared.
    importlib.import_module(
        "lmms_eval.tasks._task_utils.mmmu_mcq_utils"
    ).random = types.SimpleNamespace(choice=lambda _: None)
    doc = {
        "id": "validation_Art_1",
        "question_type": kind,
        "options": repr(case["options"]),
        "answer": case["answers"] or case["reference"],
    }
    sample = module.mmmu_process_results(doc, [case["prediction"]])["mmmu_acc"]
    right = module.evaluate_mmmu([sample])[1]["acc"]
    [parsed] = sample["parsed_pred"]
    return scored(right, parsed if isinstance(parsed, str) else None)


def mathvista(case):
    module = task("mathvista")
    evaluator = module.mathvista_evaluator
    evaluator.get_chat_response = lambda *_, **__: case["reply"]
    doc = {
        "pid": 0,
        "query": "",
        "choices": case["options"],
        "answer": case["reference"],
        "metadata": {},
        **case["details"],
    }
    result = module.mathvista_process_results(doc, [case["prediction"]])["submission"]
    return scored(result["true_false"], result["prediction"])


def mmbench(case):
    evaluator = task("mmbench", "en_utils").mmbench_evaluator
    extract = importlib.import_module("lmms_eval.tasks._task_utils.mcq_extract").extract_mcq_answer
    row = {"index": 0, "prediction": case["prediction"].strip(), **options_of(case)}
    score = evaluator.eval_sub_data(pd.DataFrame([row]), {0: case["reference"]}, static_only=True)
    letter = evaluator.prefetch_answer(dict(row)) or extract(row["prediction"], list("ABCD"))
    return scored(score, letter or None)


def options_of(case):
    return dict(zip("ABCD", case["options"], strict=True))


def hrbench(case):
    module = task("hrbench")
    infer = module.hrbench_evaluator.can_infer
    module.hrbench_evaluator.get_chat_response = lambda data: {
        "gpt_prediction": infer(data["prediction"], dict(data["options"])) or ""
    }
    doc = {
        "index": case["number"],
        "answer": case["reference"],
        "question": "",
        "category": case["subtask"],
        "cycle_category": case["details"]["cycle"],
        **options_of(case),
    }
    result = module.hrbench_process_results(doc, [case["prediction"]])["average"]
    letter = infer(case["prediction"].strip(), options_of(case))
    return scored(result["gpt_score"], letter or None, result=result)


def mmstar(case):
    doc = {
        "index": case["number"],
        "answer": case["reference"],
        "category": "all",
        "l2_category": case["subtask"],
    }
    result = task("mmstar").mmstar_process_results(doc, [case["prediction"]])["average"]
    extract = importlib.import_module("lmms_eval.tasks._task_utils.mcq_extract").extract_mcq_answer
    letter = extract(case["prediction"], list("ABCD"))
    return scored(result["score"], letter or None, result=result)


def cvbench(case):
    doc = {
        "idx": case["number"],
        "answer": f"({case['reference']})",
        "type": "",
        "task": case["subtask"],
        "source": case["details"]["source"],
    }
    result = task("cv_bench").cv_bench_process_results(doc, [case["prediction"]])["cv_bench_acc"]
    return scored(result["is_correct"], result["pred_parsed"] or None, result=result)


def vstar(case):
    doc = {
        "question_id": case["number"],
        "label": case["reference"],
        "category": case["subtask"],
        "text": "",
    }
    result = task("vstar_bench").vstar_process_results(doc, [case["prediction"]])
    result = result["vstar_overall_acc"]
    return scored(result["score"], result["prediction"], result=result)


JUDGES = {
    "vqav2": vqa("vqav2", "vqav2_process_results"),
    "textvqa": vqa("textvqa", "textvqa_process_results"),
    "vizwiz": vqa("vizwiz_vqa", "vizwiz_vqa_process_results"),
    "gqa": gqa,
    "pope": pope,
    "mme": mme,
    "scienceqa": scienceqa,
    "mmmu": mmmu,
    "mmmu, open": mmmu,
    "mathvista": mathvista,
    "mmbench": mmbench,
    "hrbench": hrbench,
    "mmstar": mmstar,
    "cvbench": cvbench,
    "vstar": vstar,
}


def aggregate(benchmark, cases, results):
    """Their numbers of the cases that are marked for it, from their own results."""
    marked = [i for i, case in enumerate(cases) if case["same"]]
    mine = [results[i].get("result") for i in marked]
    if benchmark == "pope":
        module, numbers = task("pope"), {}
        for split in ("random", "popular", "adversarial"):
            part = [results[i]["result"] for i in marked if cases[i]["subtask"] == split]
            numbers[f"f1 {split}"] = module.pope_aggregate_f1_score(part)
        return numbers | {
            "accuracy": module.pope_aggregate_accuracy(mine),
            "precision": module.pope_aggregate_precision(mine),
            "recall": module.pope_aggregate_recall(mine),
            "yes ratio": module.pope_aggregate_yes_ratio(mine),
        }
    if benchmark == "mme":
        parts = defaultdict(list)
        cognition = task("mme").eval_type_dict["Cognition"]
        for result in mine:
            parts["cognition" if result["category"] in cognition else "perception"].append(result)
        return {name: task("mme").mme_aggregate_results(part) for name, part in parts.items()}
    if benchmark == "mmbench":
        rows = [
            {
                "index": int(case["unit"]) + int(1e6) * case["details"]["cycle"],
                "answer": case["reference"],
                "prediction": case["prediction"],
                "category": case["subtask"],
                "question": "",
                **options_of(case),
            }
            for case in (cases[i] for i in marked)
        ]
        evaluator = task("mmbench", "en_utils").mmbench_evaluator
        return {"accuracy": evaluator.eval_result(rows, eval_method="static")[0]}
    functions = {
        "hrbench": ("hrbench", "hrbench_aggregate_results", "accuracy"),
        "mmstar": ("mmstar", "mmstar_aggregate_results", "accuracy (lmms-eval)"),
        "cvbench": ("cv_bench", "cv_bench_default_aggregate_results", "accuracy"),
        "vstar": ("vstar_bench", "vstar_aggregate_results", "accuracy"),
    }
    if benchmark not in functions:
        scores = [results[i]["score"] for i in marked]
        return {"accuracy": sum(scores) / len(scores)}
    name, function, number = functions[benchmark]
    more = (None,) if benchmark == "hrbench" else ()
    value = getattr(task(name), function)(mine, *more)
    return {number: value / 100 if benchmark == "vstar" else value}


def main():
    random.seed(0)
    asked = json.loads(Path(sys.argv[1]).read_text())
    stdout, sys.stdout = sys.stdout, sys.stderr  # some of it prints
    results = {
        name: [JUDGES[name](case) for case in cases] for name, cases in asked["cases"].items()
    }
    numbers = {}
    if asked["numbers"]:
        numbers = {
            name: aggregate(name, cases, results[name]) for name, cases in asked["cases"].items()
        }
    packages = ("lmms_eval", "numpy", "pandas", "Levenshtein")
    made = {
        "versions": {name: version(name) for name in packages},
        "results": results,
        "numbers": numbers,
    }
    Path(sys.argv[2]).write_text(json.dumps(made))
    sys.stdout = stdout


if __name__ == "__main__":
    main()
