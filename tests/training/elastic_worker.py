"""`weixing` under torchrun, with something that happens to one rank: ``torchrun FILE EVENT RANK STEP pretrain …``.

Events happen at the first start alone: ``die`` (SIGKILL), ``slow`` (every step from then on takes a tenth of a second
more), ``none``. Every step takes 20 ms at least, so that there is time for what others do to it.
"""

import os
import signal
import sys
import time

from weixing.cli.main import main
from weixing.training import pretraining
from weixing.training.pretraining import Run

event, rank, at, *arguments = sys.argv[1:]
read = Run._read


def read_by(self: Run, step: int) -> object:
    """Before a step."""
    time.sleep(0.02)
    if self.ranks.rank == int(rank) and step >= int(at):
        if event == "die" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "slow":
            time.sleep(0.1)
    return read(self, step)


Run._read = read_by
pretraining.peak_flops_per_second = lambda *_: 1e12
sys.argv = ["weixing", *arguments]
main()
