"""Configurations of the run's parts, with neither weights nor network, and what they allow.

A ``config.json`` that is at hand decides: in the part's folder, or in the hub's local cache. Else
``architecture`` in the parameters says it. Where there are both, they must agree.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diysink.architectures import UnsupportedModelError, encoder_family, lvlm_family
from pipelines.dry_run.check import Check
from pipelines.dry_run.places import cached
from pipelines.dry_run.plan import Plan


def shapes(plan: Plan) -> Iterator[Check]:
    """Fill in ``plan.configs``; a check of each part, and of the layers that parameters name."""
    said: Mapping[str, dict[str, Any]] = plan.settings.get("architecture", {})
    for where, named, revision, part in plan.checkpoints():
        if where.startswith("sinks.") and not part:
            yield from _another_encoder(where, named, revision)
        if part not in ("encoder", "language", "lvlm") or part in plan.configs:
            continue
        yield from _shape(plan, where, named, revision, part, said.get(part))
    if plan.answers_by_lvlm and "lvlm" in plan.configs:
        yield processor(plan.configs["lvlm"].model_type)
    yield from layers(plan)


def processor(kind: str) -> Check:
    """Whether the processor of a vision-language family can be made with what is installed.

    One that also takes videos needs torchvision, and one whose image processor has no other form.
    """
    import transformers
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
    from transformers.utils import is_torchvision_available

    name = PROCESSOR_MAPPING_NAMES.get(kind)
    if name is None or is_torchvision_available():
        return Check("processor", "ok", str(name or "of the checkpoint"))
    try:
        videos = "video_processor" in getattr(transformers, name).get_attributes()
    except ImportError:
        videos = True
    images = IMAGE_PROCESSOR_MAPPING_NAMES.get(kind) or {}
    if videos or "pil" not in images:
        said = f"{name} needs torchvision, which is not installed: pip install torchvision"
        return Check("processor", "missing", said)
    return Check("processor", "ok", name)


def _shape(
    plan: Plan, where: str, named: str, revision: str | None, part: str, said: Any
) -> Iterator[Check]:
    what = f"architecture.{part}"
    try:
        if said is not None:
            check_family(said["model_type"], part)
        config = _written(named, revision)
        if config is not None:
            config = _part(config, part)
            check_family(config.model_type, part)
            source = f"{where}'s config.json"
        elif said is not None:
            config, source = _built(said), "the parameters (not looked up)"
        else:
            yield Check(what, "not looked up", f"no config.json of {named}, and no {what}")
            return
    except (ValueError, TypeError, OSError, UnsupportedModelError) as error:
        yield Check(what, "wrong", str(error))
        return
    if different := list(differences(said or {}, config)):
        yield Check(what, "wrong", f"{named}'s config.json says otherwise: {'; '.join(different)}")
        return
    plan.configs[part] = config
    yield Check(what, "ok", f"{described(config)}; from {source}")


def _another_encoder(where: str, named: str, revision: str | None) -> Iterator[Check]:
    """An encoder that is measured and that no connector reads, where its config.json is at hand."""
    try:
        if (config := _written(named, revision)) is not None:
            check_family(_part(config, "encoder").model_type, "encoder")
    except (ValueError, OSError) as error:
        yield Check(where, "wrong", str(error))


def check_family(kind: str, part: str) -> None:
    """Refuse an architecture that is not supported.

    Raises:
        UnsupportedModelError: why, and which ones are.
    """
    if part == "encoder":
        encoder_family(kind, alone=True)
    if part == "lvlm":
        lvlm_family(kind)


def _written(named: str, revision: str | None) -> Any | None:
    """The configuration that is on this machine, or None."""
    from transformers import AutoConfig

    folder = Path(named) if (Path(named) / "config.json").is_file() else cached(named, revision)
    if folder is None:
        return None
    return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def _built(said: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(**said)


def _part(config: Any, part: str) -> Any:
    """The part's own configuration, out of that of a whole model (CLIP, SigLIP, a LLaVA)."""
    if part == "encoder":
        return getattr(config, "vision_config", config)
    if part == "language":
        return config.get_text_config(decoder=True)
    return config


def differences(said: Mapping[str, Any], config: Any, inside: str = "") -> Iterator[str]:
    """Where a configuration, or a mapping in it, is not what was said of it."""
    for name, value in said.items():
        found = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        if isinstance(value, Mapping) and (isinstance(found, Mapping) or hasattr(found, "to_dict")):
            yield from differences(value, found, f"{inside}{name}.")
        elif (list(found) if isinstance(found, tuple) else found) != value:
            yield f"{inside}{name} is {found}, the parameters say {value}"


def described(config: Any) -> str:
    """Type, depth and width of a configuration, and of its parts."""
    parts = [getattr(config, name, None) for name in ("vision_config", "text_config")]
    whole = [one for one in parts if one is not None] or [config]
    sizes = (f"{one.model_type} {depth(one)} x {one.hidden_size}" for one in whole)
    return ", ".join(sizes)


def depth(config: Any) -> int:
    """Transformer blocks of a vision encoder or a language model."""
    found = getattr(config, "num_hidden_layers", None)
    return int(config.depth if found is None else found)


def layers(plan: Plan) -> Iterator[Check]:
    """Layers that parameters name, against the depth of what they are layers of."""
    encoder, language = plan.configs.get("encoder"), plan.configs.get("language")
    named: list[tuple[str, int]] = []
    if encoder is not None:
        model = plan.model
        named = [("model.layer", model.layer)] if plan.trains else []
        named += [
            (f"sinks.encoders.{name}.layer", one.layer)
            for name, one in plan.settings["sinks"].encoders.items()
            if "sinks" in plan.stages and one.path == model.encoder
        ]
        count = depth(encoder)
        for where, layer in named:
            if not -count - 1 <= layer <= count:
                remark = f"{layer}, but the encoder has {count} blocks: -{count + 1} to {count}"
                yield Check(where, "wrong", remark)
        yield from _disagreeing(plan)
    if language is None or "reweight" not in plan.stages:
        return
    count = depth(language)
    for name, selector in plan.settings["reweight"].selectors.items():
        beyond = [n for n in selector.options.get("layers") or () if not 0 <= n < count]
        if beyond:
            remark = f"{beyond}, but the language model has {count} layers: 0 to {count - 1}"
            yield Check(f"reweight.selectors.{name}.options.layers", "wrong", remark)


def _disagreeing(plan: Plan) -> Iterator[Check]:
    """A sink profile of another layer than the connector reads, which training would refuse."""
    measured = plan.settings["sinks"].encoders.get(plan.model.profile)
    if not plan.trains or measured is None or measured.path != plan.model.encoder:
        return
    count = depth(plan.configs["encoder"])
    if (measured.layer - plan.model.layer) % (count + 1):
        where = f"sinks.encoders.{plan.model.profile}.layer"
        yield Check(where, "wrong", f"{measured.layer}, but model.layer is {plan.model.layer}")
