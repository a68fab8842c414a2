"""Golden items of multiple-choice benchmarks and of MathVista, in every published layout."""

import pytest

from diysink.evaluation.benchmarks import BENCHMARKS
from diysink.evaluation.benchmarks.mathvista import query
from diysink.records import question_of
from tests.evaluation.benchmarks.samples import (
    b64,
    delimited,
    golden,
    image,
    lines,
    parquet,
    png,
    put,
    read,
    zipped,
)

LETTER = "\nAnswer with the option's letter from the given choices directly."


def scienceqa_official(folder):
    problem = {
        "question": "What is the name of the colony shown?",
        "choices": ["Maryland", "New Hampshire", "Rhode Island", "Vermont"],
        "answer": 1,
        "hint": "",
        "image": "image.png",
        "task": "closed choice",
        "grade": "grade5",
        "subject": "social science",
        "topic": "us-history",
        "lecture": "",
        "solution": "",
        "split": "test",
    }
    hinted = {"hint": "The map shows rain.", "choices": ["wet", "dry"], "answer": 0}
    problems = {
        "1": problem | {"split": "train"},
        "4": problem,
        "5": problem | {"image": None},  # text only: not asked
        "11": problem | hinted,
    }
    put(folder / "problems.json", problems)
    put(folder / "pid_splits.json", {"test": ["4", "5", "11"], "train": ["1"]})
    put(folder / "images/test/4/image.png", png(1))
    put(folder / "images/test/11/image.png", png(2))


def scienceqa_mirror(folder):
    row = {
        "image": image(1),
        "question": "What is the name of the colony shown?",
        "choices": ["Maryland", "New Hampshire", "Rhode Island", "Vermont"],
        "answer": 1,
        "hint": "",
        "subject": "social science",
    }
    hinted = {"hint": "The map shows rain.", "choices": ["wet", "dry"], "answer": 0}
    rows = [row, row | hinted | {"image": image(2)}]
    parquet(folder / "ScienceQA-IMG/test-00000-of-00001.parquet", rows)


def scienceqa(first, second):
    colonies = ("Maryland", "New Hampshire", "Rhode Island", "Vermont")
    colony = "What is the name of the colony shown?"
    return [
        golden(
            first,
            [1],
            f"<image>\n{colony}\nA. Maryland\nB. New Hampshire\nC. Rhode Island\nD. Vermont"
            + LETTER,
            "B",
            options=colonies,
            subtask="social science",
        ),
        golden(
            second,
            [2],
            f"<image>\nContext: The map shows rain.\n{colony}\nA. wet\nB. dry{LETTER}",
            "A",
            options=("wet", "dry"),
            subtask="social science",
        ),
    ]


def mmbench_rows(picture, nothing):
    common = {"category": "identity_reasoning", "source": "reasonqa", "split": "dev"}
    return [
        {
            "index": 241,
            "question": 'Which is true?\nLook at "it".',
            "hint": "The passage",
            "A": "cats",
            "B": "dogs",
            "C": "birds",
            "D": nothing,
            "answer": "B",
            "image": picture(1),
            **common,
        },
        {
            "index": 252,
            "question": "How many?",
            "hint": nothing,
            "A": "one",
            "B": "two",
            "C": nothing,
            "D": nothing,
            "answer": "A",
            "image": picture(2),
            **common,
        },
    ]


def mmbench_official(folder):
    delimited(folder / "mmbench_dev_20230712.tsv", mmbench_rows(b64, ""))


def mmbench_mirror(folder):
    parquet(folder / "en/dev-00000-of-00001.parquet", mmbench_rows(image, "nan"))


def mmbench_with_orders(folder):
    """All orders are in the file; those after the first name the row that has the image."""
    first, second = mmbench_rows(b64, "")
    delimited(
        folder / "MMBench_DEV_EN.tsv",
        [
            first,
            second,
            first
            | {"index": 1000241, "A": "dogs", "B": "birds", "C": "cats", "answer": "A"}
            | {"image": "241"},
            first
            | {"index": 2000241, "A": "birds", "B": "cats", "C": "dogs", "answer": "C"}
            | {"image": "241"},
            second | {"index": 1000252, "A": "two", "B": "one", "answer": "B", "image": "252"},
        ],
    )


def mmbench(turn, unit=None):
    first = [("cats", "dogs", "birds"), ("dogs", "birds", "cats"), ("birds", "cats", "dogs")][turn]
    lines = "\n".join(f"{letter}. {each}" for letter, each in zip("ABC", first, strict=True))
    return golden(
        f"{turn * 1_000_000 + 241}",
        [1],
        f'<image>\nThe passage\nWhich is true?\nLook at "it".\n{lines}{LETTER}',
        "BAC"[turn],
        options=first,
        subtask="identity_reasoning",
        unit=unit,
    )


def mmbench_two(turn, unit=None):
    options = [("one", "two"), ("two", "one")][turn]
    return golden(
        f"{turn * 1_000_000 + 252}",
        [2],
        f"<image>\nHow many?\nA. {options[0]}\nB. {options[1]}{LETTER}",
        "AB"[turn],
        options=options,
        subtask="identity_reasoning",
        unit=unit,
    )


MMBENCH = [mmbench(0), mmbench_two(0)]
CIRCULAR = [mmbench(turn, "241") for turn in range(3)]
CIRCULAR += [mmbench_two(turn, "252") for turn in range(2)]


def cvbench_rows():
    return [
        {
            "idx": 0,
            "type": "2D",
            "task": "Count",
            "image": image(1),
            "question": "How many organs are in the image?",
            "choices": ["3", "2", "1", "0"],
            "answer": "(C)",
            "prompt": "How many organs are in the image? Select from the following choices.\n"
            "(A) 3\n(B) 2\n(C) 1\n(D) 0",
            "filename": "img/2D/count/ade20k_10.png",
            "source": "ADE20K",
        },
        {
            "idx": 1438,
            "type": "3D",
            "task": "Depth",
            "image": image(2),
            "question": "Which object is closer?",
            "choices": ["chair", "bed"],
            "answer": "(A)",
            "prompt": "Which object is closer?\n(A) chair\n(B) bed",
            "filename": "img/3D/depth/omni3d_10.png",
            "source": "Omni3D",
        },
    ]


def cvbench_two_files(folder):
    flat, deep = cvbench_rows()
    parquet(folder / "test_2d.parquet", [flat])
    parquet(folder / "test_3d.parquet", [deep])


def cvbench_two_folders(folder):
    flat, deep = cvbench_rows()
    parquet(folder / "2D/test-00000-of-00001.parquet", [flat])
    parquet(folder / "3D/test-00000-of-00001.parquet", [deep])


CVBENCH = [
    golden(
        "2D-0",
        [1],
        "<image>\nHow many organs are in the image? Select from the following choices."
        f"\n(A) 3\n(B) 2\n(C) 1\n(D) 0{LETTER}",
        "C",
        options=("3", "2", "1", "0"),
        subtask="Count",
        group="local",
        labels=("ADE20K",),
        details={"type": "2D"},
    ),
    golden(
        "3D-1438",
        [2],
        f"<image>\nWhich object is closer?\n(A) chair\n(B) bed{LETTER}",
        "A",
        options=("chair", "bed"),
        subtask="Depth",
        labels=("Omni3D",),
        details={"type": "3D"},
    ),
]


def mmstar_row(picture):
    return {
        "index": 0,
        "question": "Which option describes the cat?\nOptions: A: It is red, not blue., "
        "B: It is A: blue, C: It sits, D: None",
        "answer": "B",
        "category": "coarse perception",
        "l2_category": "image scene and topic",
        "image": picture(1),
    }


def mmstar_bytes(folder):
    parquet(folder / "mmstar.parquet", [mmstar_row(png)])


def mmstar_struct(folder):
    parquet(folder / "val/val-00000-of-00001.parquet", [mmstar_row(image)])


def mmstar_tsv(folder):
    delimited(folder / "MMStar.tsv", [mmstar_row(b64)])


MMSTAR = [
    golden(
        "0",
        [1],
        "<image>\nWhich option describes the cat?\nOptions: A: It is red, not blue., "
        f"B: It is A: blue, C: It sits, D: None{LETTER}",
        "B",
        options=("It is red, not blue.", "It is A: blue", "It sits", "None"),
        subtask="image scene and topic",
        details={"category": "coarse perception"},
    )
]


def vstar_row():
    return {
        "text": "What is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar"
        f"\n(D) leather{LETTER}",
        "category": "direct_attributes",
        "question_id": "0",
        "label": "A",
    }


def vstar_official(folder):
    row = vstar_row() | {"image": "direct_attributes/sa_4690.jpg"}
    lines(folder / "test_questions.jsonl", [row])
    put(folder / "direct_attributes/sa_4690.jpg", png(1))


def vstar_mirror(folder):
    parquet(folder / "data/test-00000-of-00001.parquet", [vstar_row() | {"image": image(1)}])


VSTAR = [
    golden(
        "direct_attributes-0",
        [1],
        "<image>\nWhat is the material of the glove?\n(A) rubber\n(B) cotton\n(C) kevlar"
        f"\n(D) leather{LETTER}",
        "A",
        options=("rubber", "cotton", "kevlar", "leather"),
        subtask="direct_attributes",
    )
]


def hrbench_rows(picture):
    row = {
        "index": 0,
        "question": "What is the color of the car?",
        "answer": "A",
        "A": "red",
        "B": "blue",
        "C": "green",
        "D": "grey",
        "category": "single",
        "cycle_category": "cycle_0",
        "image": picture(1),
    }
    turned = {"index": 1, "A": "blue", "B": "green", "C": "grey", "D": "red", "answer": "D"}
    other = {"index": 2, "image": picture(2), "category": "cross"}
    return [row, row | turned | {"cycle_category": "cycle_1"}, row | other]


def hrbench_official(folder):
    delimited(folder / "hr_bench_4k.tsv", hrbench_rows(b64))


def hrbench_parquet(folder):
    parquet(folder / "hr_bench_4k.parquet", hrbench_rows(b64))


def hrbench(number, pictured, options, answer, subtask, cycle):
    body = "\n".join(f"{letter}. {each}" for letter, each in zip("ABCD", options, strict=True))
    return golden(
        f"{number}",
        [pictured],
        f"<image>\nWhat is the color of the car?\n{body}\nAnswer the option letter directly.",
        answer,
        options=options,
        subtask=subtask,
        details={"cycle": cycle},
    )


FOUR = ("red", "blue", "green", "grey")
HRBENCH = [
    hrbench(0, 1, FOUR, "A", "single", "cycle_0"),
    hrbench(1, 1, ("blue", "green", "grey", "red"), "D", "single", "cycle_1"),
    hrbench(2, 2, FOUR, "A", "cross", "cycle_0"),
]

LAYOUTS = [
    ("scienceqa", scienceqa_official, scienceqa("4", "11")),
    ("scienceqa", scienceqa_mirror, scienceqa("test-0", "test-1")),
    ("mmbench", mmbench_official, MMBENCH),
    ("mmbench", mmbench_mirror, MMBENCH),
    ("mmbench", mmbench_with_orders, MMBENCH),
    ("mmbench-circular", mmbench_official, CIRCULAR),
    ("mmbench-circular", mmbench_mirror, CIRCULAR),
    ("mmbench-circular", mmbench_with_orders, [CIRCULAR[n] for n in (0, 3, 1, 2, 4)]),
    ("cvbench", cvbench_two_files, CVBENCH),
    ("cvbench", cvbench_two_folders, CVBENCH),
    ("mmstar", mmstar_bytes, MMSTAR),
    ("mmstar", mmstar_struct, MMSTAR),
    ("mmstar", mmstar_tsv, MMSTAR),
    ("vstar", vstar_official, VSTAR),
    ("vstar", vstar_mirror, VSTAR),
]


@pytest.mark.parametrize(("name", "make", "expected"), LAYOUTS)
def test_golden_items(tmp_path, name, make, expected):
    make(tmp_path)
    assert read(name, tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "make", "expected"), [row for row in LAYOUTS if "mirror" not in row[1].__name__]
)
def test_zipped_is_unzipped(tmp_path, name, make, expected):
    make(tmp_path / "plain")
    assert read(name, zipped(tmp_path / "plain")) == expected


@pytest.mark.parametrize("make", [hrbench_official, hrbench_parquet])
def test_hrbench(tmp_path, make):
    """The orders of one question are one unit; the same words about another image are another."""
    make(tmp_path)
    found = read("hrbench-4k", tmp_path)
    assert [each | {"unit": None} for each in found] == HRBENCH
    units = [each["unit"] for each in found]
    assert units[0] == units[1] != units[2]


def mmmu_rows():
    empty = {f"image_{number}": None for number in range(1, 8)}
    row = {
        "id": "validation_Art_Theory_1",
        "question": "Compare <image 2> with <image 1>.",
        "options": "['<image 2>', \"it's the same\"]",
        "explanation": "",
        **empty,
        "image_1": image(1),
        "image_2": image(2),
        "img_type": "['Paintings']",
        "answer": "B",
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice",
        "subfield": "Visual Arts",
    }
    one = {"id": "validation_Math_2", "question": "<image 1> How many?", "options": "[]"}
    one |= {"answer": "['2', '2.0']", "question_type": "open", "subfield": "Graphs"}
    return [row, row | one]


MMMU = [
    golden(
        "validation_Art_Theory_1",
        [2, 1, 2],
        "Compare <image> with <image>.\n(A) <image>\n(B) it's the same\n"
        "\nAnswer with the option's letter from the given choices directly.",
        "B",
        options=("<image>", "it's the same"),
        subtask="Art_Theory",
        details={"question_type": "multiple-choice", "subfield": "Visual Arts"},
    ),
    golden(
        "validation_Math_2",
        [1],
        "<image> How many?\nAnswer the question using a single word or phrase.",
        "2",
        answers=("2", "2.0"),
        subtask="Math",
        details={"question_type": "open", "subfield": "Graphs"},
    ),
]


def test_mmmu(tmp_path):
    """Images stand where the question and the options refer to them, twice where it is twice."""
    first, second = mmmu_rows()
    parquet(tmp_path / "Art_Theory/validation-00000-of-00001.parquet", [first])
    parquet(tmp_path / "Math/validation-00000-of-00001.parquet", [second])
    parquet(tmp_path / "Math/dev-00000-of-00001.parquet", [second])
    assert read("mmmu", tmp_path) == MMMU
    items = BENCHMARKS["mmmu"].items(tmp_path)
    assert question_of(items[1]).startswith("How many?")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image_2": None}, "image_2"),
        ({"options": "[[[["}, "not a list of options"),
        ({"options": "__import__('os')"}, "of 0 options"),
        ({"answer": "C"}, "of 2 options"),
        ({"question_type": "essay"}, "question_type"),
    ],
)
def test_what_is_wrong_with_an_item_of_mmmu_is_named(tmp_path, change, named):
    rows = mmmu_rows()
    parquet(tmp_path / "Art_Theory/validation-0.parquet", [rows[1], rows[0] | change])
    items = BENCHMARKS["mmmu"].items(tmp_path)
    assert items[0].id == "validation_Math_2"
    with pytest.raises(ValueError, match=f"row 1: .*{named}"):
        items[1]


def mathvista_rows():
    metadata = {
        "category": "math-targeted-vqa",
        "context": "geometry diagram",
        "skills": ["geometry reasoning"],
        "task": "geometry problem solving",
        "split": "testmini",
    }
    choice = {
        "pid": "2",
        "question": "Find x.",
        "choices": ["30", "40"],
        "unit": None,
        "precision": None,
        "answer": "40",
        "question_type": "multi_choice",
        "answer_type": "text",
        "metadata": metadata,
        "query": "Hint: Please answer the question and provide the correct option letter, e.g., A, "
        "B, C, D, at the end.\nQuestion: Find x.\nChoices:\n(A) 30\n(B) 40",
    }
    free = {
        "pid": "3",
        "question": "How heavy is it?",
        "choices": None,
        "unit": "g",
        "precision": 1.0,
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
        "metadata": metadata | {"skills": ["statistical reasoning"], "task": "figure QA"},
        "query": "Hint: Please answer the question requiring a floating-point number with one "
        "decimal place and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.\n"
        "Question: How heavy is it? (Unit: g)",
    }
    return [choice, free]


def mathvista_official(folder):
    rows = {row["pid"]: row | {"image": f"images/{row['pid']}.jpg"} for row in mathvista_rows()}
    put(folder / "testmini.json", rows)
    put(folder / "images/2.jpg", png(2))
    put(folder / "images/3.jpg", png(3))


def mathvista_parquet(folder):
    rows = [
        row | {"image": f"images/{row['pid']}.jpg", "decoded_image": image(int(row["pid"]))}
        for row in mathvista_rows()
    ]
    parquet(folder / "data/testmini-00000-of-00001-725687bf7a18d64b.parquet", rows)


@pytest.mark.parametrize("make", [mathvista_official, mathvista_parquet])
def test_mathvista(tmp_path, make):
    make(tmp_path / "plain")
    choice, free = mathvista_rows()
    about = {"precision": None, "unit": None, "category": "math-targeted-vqa"}
    expected = [
        golden(
            "2",
            [2],
            f"<image>\n{choice['query']}",
            "40",
            options=("30", "40"),
            subtask="geometry problem solving",
            group="global",
            details=about
            | {"question_type": "multi_choice", "answer_type": "text"}
            | {"task": "geometry problem solving"},
            labels=("geometry reasoning",),
        ),
        golden(
            "3",
            [3],
            f"<image>\n{free['query']}",
            "1.2",
            subtask="figure QA",
            details=about
            | {"question_type": "free_form", "answer_type": "float", "precision": 1, "unit": "g"}
            | {"task": "figure QA"},
            labels=("statistical reasoning",),
        ),
    ]
    assert read("mathvista", tmp_path / "plain") == expected
    assert read("mathvista", zipped(tmp_path / "plain")) == expected


def test_the_prompt_of_mathvista_is_its_own_column():
    assert [query(row) for row in mathvista_rows()] == [row["query"] for row in mathvista_rows()]


def test_the_orders_of_mmbench_have_the_same_right_option(tmp_path):
    mmbench_official(tmp_path)
    items = BENCHMARKS["mmbench-circular"].items(tmp_path)
    rights = {}
    for item in (items[index] for index in range(len(items))):
        right = item.options["ABCDE".index(item.conversations[1].text)]
        rights.setdefault(item.unit, set()).add(right)
    assert rights == {"241": {"dogs"}, "252": {"one"}}
