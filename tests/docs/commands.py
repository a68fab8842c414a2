"""Every command of the README and the guides: which are run, and why the others are not.

    python -m tests.docs.commands       # all, word for word, in a copy: up to half an hour
    python -m tests.docs.commands docs/guides/dvc.md

The copy is a checkout of its own under a temporary folder, in which the miniature has run once with
the settings of ``conf/test``; commands find these settings by ``KEDRO_ENV``. A block that ``HOW``
does not name is an error, so that a new one is thought of.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGES = ("README.md", *(f"docs/guides/{p.name}" for p in sorted((ROOT / "docs/guides").glob("*"))))
SHELL = {"", "sh", "bash"}
SERVER = re.compile(r"(\S*/)?kedro mlflow ui\b")
ADDRESS = "http://127.0.0.1:5000/health"


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, its language as fenced, and its text."""

    page: str
    language: str
    text: str

    @property
    def keys(self) -> list[tuple[str, str]]:
        """What in ``HOW`` speaks of it: exactly one."""
        return [(page, start) for page, start in HOW if page == self.page and
                self.text.startswith(start)]  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """A shell block's commands, without comments, continued lines as one."""
        joined = self.text.replace("\\\n", "")
        bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
        return [line for line in bare if line]


@dataclass(frozen=True)
class Run:
    """Run it; ``given`` are the names of a Python block that its page has spoken of."""

    given: str = ""


@dataclass(frozen=True)
class Skip:
    """Do not run it here, for this reason."""

    why: str


HUB = "needs a download from the hub"
YOURS = "needs data or a model of the reader's own"
PICTURE = "from PIL import Image\nimage = Image.new('RGB', (32, 32), 'red')\n"
FILE = PICTURE + "image.save('picture.png')\n"
TABLE = f"""{FILE}
import pandas

image_bytes = open('picture.png', 'rb').read()
questions = ['what colour is the only circle?']
table_of_images_and_questions = pandas.DataFrame({{'image': [image_bytes], 'question': questions}})
"""
TRACKED = "import mlflow\nmlflow.set_tracking_uri('sqlite:///mlruns/mlflow.db')\n"
INTAKE = (
    "import shutil, pathlib\nraw = pathlib.Path('data/01_raw/miniature')\n"
    "shutil.copy(raw / 'train.json', 'train.json')\n"
    "shutil.copytree(raw / 'images', 'images', dirs_exist_ok=True)\n"
)

TINY = "tests/docs/test_documented.py runs it on a tiny model"
G = "docs/guides/"
HOW: dict[tuple[str, str], Run | Skip] = {
    ("README.md", "make run "): Skip("takes long; .ci/run runs it"),
    ("README.md", "source .venv/bin/activate"): Run(),
    ("README.md", "import diysink\n"): Skip(TINY),
    ("README.md", "diysink inspect "): Skip(f"{HUB}; tests/census runs the command"),
    ("README.md", "from diysink.encoders import"): Skip(TINY),
    ("README.md", "import diysink.model "): Run(TABLE),
    (f"{G}benchmarks.md", "kedro run --env llava-1.5-7b "): Skip(f"{HUB}, and a GPU"),
    (f"{G}benchmarks.md", "CUDA_VISIBLE_DEVICES=0 kedro run "): Skip(f"{HUB}, and two GPUs"),
    (f"{G}benchmarks.md", "import os\n"): Run(),
    (f"{G}benchmarks.md", "from pathlib import Path\n\nfrom diysink.evaluation"): Skip(YOURS),
    (f"{G}benchmarks.md", "python -m venv lmms"): Skip("benchmarks/lmms_eval_run.py does it"),
    (f"{G}benchmarks.md", "# stock: a folder"): Skip(f"{HUB}; lmms_eval_run.py runs local tasks"),
    (f"{G}dvc.md", "dvc add raw/images"): Skip("test_dvc.py pushes, wipes and pulls such data"),
    (f"{G}dvc.md", "dvc pull "): Skip("test_dvc.py pulls"),
    (f"{G}dvc.md", "dvc remote add -d store s3"): Skip("a bucket"),
    (f"{G}dvc.md", ".venv/bin/dvc repro "): Run(),
    (f"{G}dvc.md", ".venv/bin/dvc plots show"): Run(),
    (f"{G}dvc.md", "dvc exp run -n slower "): Run(),
    (f"{G}dvc.md", "dvc config --local core.no_scm true"): Skip("test_dvc.py runs it without git"),
    (f"{G}dvc.md", "dvc config --local cache.dir "): Skip("test_dvc.py runs it elsewhere"),
    (f"{G}gpu.md", "kedro run --env llava-1.5-7b "): Skip(f"{HUB}, and a GPU"),
    (f"{G}gpu.md", "kedro run --env internvl2.5-4b "): Skip(f"{HUB}, and a GPU"),
    (f"{G}gpu.md", "kedro run --env training-free "): Skip(f"{HUB}, and a GPU"),
    (f"{G}gpu.md", "kedro run --env gemma3-12b "): Skip(f"{HUB}, and a GPU"),
    (f"{G}gpu.md", "from transformers import"): Skip(HUB),
    (f"{G}gpu.md", "python -m benchmarks.gpu"): Skip("a GPU; tests/benchmarks runs its tiny form"),
    (f"{G}inspect.md", "diysink inspect "): Skip(f"{HUB}; tests/census runs the command"),
    (f"{G}inspect.md", "import diysink\n"): Skip(f"{HUB}; tests/census calls it"),
    (f"{G}inspect.md", "kedro run --pipelines inspect "): Skip(HUB),
    (f"{G}mlflow.md", ".venv/bin/kedro mlflow ui "): Run(),
    (f"{G}mlflow.md", "mlflow server "): Skip("test_store.py starts it on a free port"),
    (f"{G}mlflow.md", "import mlflow\n"): Skip("test_store.py runs it, against its server"),
    (f"{G}mlflow.md", "import mlflow, pandas as pd"): Run(FILE),
    (f"{G}mlflow.md", "export MLFLOW_TRACKING_URI="): Skip(
        "test_server.py starts it on a free port"
    ),
    (f"{G}mlflow.md", "import base64, json"): Skip("test_server.py asks its own server"),
    (f"{G}mlflow.md", "mlflow models build-docker "): Skip("needs docker"),
    (f"{G}mlflow.md", "mlflow models generate-dockerfile "): Skip("needs docker"),
    (f"{G}mlflow.md", "kedro run --pipelines promote "): Run(),
    (f"{G}mlflow.md", "from diysink.registry import decisions"): Run(TRACKED),
    (f"{G}report.md", "import pandas as pd"): Run(),
    (f"{G}scale.md", "kedro run --pipelines sinks "): Run(),
    (f"{G}scale.md", "export RAY_AUTH_MODE"): Skip("several machines; tests/engine has their like"),
    (f"{G}scale.md", "#!/bin/bash\n#SBATCH"): Skip("SLURM"),
    (f"{G}scale.md", "aws s3 cp "): Skip("a bucket; tests/records/test_urls.py has a server"),
    (f"{G}scale.md", "torchrun --standalone "): Skip("two GPUs; tests/pipelines/test_ranks.py"),
    (f"{G}scale.md", "kedro run --env test "): Skip("tests/pipelines/test_ranks.py runs the like"),
    (f"{G}scale.md", "#!/bin/bash\n# train"): Skip("SLURM; test_ranks.py has its variables"),
    (f"{G}scale.md", "torchrun --nnodes "): Skip("two machines"),
    (f"{G}scale.md", "settings = FitSettings("): Skip("tests/training/test_devices.py runs it"),
    (f"{G}scale.md", "kedro run --pipelines prepare "): Run(),
    (f"{G}scale.md", "kedro run --pipelines tune "): Run(),
    (f"{G}shared.md", "WARNING "): Skip("an example of what is printed"),
    (f"{G}shared.md", "rm -r data/.work"): Run(),
    (f"{G}training-free.md", "kedro run --env training-free "): Skip(HUB),
    (f"{G}training-free.md", "kedro run\n"): Run(),
    (f"{G}your-data.md", "img2dataset "): Skip("fetches from the internet"),
    (f"{G}your-data.md", "kedro run --pipelines prepare,sinks "): Skip(YOURS),
    (f"{G}your-data.md", "from diysink.artifact import Workspace"): Run(INTAKE),
    (f"{G}your-encoder.md", "kedro run --pipelines prepare,sinks "): Skip(f"{HUB}; {YOURS}"),
    (f"{G}your-encoder.md", "from diysink.encoders import"): Skip(f"{YOURS}; README's is run"),
    (f"{G}your-model.md", "kedro run --env checkpoint "): Skip(HUB),
}
"""What is done with each block that can be run, by its page and how it begins."""

ELSEWHERE = {
    "docs/guides/transformers.md": "tests/model/test_guide.py",
    "docs/guides/selection.md": "tests/model/test_guide.py",
    "docs/guides/interventions.md": "tests/interventions/test_guide.py",
    "docs/guides/analyses.md": "tests/analysis/test_guide.py",
}
"""Pages whose Python a test runs from top to bottom on a tiny model, and the test."""


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    pattern = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for language, text in pattern.findall((ROOT / page).read_text()):
        yield Block(page, language, text)


def executable(page: str) -> list[Block]:
    """The blocks of a page that can be run, apart from those that run elsewhere."""
    known = SHELL if page in ELSEWHERE else SHELL | {"python"}
    return [block for block in blocks(page) if block.language in known]


# --- Running them ---------------------------------------------------------------------------


def checkout(folder: Path) -> Path:
    """This working tree's files as a checkout of its own, with one commit and this environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(BIN.parent)
    (folder / ".git/info").mkdir(parents=True)
    (folder / ".git/info/exclude").write_text(".venv\n")  # .gitignore's `.venv/` is no link
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "A copy"]):
        subprocess.run(["git", *command], cwd=folder, env=variables(folder, True), check=True)
    return folder


def variables(project: Path, activated: bool) -> dict[str, str]:
    """The environment of a reader's shell, with the environment activated or not."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    paths = [p for p in kept["PATH"].split(":") if Path(p).resolve() != BIN.resolve()]
    return kept | {
        "PATH": ":".join([str(BIN), *paths] if activated else paths),
        "KEDRO_ENV": "test",
        "PYTHONPATH": str(project / "src"),  # as if the environment were the copy's own
        "HF_HUB_OFFLINE": "1",
        "DVC_SITE_CACHE_DIR": str(project.with_name("dvc-site")),
        **{f"GIT_{who}_NAME": "reader" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "reader@example.org" for who in ("AUTHOR", "COMMITTER")},
    }


def run(project: Path, block: Block, given: str) -> str:
    """Run a block in ``project``; what went wrong, or nothing."""
    if block.language == "python":
        return call(project, [str(BIN / "python"), "-c", given + block.text], activated=True)
    activated = ".venv/" not in block.text
    before: list[str] = []  # what a shell keeps from line to line
    for line in block.lines:
        if line.startswith(("source ", "cd ", "export ")):
            before.append(line)
            continue
        script = "\n".join(["set -e", *before, line])
        check = serve if SERVER.match(line) else call
        if wrong := check(project, ["bash", "-c", script], activated=activated):
            return f"$ {line}\n{wrong}"
    return ""


def call(project: Path, command: list[str], *, activated: bool) -> str:
    """Run a command to its end; the end of what it printed if it failed."""
    done = subprocess.run(
        command, cwd=project, env=variables(project, activated), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return "" if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout[-3000:]}"


def serve(project: Path, command: list[str], *, activated: bool) -> str:
    """Start a server, wait for its answer, and stop it; what it printed if none came."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=project, env=variables(project, activated), text=True,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            for _ in range(120):
                if process.poll() is not None:
                    break
                try:
                    with urllib.request.urlopen(ADDRESS, timeout=5):
                        return ""
                except OSError:
                    time.sleep(1)
            log.seek(0)
            return f"no answer at {ADDRESS}\n{log.read()[-3000:]}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def main(pages: list[str]) -> int:
    """Run the blocks of all pages, or of these; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        project = checkout(Path(folder) / "checkout")
        print("the miniature, once", flush=True)
        if wrong := call(project, ["kedro", "run"], activated=True):
            print(wrong)
            return 1
        failed = 0
        for page in pages or PAGES:
            for block in executable(page):
                [key] = block.keys
                how, first = HOW[key], block.text.partition("\n")[0]
                start = time.perf_counter()
                wrong = run(project, block, how.given) if isinstance(how, Run) else ""
                seconds = time.perf_counter() - start
                said = f"{seconds:.0f} s" if isinstance(how, Run) else f"skipped: {how.why}"
                print(f"{'FAILED' if wrong else 'ok'}: {page}: {first} ({said})", flush=True)
                print(wrong, end="", flush=True)
                failed += bool(wrong)
    print(f"{failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
