"""Parts of `benchmarks/gpu.py`: what a card reaches in training and in answering."""
