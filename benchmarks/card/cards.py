"""Cards and their peaks, what is to be reached on them, and measurements that may fail alone.

Peaks are dense bf16 TFLOP/s with float32 accumulation, as NVIDIA's data sheets state them (where a
sheet gives the number with sparsity, half of it): A100 (2021), H100 (2023), H200 (2024), L40S, L4,
GH200 and the Blackwell architecture's brief (B200). Lightning has such a table too, but its H200
and H100 NVL are those with sparsity.
"""

import gc
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from benchmarks.extraction import machine

PEAKS = {  # by the exact name that torch.cuda.get_device_name gives
    "NVIDIA A100-SXM4-40GB": 312,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-PCIE-40GB": 312,
    "NVIDIA A100 80GB PCIe": 312,
    "NVIDIA H100 80GB HBM3": 989,  # SXM
    "NVIDIA H100 PCIe": 756,
    "NVIDIA H100 NVL": 835,
    "NVIDIA H200": 989,
    "NVIDIA H200 NVL": 835,
    "NVIDIA GH200 480GB": 989,
    "NVIDIA B200": 2250,
    "NVIDIA L40S": 362,
    "NVIDIA L4": 121,
}


@dataclass(frozen=True)
class Target:
    """A number to be reached at 7B shapes.

    Attributes:
        limit: the number.
        at_least: whether more is better.
    """

    limit: float
    at_least: bool

    def reached(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def verdict(self, value: float) -> str:
        """In short, for a table: reached or not."""
        sign = ">=" if self.at_least else "<="
        return f"{sign}{self.limit:.2f} {'yes' if self.reached(value) else 'NOT'}"


TARGETS = {
    "training": Target(0.50, True),  # model FLOPs utilisation, on a Hopper card
    "extraction": Target(0.90, True),  # of the bare encoder's images a second
    "reweight": Target(1.02, False),  # latency, in plain answers, as all below
    "cot, cached: both": Target(1.25, False),
    "cot, cached: sink": Target(1.25, False),
    "sinks only": Target(0.45, False),
}


def card(cuda: bool, tflops: float | None) -> dict[str, Any]:
    """The machine, its peak (None: not known, so there is no utilisation) and all versions."""
    found = machine(cuda)
    names = ("transformers", "peft", "lightning", "flash_attn")
    found["versions"] |= {name: installed(name) for name in names} | {"driver": None}
    peak = tflops or (PEAKS.get(found["device"]) if cuda else None)
    found |= {"peak_tflops": peak, "system": platform.platform()}
    if cuda:
        properties = torch.cuda.get_device_properties(0)
        found["memory_gb"] = properties.total_memory / 1e9
        found["capability"] = f"{properties.major}.{properties.minor}"
        found["versions"] |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": driver(),
        }
    return found


def installed(name: str) -> str | None:
    """Version of a package; None: it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def driver() -> str | None:
    """Version of the NVIDIA driver; None: nvidia-smi does not say."""
    if (command := shutil.which("nvidia-smi")) is None:
        return None
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return said[0] if said else None


def attempt(measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, or the error's text (out of memory, no such kernel, ...)."""
    try:
        return measured()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    finally:
        torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
