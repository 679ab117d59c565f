"""A program of the tests: `finetune` in forks of itself, killed again and again and resumed, until one is done.

``python killing.py moments SEED SECONDS FINETUNE…`` kills three times, at random moments of so many seconds each;
``python killing.py renames FINETUNE…`` kills a run at its first rename, the next one at its second, and so on: between
any two outputs. Prints how often it killed. Forks, because a new process would take seconds to import what it needs.
"""

import os
import random
import signal
import sys
import time

import weixing.tasks.grid  # noqa: F401  # before any fork
from weixing.cli.main import run


def finetune(arguments: list[str], last_rename: int = 0) -> int:
    """The process id of a fork that runs it, and kills itself right before the rename of that number."""
    process = os.fork()
    if process:
        return process
    if last_rename:
        replace, left = os.replace, [last_rename]

        def replace_or_die(*paths) -> None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)

        os.replace = replace_or_die
    os._exit(run(["finetune", *arguments]))


def was_killed(process: int) -> bool:
    """Whether it did not come to an end of its own; a failure ends this program."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"finetune ended with exit code {code}")
    return code != 0


def at_moments(seed: int, seconds: float, arguments: list[str]) -> int:
    """Three times."""
    chance, killed = random.Random(seed), 0
    for resume in ([], ["--resume"], ["--resume"]):
        process = finetune([*arguments, *resume])
        time.sleep(seconds * chance.uniform(0.2, 1))
        os.kill(process, signal.SIGKILL)
        killed += was_killed(process)
    assert not was_killed(finetune([*arguments, "--resume"]))
    return killed


def at_renames(arguments: list[str]) -> int:
    """Until a run has no rename of the number that is due."""
    number = 1
    while was_killed(finetune([*arguments, "--resume"], last_rename=number)):
        number += 1
    return number - 1


if __name__ == "__main__":
    if sys.argv[1] == "moments":
        print(at_moments(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
    else:
        print(at_renames(sys.argv[2:]))
