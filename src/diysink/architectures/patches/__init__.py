"""How a model's patches become visual tokens: one reader function for each way of doing it."""
