"""Data: packing documents into rows, shards on disk, masking, and the loader (order, exact position)."""
