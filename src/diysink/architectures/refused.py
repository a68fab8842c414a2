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

_TIMM = "its vision encoder is a model of timm"
_RESAMPLED = "a resampler makes each of its tokens of all patches of an image"
_CODEBOOK = "its images are words of a codebook, not states of a vision transformer"
_NO_ENCODER = "it has no vision encoder: patches enter the language model as they are"
_INSIDE = "its forward makes and places visual tokens by itself, and takes none"

REFUSED_LVLMS: dict[str, str] = {
    "gemma3n": _TIMM,
    "fast_vlm": _TIMM,
    "perception_lm": _TIMM,
    "blip-2": _RESAMPLED,
    "instructblip": _RESAMPLED,
    "idefics2": _RESAMPLED,
    "aria": _RESAMPLED,
    "granite4_vision": "query transformers make its tokens, of several layers of its encoder",
    "deepseek_vl_hybrid": "each of its tokens is made of patches of two vision encoders",
    "got_ocr2": "its vision encoder is SAM's, whose blocks attend within windows",
    "florence2": f"of its vision encoder, {_MERGED}",
    "llama4": "it projects visual tokens after they have been handed to its forward",
    "phi4_multimodal": _INSIDE,
    "kosmos-2": _INSIDE,
    "mllama": "its language model looks at images by cross-attention: its prompt has no tokens",
    "chameleon": _CODEBOOK,
    "emu3": _CODEBOOK,
    "fuyu": _NO_ENCODER,
    "gemma4_unified": _NO_ENCODER,
}
"""Why a vision-language model is not supported."""
