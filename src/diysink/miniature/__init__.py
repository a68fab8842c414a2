"""A generated world and tiny models with INDUCED sinks: the embedded default, a model organism."""
