"""The encoder, its heads and how their weights begin. Tensors in, tensors out: no files, no argv, no global state."""
