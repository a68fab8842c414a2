"""Predictions of all kinds for items of each benchmark, in their published shape."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from diysink.evaluation.metrics.mme import COGNITION, PERCEPTION
from diysink.evaluation.metrics.pope import SPLITS
from diysink.evaluation.metrics.vqa import CONTRACTIONS

Case = dict[str, Any]

WORDS = (
    *("red", "blue", "dark green", "table", "t-shirt", "the dog", "two", "2", "10", "ten", "none"),
    *(
        "3.5",
        "1,000",
        "u.s.",
        "man's hat",
        "it's",
        "stop sign",
        "coca-cola",
        "a/b",
        "left",
        "right",
    ),
    *("12:30", "50%", "$5", "don't", "yes", "no", "unanswerable", "St. John", "#1", "e.g."),
    *("red,blue", "red, blue", "wet?", "the man's"),
)
NAMES = ("a cat", "a dog", "the blue bird", "12 cm", "left of the table", "red", "New York", "B2")
PHRASES = (  # {0} the answer, {1} another one
    *("{0}",) * 6,
    "{0}.",
    "{0}. ",
    " {0}",
    "{0}\n",
    "{0}!",
    "{0}?",
    "{0},",
    "({0})",
    "({0}).",
    "[{0}]",
    '"{0}"',
    "'{0}'",
    "**{0}**",
    "{0}:",
    "{0})",
    "the {0}",
    "a {0}",
    "The answer is {0}.",
    "The answer is {0}",
    "the answer is {0}",
    "The answer is ({0}).",
    'The answer is "{0}".',
    "The correct answer is {0}.",
    "Answer: {0}",
    "Option {0}",
    "option {0}.",
    "It is {0}.",
    "I think it is {0}, as far as I can see.",
    "{0} is the right answer because of what is in the picture.",
    "{0}. This is what the picture shows.",
    "{0}, not {1}",
    "{0} or {1}",
    "{0}, {1}",
    "({0}) or ({1})",
    "{0}. {1}.",
    "not {0}",
    "{0}, but {1}",
    "First I thought {1}. The answer is {0}.",
    "{0}\n{1}",
    "So it could be {1}\nfinally it is {0}",
    "x = {0}",
    "about {0} or so",
    "...{0}",
    "- {0}",
    "A man would say {0}",
    "USB {0}",
    "Ответ: {0}",
    "Ответ {0}",
    "答案是{0}",
    "答案是 {0}。",
    "选 {0}",
    "정답은 {0}",
    "答えは {0}",
)
OTHERS = (
    "",
    " ",
    ".",
    "...",
    "?!",
    "I don't know",
    "I cannot answer that.",
    "I'm sorry, but without the image provided I can't say",
    "Sorry, I can't help with images of people yet.",
    "Cannot determine the answer",
    "As an AI model, I am not able to see.",
    "unanswerable",
    "Z",
    "none of them",
    "All of the above",
    "A B C D",
    "know",
    "nothing",
    "y",
    "N",
    "Y.",
    "n o",
    "yes no",
    "NO",
    "No it is not.",
    "Yes. No.",
    "There is not any.",
    "n.o.",
    "1e3",
    "-7",
    "[1, 2]",
    "[1,2]",
    "nan",
    "日本",
    "∅",
)


def phrased(rng: random.Random, right: str, wrong: str) -> str:
    """A prediction: mostly the right answer or a wrong one in some phrase and case."""
    if rng.random() < 0.15:
        return rng.choice(OTHERS)
    first, second = (right, wrong) if rng.random() < 0.6 else (wrong, right)
    case: Callable[[str], str] = rng.choice(
        (str, str, str, str, str.lower, str.upper, str.capitalize)
    )
    return rng.choice(PHRASES).format(case(first), second)


def open_answers(rng: random.Random, benchmark: str, number: int) -> Case:
    """Ten people's answers: VQAv2, TextVQA, VizWiz."""
    right, wrong = rng.sample([*WORDS, *rng.sample(sorted(CONTRACTIONS), 8)], 2)
    people = [rng.choice(PHRASES[:12]).format(right) for _ in range(rng.randint(0, 10))]
    people += [rng.choice(WORDS) for _ in range(10 - len(people))]
    rng.shuffle(people)
    prediction = right if rng.random() < 0.3 else phrased(rng, right, wrong)
    return {"reference": people[0], "answers": people, "prediction": prediction}


def short_answer(rng: random.Random, benchmark: str, number: int) -> Case:
    """One answer in lower case: GQA."""
    right, wrong = rng.sample(WORDS, 2)
    prediction = right if rng.random() < 0.3 else phrased(rng, right, wrong)
    return {"reference": right.lower(), "prediction": prediction}


def yes_or_no(rng: random.Random, benchmark: str, number: int) -> Case:
    """Pairs of questions about an image: POPE, MME."""
    image, second = divmod(number, 2)
    right, wrong = ("no", "yes") if second else ("yes", "no")
    subtasks = SPLITS if benchmark == "pope" else PERCEPTION + COGNITION
    prediction = rng.choice((right, right, wrong, phrased(rng, right, wrong)))
    return {
        "reference": right,
        "subtask": subtasks[image % len(subtasks)],
        "unit": f"{image}",
        "image": image,
        "prediction": prediction,
    }


def choice(rng: random.Random, benchmark: str, number: int) -> Case:
    """One of several options, said by letter or by text."""
    unit, order = divmod(number, 4)
    options = rng.sample(NAMES, 4)
    place, other = rng.sample(range(4), 2)
    texts = [options[place], options[other]]
    letters = ["ABCD"[place], "ABCD"[other]]
    both = [f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True)]
    said = phrased(rng, *rng.choice((letters, letters, letters, texts, both)))
    case: Case = {
        "reference": letters[0],
        "options": options,
        "subtask": ("first", "second", "third")[unit % 3],
        "unit": f"{unit}",
        "image": unit,
        "prediction": letters[0] if rng.random() < 0.5 else said,
        "details": {"cycle": order, "source": ("ADE20K", "COCO", "Omni3D")[unit % 3]},
    }
    if benchmark == "mmmu":
        case["details"]["question_type"] = "multiple-choice"
    return case


def open_question(rng: random.Random, benchmark: str, number: int) -> Case:
    """A word or number: MMMU's open questions."""
    right, wrong = rng.sample([*WORDS, "1,234", "0.5", "x", "-3", "3.14159", "1e3"], 2)
    answers = [right] if rng.random() < 0.7 else [right, rng.choice(WORDS)]
    return {
        "reference": right,
        "answers": answers,
        "prediction": phrased(rng, right, wrong),
        "details": {"question_type": "open"},
    }


def mathvista(rng: random.Random, benchmark: str, number: int) -> Case:
    """Every type of question and answer."""
    kind = rng.choice(("choice", "integer", "float", "list"))
    if kind == "choice":
        case = choice(rng, benchmark, number)
        letter = case["reference"]
        details = {"question_type": "multi_choice", "answer_type": "text", "precision": None}
        return case | {"reference": case["options"]["ABCD".index(letter)], "details": details}
    precision = rng.choice((1, 2)) if kind == "float" else None
    values = [rng.randint(-20, 2000) for _ in range(2)]
    if kind == "float":
        texts = [str(round(value / 7, rng.choice((precision or 1, 3)))) for value in values]
        right = str(round(float(texts[0]), precision))
    elif kind == "list":
        texts = [f"[{value}, {value + 1}]" for value in values]
        right = texts[0]
    else:
        texts = [rng.choice((f"{value}", f"{value:,}", f"{value}.0")) for value in values]
        right = str(values[0])
    details = {"question_type": "free_form", "answer_type": kind, "precision": precision}
    return {"reference": right, "details": details, "prediction": phrased(rng, *texts)}


BENCHMARKS: dict[str, tuple[str, Callable[[random.Random, str, int], Case]]] = {
    "vqav2": ("vqa", open_answers),
    "textvqa": ("vqa", open_answers),
    "vizwiz": ("vqa", open_answers),
    "gqa": ("gqa", short_answer),
    "pope": ("pope", yes_or_no),
    "mme": ("mme", yes_or_no),
    "scienceqa": ("scienceqa", choice),
    "mmmu": ("mmmu", choice),
    "mmmu, open": ("mmmu", open_question),
    "mathvista": ("mathvista", mathvista),
    "mmbench": ("mmbench-circular", choice),
    "hrbench": ("hrbench", choice),
    "mmstar": ("mmstar", choice),
    "cvbench": ("cvbench", choice),
    "vstar": ("vstar", choice),
}
"""Each benchmark's metric and how its cases are made."""


def cases(count: int, seed: int) -> Iterator[Case]:
    """So many cases of each benchmark."""
    for benchmark, (metric, make) in BENCHMARKS.items():
        rng = random.Random(f"{benchmark} {seed}")
        for number in range(count):
            blank = {"answers": [], "options": [], "subtask": None, "unit": None, "details": {}}
            of_all = {"benchmark": benchmark, "metric": metric, "number": number, "image": number}
            yield blank | of_all | make(rng, benchmark, number)
