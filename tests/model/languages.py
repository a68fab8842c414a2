"""Tiny causal language models of many kinds, by `model_type`; those of GPT-2's names among them."""

from collections.abc import Callable
from typing import Any

import transformers as t

from tests.tiny_models import WORDS

TOKENS = {"vocab_size": len(WORDS), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
LLAMA = {
    **TOKENS, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
HEAD = LLAMA | {"head_dim": 8}
NEOX = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
GPT = {**TOKENS, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64}
OPT = {
    **TOKENS, "num_attention_heads": 2, "ffn_dim": 24, "max_position_embeddings": 64,
}  # fmt: skip

LANGUAGES: dict[str, Callable[[], Any]] = {
    "biogpt": lambda: t.BioGptConfig(**NEOX),
    "bloom": lambda: t.BloomConfig(**TOKENS, hidden_size=16, n_layer=2, n_head=2),
    "codegen": lambda: t.CodeGenConfig(**GPT, n_ctx=64, rotary_dim=4),
    "cohere": lambda: t.CohereConfig(**LLAMA),
    "falcon": lambda: t.FalconConfig(
        **TOKENS, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    ),
    "gemma": lambda: t.GemmaConfig(**HEAD),
    "gemma2": lambda: t.Gemma2Config(**HEAD),
    "gemma3_text": lambda: t.Gemma3TextConfig(**HEAD, sliding_window=8),
    "glm": lambda: t.GlmConfig(**HEAD),
    "gpt2": lambda: t.GPT2Config(**GPT),
    "gpt_bigcode": lambda: t.GPTBigCodeConfig(**GPT),
    "gpt_neo": lambda: t.GPTNeoConfig(
        **TOKENS, hidden_size=16, num_layers=2, num_heads=2, max_position_embeddings=64,
        attention_types=[[["global", "local"], 1]],
    ),
    "gpt_neox": lambda: t.GPTNeoXConfig(**NEOX),
    "gpt_oss": lambda: t.GptOssConfig(**HEAD, num_local_experts=2, num_experts_per_tok=1),
    "gptj": lambda: t.GPTJConfig(**GPT, rotary_dim=4),
    "granite": lambda: t.GraniteConfig(**LLAMA, logits_scaling=8.0),
    "llama": lambda: t.LlamaConfig(**LLAMA),
    "mamba": lambda: t.MambaConfig(**TOKENS, hidden_size=16, num_hidden_layers=2),
    "mistral": lambda: t.MistralConfig(**LLAMA, sliding_window=8),
    "mixtral": lambda: t.MixtralConfig(**LLAMA, num_local_experts=2),
    "mpt": lambda: t.MptConfig(**TOKENS, d_model=16, n_layers=2, n_heads=2, max_seq_len=64),
    "olmo": lambda: t.OlmoConfig(**LLAMA),
    "olmo2": lambda: t.Olmo2Config(**LLAMA),
    "opt": lambda: t.OPTConfig(
        **OPT, hidden_size=16, num_hidden_layers=2, word_embed_proj_dim=16
    ),
    "persimmon": lambda: t.PersimmonConfig(**NEOX),
    "phi": lambda: t.PhiConfig(**LLAMA),
    "phi3": lambda: t.Phi3Config(**LLAMA),
    "qwen2": lambda: t.Qwen2Config(**LLAMA),
    "qwen3": lambda: t.Qwen3Config(**HEAD),
    "smollm3": lambda: t.SmolLM3Config(**LLAMA),
    "stablelm": lambda: t.StableLmConfig(**LLAMA),
    "starcoder2": lambda: t.Starcoder2Config(**LLAMA),
    "xglm": lambda: t.XGLMConfig(
        **{k: v for k, v in OPT.items() if k != "num_attention_heads"}, d_model=16, num_layers=2,
        attention_heads=2,
    ),
}  # fmt: skip
POSITIONS, HEADS = "takes no", "more to its logits"
REFUSED = {
    "bloom": POSITIONS,
    "mamba": POSITIONS,
    "mpt": POSITIONS,
    "cohere": HEADS,
    "gemma2": HEADS,
    "granite": HEADS,
}
"""What the error says of those that cannot be trained."""
