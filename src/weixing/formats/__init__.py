"""Model files in other people's layouts: one key table a format, read in both directions, verified after writing."""
