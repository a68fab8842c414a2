"""A tiny LLaVA whose V-sinks one layer of the language model looks at, by its weights alone."""

from pathlib import Path

import torch
from transformers import CLIPImageProcessorPil, LlavaProcessor

from diysink.evaluation.lvlm import LVLM
from diysink.interventions import visual_norms
from tests.evaluation import lvlms
from tests.interventions.tiny_parts import clip, make, spread

TAU, LOOKED_AT = 30.0, 1  # norm of a planted sink is 50; the layer, from 0
STEEP = 8.0  # difference of the scores of a sink and another token
QUESTION = "a b"


def planted(look: bool) -> LVLM:
    """Sinks of norm 50 in the encoder; every layer attends evenly, but for one if it looks.

    There all queries are one constant, in the pair of dimensions that positions hardly turn, and
    keys are how far a state goes in the direction in which sinks differ from other tokens.
    """
    torch.manual_seed(0)
    text = lvlms.LANGUAGE | {"attention_bias": True}
    special = {"image_token_id": lvlms.IMAGE, "pad_token_id": 0}
    model = make("llava", vision_config=clip(), text_config=text, **special).eval()
    lvlms.steep(model.model.vision_tower)
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=lvlms.SIXTEEN, do_center_crop=False),
        lvlms.tokenizer(),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=lvlms.TEMPLATE,
    )
    spread(model.model.get_decoder())
    suppressed = [lvlms.WORDS.index(word) for word in ("</s>", *lvlms.SPECIAL)]
    model.generation_config.update(suppress_tokens=suppressed, eos_token_id=None)
    lvlm = LVLM(model, processor)
    layers = model.model.get_decoder().layers
    with torch.no_grad():
        for layer in layers:
            for part in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                part.weight.zero_()
                part.bias.zero_()
        if look:
            attention = layers[LOOKED_AT].self_attn
            direction = _direction(lvlm, attention)
            slow = model.config.text_config.head_dim // 2 - 1
            scaling = model.config.text_config.head_dim**-0.5
            for head in range(model.config.text_config.num_attention_heads):
                attention.q_proj.bias[head * model.config.text_config.head_dim + slow] = 1.0
            attention.k_proj.weight[slow] = STEEP / scaling * direction
    return lvlm


def _direction(lvlm: LVLM, attention: torch.nn.Module) -> torch.Tensor:
    """Where sinks and others lie 1 apart and all else varies least."""
    seen = []
    hook = attention.k_proj.register_forward_pre_hook(lambda _, entering: seen.append(entering[0]))
    with hook:
        inputs = lvlm.inputs([lvlms.picture(i) for i in range(12)], [QUESTION] * 12)
        lvlm.model(**inputs)
    norms = torch.cat(visual_norms(lvlm.model, **inputs))
    states = seen[0][inputs["input_ids"] == lvlms.IMAGE]
    sinks = norms >= TAU
    apart = states[sinks].mean(0) - states[~sinks].mean(0)
    within = torch.cat(
        [states[sinks] - states[sinks].mean(0), states[~sinks] - states[~sinks].mean(0)]
    )
    direction = torch.linalg.solve(within.T.cov() + 1e-4 * torch.eye(len(apart)), apart)
    return direction / (direction @ apart)


def saved(folder: Path, lvlm: LVLM) -> Path:
    lvlm.model.save_pretrained(folder)
    lvlm.processor.save_pretrained(folder)
    return folder
