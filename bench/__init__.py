"""Side-by-side measurements against `transformers` and UER-py, run as ``python -m bench``; results kept as data.

`__main__` runs the sections (prepare, pretrain, finetune, fill_mask, features, growth), each of which measures its
sides in turn, in child processes, and writes bench/results/speed/<section>.json. `render` makes docs/performance.md
and the ratios of the READMEs from those files alone.
"""
