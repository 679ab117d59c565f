"""The sample corpus and two small tasks that come with the package: hand-written sentences and tables, a generator."""
