"""Compiled loops: what is said while they are compiled."""

import subprocess
import sys


def test_compiling_is_said_once_on_stderr() -> None:
    code = (
        "from weixing.compiling import compiled\n"
        "one, two = compiled(lambda x: x + 1), compiled(lambda x: x + 2)\n"
        "print(one(1), two(1), two(1.5))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 3 3.5\n"
    assert done.stderr == "note: compiling inner loops, once after an installation (about 10 seconds)\n"
