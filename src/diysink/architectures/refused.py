"""What is not supported, and why: read by the error messages and by the table in the guides.

By ``model_type``. What is in no table and not here has not been looked at.
"""

_MERGED = "patches are merged from stage to stage, so that it has no one grid of patches"
_CONVOLUTIONS = "it has no patches that attend to each other: it is made of convolutions"
_VIDEO = "it encodes videos"
_BY_ITSELF = (
    "it computes attention by itself, not by transformers' attention functions, so that what a "
    "token receives cannot be seen"
)
_WINDOWS = "most of its blocks attend within windows, and add positions by themselves"

REFUSED_ENCODERS: dict[str, str] = {
    "timm_wrapper": (
        "it is a model of timm, whose blocks have other names in each architecture; take the same "
        "encoder in transformers' own format: CLIP, SigLIP, DINOv2, DINOv3 and ViT are on the hub "
        "under their makers"
    ),
    "blip": _BY_ITSELF,
    "blip_vision_model": _BY_ITSELF,
    "data2vec-vision": _BY_ITSELF,
    "sam": _WINDOWS,
    "sam_vision_model": _WINDOWS,
    "vitdet": _WINDOWS,
    "swin": _MERGED,
    "swinv2": _MERGED,
    "hiera": _MERGED,
    "pvt_v2": _MERGED,
    "segformer": _MERGED,
    "convnext": _CONVOLUTIONS,
    "convnextv2": _CONVOLUTIONS,
    "dinov3_convnext": _CONVOLUTIONS,
    "resnet": _CONVOLUTIONS,
    "videomae": _VIDEO,
    "vivit": _VIDEO,
    "vjepa2": _VIDEO,
    "xclip": _VIDEO,
    "xclip_vision_model": _VIDEO,
}
"""Why a vision encoder is not supported."""

REFUSED_LVLMS: dict[str, str] = {}
"""Why a vision-language model is not supported."""
