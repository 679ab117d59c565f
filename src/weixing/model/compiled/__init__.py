"""Encoder and heads once more, differentiated by hand and compiled, for CPUs; tested against the plain ones."""
