"""Loops give the same bits in the process that compiles them and in those that read them from disk."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import hashlib
import numpy as np
from weixing.model.compiled.attention import softmax_forward
from weixing.model.compiled.elementwise import gelu_forward
from weixing.model.compiled.norms import add_and_normalise

random = np.random.default_rng(1)
def numbers(*shape): return random.standard_normal(shape, np.float32)
p, key, results = np.float32(0.1), np.uint32(7), []
for length in (31, 32, 40):
    scores, dropped = numbers(64, 3, length), np.zeros((64, 3, length), np.float32)
    first, last = np.zeros((64, 3), np.int64), np.full((64, 3), length)
    softmax_forward(scores, np.float32(0.7), first, last, dropped, p, key)
    x, residual, slope, inner = (numbers(64, length) for _ in range(4))
    gelu_forward(slope, numbers(length), inner)
    standard, scale, out = np.zeros_like(x), np.zeros(64, np.float32), np.zeros_like(x)
    add_and_normalise(x, *numbers(1, length), residual, *numbers(2, length), standard, scale, out, None, p, key)
    results += [scores, dropped, slope, inner, standard, scale, out]
print(hashlib.sha256(b"".join(array.tobytes() for array in results)).hexdigest())
"""


def test_the_process_that_compiles_gives_the_bits_of_the_next_one(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert ["compiling inner loops" in run.stderr for run in runs] == [True, False]
    assert runs[0].stdout == runs[1].stdout
