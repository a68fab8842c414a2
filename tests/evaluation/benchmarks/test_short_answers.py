"""Golden items of benchmarks that are answered in a word, in every layout in which they come."""

import shutil

import pytest

from tests.evaluation.benchmarks.samples import (
    golden,
    image,
    lines,
    parquet,
    png,
    put,
    read,
    zipped,
)

SHORT = "\nAnswer the question using a single word or phrase."


def gqa_official(folder):
    questions = {
        "201307251": {
            "semantic": [{"operation": "select", "dependencies": [], "argument": "scene"}],
            "entailed": ["201307248"],
            "question": "Is it overcast?",
            "imageId": "n161313",
            "isBalanced": True,
            "groups": {"global": None, "local": "13-weather_overcast"},
            "answer": "no",
            "types": {"detailed": "weatherVerify", "semantic": "global", "structural": "verify"},
            "fullAnswer": "No, it is clear.",
        },
        "201640614": {
            "question": "Who is wearing the dress?",
            "imageId": "n235859",
            "answer": "woman",
            "fullAnswer": "The woman is wearing a dress.",
        },
    }
    put(folder / "testdev_balanced_questions.json", questions)
    put(folder / "images/n161313.jpg", png(1))
    put(folder / "images/n235859.jpg", png(2))


def gqa_mirror(folder):
    rows = [
        {"id": "201307251", "imageId": "n161313", "question": "Is it overcast?", "answer": "no"},
        {
            "id": "201640614",
            "imageId": "n235859",
            "question": "Who is wearing the dress?",
            "answer": "woman",
        },
    ]
    parquet(folder / "testdev_balanced_instructions/testdev-00000-of-00001.parquet", rows)
    pictures = [{"id": "n235859", "image": image(2)}, {"id": "n161313", "image": image(1)}]
    parquet(folder / "testdev_balanced_images/testdev-00000-of-00001.parquet", pictures)


GQA = [
    golden("201307251", [1], f"<image>\nIs it overcast?{SHORT}", "no", group="local"),
    golden("201640614", [2], f"<image>\nWho is wearing the dress?{SHORT}", "woman", group="local"),
]


def vqa_answers(*texts):
    return [
        {"answer": text, "answer_confidence": "yes", "answer_id": number + 1}
        for number, text in enumerate(texts)
    ]


NET = ("net", "net", "net", "netting", "net", "net", "mesh", "net", "net", "net")


def vqav2_official(folder):
    about = {"info": {"year": 2017}, "data_type": "mscoco", "license": {"name": "CC"}}
    questions = [
        {"image_id": 262148, "question": "What is this?", "question_id": 262148000},
        {"image_id": 393225, "question": "Is it red?", "question_id": 393225001},
    ]
    annotations = [  # in another order than the questions
        {
            "question_type": "is it",
            "multiple_choice_answer": "no",
            "answers": vqa_answers(*["no"] * 10),
            "image_id": 393225,
            "answer_type": "yes/no",
            "question_id": 393225001,
        },
        {
            "question_type": "what is",
            "multiple_choice_answer": "net",
            "answers": vqa_answers(*NET),
            "image_id": 262148,
            "answer_type": "other",
            "question_id": 262148000,
        },
    ]
    name = "v2_OpenEnded_mscoco_val2014_questions.json"
    put(folder / name, {**about, "questions": questions})
    put(folder / "v2_mscoco_val2014_annotations.json", {**about, "annotations": annotations})
    put(folder / "val2014/COCO_val2014_000000262148.jpg", png(1))
    put(folder / "val2014/COCO_val2014_000000393225.jpg", png(2))


def vqav2_mirror(folder):
    rows = [
        {
            "question_type": "what is",
            "multiple_choice_answer": "net",
            "answers": vqa_answers(*NET),
            "image_id": 262148,
            "answer_type": "other",
            "question_id": 262148000,
            "question": "What is this?",
            "image": image(1),
        },
        {
            "question_type": "is it",
            "multiple_choice_answer": "no",
            "answers": vqa_answers(*["no"] * 10),
            "image_id": 393225,
            "answer_type": "yes/no",
            "question_id": 393225001,
            "question": "Is it red?",
            "image": image(2),
        },
    ]
    parquet(folder / "data/validation-00000-of-00002.parquet", rows[:1])
    parquet(folder / "data/validation-00001-of-00002.parquet", rows[1:])


VQAV2 = [
    golden("262148000", [1], f"<image>\nWhat is this?{SHORT}", "net", answers=NET, subtask="other"),
    golden(
        "393225001",
        [2],
        f"<image>\nIs it red?{SHORT}",
        "no",
        answers=("no",) * 10,
        subtask="yes/no",
    ),
]
BRAND = (
    "nous les gosses",
    "dakota",
    "clos culombu",
    "dakota digital",
    "dakota",
    "dakota",
    "dakota",
)
BRAND += ("dakota digital", "dakota digital", "dakota")


def textvqa_official(folder):
    data = {
        "question": "what is the brand of this camera?",
        "image_id": "003a8ae2ef43b901",
        "image_classes": ["Cassette deck"],
        "flickr_original_url": "https://example.org/4565.jpg",
        "image_width": 1024,
        "answers": list(BRAND),
        "question_tokens": ["what", "is"],
        "question_id": 34602,
        "set_name": "val",
    }
    other = data | {"question": "what is the year on this?", "question_id": 34603}
    put(
        folder / "TextVQA_0.5.1_val.json",
        {"dataset_type": "val", "dataset_name": "textvqa", "data": [data, other]},
    )
    put(folder / "train_images/003a8ae2ef43b901.jpg", png(1))
    asked = {"question_id": "003a8ae2ef43b901", "image": "003a8ae2ef43b901.jpg"}
    tokens = "Reference OCR token: DAKOTA, DIGITAL"
    lines(
        folder / "llava_textvqa_val_v051_ocr.jsonl",
        [
            asked | {"text": f"What is the brand of this camera?\n{tokens}{SHORT}"},
            asked | {"text": f"What is the year on this?\n{tokens}{SHORT}"},
        ],
    )


def textvqa_mirror(folder):
    row = {
        "image_id": "003a8ae2ef43b901",
        "question_id": 34602,
        "question": "what is the brand of this camera?",
        "image": image(1),
        "answers": list(BRAND),
        "set_name": "val",
        "ocr_tokens": ["DAKOTA", "DIGITAL"],
    }
    other = row | {"question": "what is the year on this?", "question_id": 34603}
    parquet(folder / "data/validation-00000-of-00001.parquet", [row, other])


def textvqa(tokens):
    return [
        golden(
            f"{number}",
            [1],
            f"<image>\n{question}{tokens}{SHORT}",
            "dakota",
            answers=BRAND,
            group="local",
        )
        for number, question in (
            (34602, "What is the brand of this camera?"),
            (34603, "What is the year on this?"),
        )
    ]


def vizwiz_official(folder):
    answers = [{"answer": text, "answer_confidence": "yes"} for text in ("unanswerable", "soda")]
    row = {
        "image": "VizWiz_val_00000000.jpg",
        "question": "Ok. There is another picture I hope it is a better one.",
        "answers": [*answers, answers[0]],
        "answer_type": "unanswerable",
        "answerable": 0,
    }
    put(folder / "val.json", [row])
    put(folder / "val/VizWiz_val_00000000.jpg", png(1))


def vizwiz_mirror(folder):
    row = {
        "question_id": "VizWiz_val_00000000",
        "image": image(1),
        "question": "Ok. There is another picture I hope it is a better one.",
        "answers": ["unanswerable", "soda", "unanswerable"],
        "category": "unanswerable",
    }
    parquet(folder / "data/val-00000-of-00001.parquet", [row])


VIZWIZ = [
    golden(
        "VizWiz_val_00000000",
        [1],
        "<image>\nOk. There is another picture I hope it is a better one."
        "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT,
        "unanswerable",
        answers=("unanswerable", "soda", "unanswerable"),
        subtask="unanswerable",
    )
]


def pope_official(folder):
    for number, split in enumerate(("random", "popular", "adversarial")):
        row = {
            "question_id": 1,
            "image": "COCO_val2014_000000310196.jpg",
            "text": f"Is there a {split} in the image?",
            "label": "no" if number else "yes",
        }
        lines(folder / f"coco/coco_pope_{split}.json", [row])
    put(folder / "val2014/COCO_val2014_000000310196.jpg", png(1))


def pope_rows():
    for number, split in enumerate(("random", "popular", "adversarial")):
        yield {
            "id": str(number),
            "question_id": "1",
            "question": f"Is there a {split} in the image?",
            "answer": "no" if number else "yes",
            "image_source": "COCO_val2014_000000310196",
            "image": image(1),
            "category": split,
        }


def pope_full(folder):
    for row in pope_rows():
        parquet(folder / f"Full/{row['category']}-00000-of-00001.parquet", [row])


def pope_one_file(folder):
    parquet(folder / "data/test-00000-of-00001.parquet", list(pope_rows()))


POPE = [
    golden(
        f"{split}-1",
        [1],
        f"<image>\nIs there a {split} in the image?{SHORT}",
        answer,
        subtask=split,
    )
    for split, answer in (("random", "yes"), ("popular", "no"), ("adversarial", "no"))
]

LAYOUTS = [
    ("gqa", gqa_official, GQA),
    ("gqa", gqa_mirror, GQA),
    ("vqav2", vqav2_official, VQAV2),
    ("vqav2", vqav2_mirror, VQAV2),
    ("textvqa", textvqa_official, textvqa("")),
    ("textvqa", textvqa_mirror, textvqa("")),
    ("textvqa-ocr", textvqa_official, textvqa("\nReference OCR token: DAKOTA, DIGITAL")),
    ("textvqa-ocr", textvqa_mirror, textvqa("\nReference OCR token: DAKOTA, DIGITAL")),
    ("vizwiz", vizwiz_official, VIZWIZ),
    ("vizwiz", vizwiz_mirror, VIZWIZ),
    ("pope", pope_official, POPE),
    ("pope", pope_full, POPE),
    ("pope", pope_one_file, POPE),
]


@pytest.mark.parametrize(("name", "make", "expected"), LAYOUTS)
def test_golden_items(tmp_path, name, make, expected):
    make(tmp_path)
    assert read(name, tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "make", "expected"), [row for row in LAYOUTS if "official" in row[1].__name__]
)
def test_zipped_is_unzipped(tmp_path, name, make, expected):
    make(tmp_path / "plain")
    assert read(name, zipped(tmp_path / "plain")) == expected


COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene")
PERCEPTION += ("landmark", "artwork", "OCR")
GROUPS = dict.fromkeys((*COGNITION, "scene"), "global")
GROUPS |= dict.fromkeys(("count", "position", "OCR"), "local")
IN_FOLDERS = ("posters", "celebrity", "scene", "landmark", "artwork")


def mme_official(folder):
    for number, subtask in enumerate((*PERCEPTION, *COGNITION)):
        inner = folder / "MME_Benchmark_release_version" / subtask
        images, answers = inner, inner
        if subtask in IN_FOLDERS:
            images, answers = inner / "images", inner / "questions_answers_YN"
        put(images / f"000{number}.{'png' if number % 2 else 'jpg'}", png(number))
        put(
            answers / f"000{number}.txt",
            f"Is this {subtask}? Please answer yes or no.\tYes\n"
            f"Is this nothing?  Please answer yes or no.\tNo\n",
        )


def mme_mirror(folder):
    rows = [
        {
            "question_id": f"{subtask}/000{number}.png",
            "image": image(number),
            "question": f"Is this {thing}? Please answer yes or no.",
            "answer": answer,
            "category": subtask,
        }
        for number, subtask in enumerate((*PERCEPTION, *COGNITION))
        for thing, answer in ((subtask, "Yes"), ("nothing", "No"))
    ]
    parquet(folder / "data/test-00000-of-00001.parquet", rows, row_group=5)


def mme_zipped(folder):
    mme_official(folder / "plain")
    zipped(folder / "plain").rename(folder / "packed")
    shutil.rmtree(folder / "plain")


@pytest.mark.parametrize("make", [mme_official, mme_zipped, mme_mirror])
def test_mme(tmp_path, make):
    make(tmp_path)
    found = read("mme", tmp_path)
    assert [each["id"].split("#")[0] for each in found] == [each["unit"] for each in found]
    assert [each | {"id": None} for each in found] == [
        golden(
            None,
            [number],
            f"<image>\nIs this {thing}?{SHORT}",
            answer,
            subtask=subtask,
            unit=f"{subtask}/000{number}",
            group=GROUPS.get(subtask),
        )
        for number, subtask in enumerate((*PERCEPTION, *COGNITION))
        for thing, answer in ((subtask, "yes"), ("nothing", "no"))
    ]


def test_a_folder_of_mme_that_is_not_complete_is_refused(tmp_path):
    mme_official(tmp_path)
    (tmp_path / "MME_Benchmark_release_version/OCR").rename(tmp_path / "away")
    with pytest.raises(ValueError, match="no text files of OCR"):
        read("mme", tmp_path)
