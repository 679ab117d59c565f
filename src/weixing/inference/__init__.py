"""A loaded model put to use: candidates for a mask, vectors for texts."""
