"""A census of a vision encoder: which sinks it has at every layer, and a page of them."""
