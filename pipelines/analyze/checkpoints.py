"""The checkpoints that analyses look into: of one training, before and after each of its stages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diysink.artifact import digest_folder, digest_json, load_tensors
from pipelines.parts import parts_digest, untrained
from pipelines.profiles import load_profile

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator
    from pipelines.align.settings import Align
    from pipelines.shared import Model

STAGES = ("untrained", "aligned", "finetuned")


@dataclass(frozen=True)
class Trainings:
    """Where checkpoints come from.

    Attributes:
        finetuned_models, sink_profiles, aligned_connectors: folders of earlier stages.
        model, align: parameters.
        device: where models run.
    """

    finetuned_models: Path
    sink_profiles: Path
    aligned_connectors: Path
    model: "Model"
    align: "Align"
    device: str

    def digest(self, stage: str) -> dict[str, str]:
        """What determines the checkpoints of a stage."""
        if stage == "finetuned":
            return {"models": digest_folder(self.finetuned_models)}
        made_of = {
            "parts": parts_digest(self.model),
            "profiles": digest_folder(self.sink_profiles),
            "options": digest_json(self.align.plain()),
        }
        if stage == "aligned":
            made_of["connectors"] = digest_folder(self.aligned_connectors)
        return made_of

    def open(self, connector: str, seed: int, stage: str) -> "AnswerGenerator":
        """A checkpoint on its device.

        Raises:
            ValueError: an unknown stage.
        """
        makers: dict[str, Callable[[str], AnswerGenerator]] = {
            "untrained": self._untrained,
            "aligned": self._aligned,
            "finetuned": self._finetuned,
        }
        if stage not in makers:
            raise ValueError(f"checkpoint {stage!r}; expected one of {', '.join(STAGES)}")
        return makers[stage](f"{connector}/seed{seed}")

    def _finetuned(self, unit: str) -> "AnswerGenerator":
        from diysink.device import resolve_device
        from diysink.model import load

        return load(self.finetuned_models / unit, device=str(resolve_device(self.device)))

    def _untrained(self, unit: str) -> "AnswerGenerator":
        from diysink.device import resolve_device
        from diysink.model import AnswerGenerator

        profile = load_profile(self.sink_profiles, self.model, require=False)
        made, _ = untrained(unit, self.model, profile, self.align)
        model = made.model.to(resolve_device(self.device))
        return AnswerGenerator(model, made.chat_encoder, made.image_processor)

    def _aligned(self, unit: str) -> "AnswerGenerator":
        generator = self._untrained(unit)
        projector = generator.model.model.multi_modal_projector
        projector.load_state_dict(
            load_tensors(self.aligned_connectors / unit / "connector.safetensors")
        )
        return generator
