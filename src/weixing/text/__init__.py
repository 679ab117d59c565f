"""Text in, token ids out: vocabulary, tokenizer, corpus readers, and the built-in sample corpus.

The first room of the house: it imports nothing of the others but the plain values beside it (errors, files, progress).
"""
