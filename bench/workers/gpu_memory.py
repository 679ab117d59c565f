"""``weixing pretrain`` with the options given, and the most memory of the GPU that torch had given out at any time."""

import json
import sys

import torch

from weixing.cli.main import run

if __name__ == "__main__":
    if code := run(["pretrain", *sys.argv[1:]]):
        sys.exit(code)
    print(json.dumps({"peak_bytes": torch.cuda.max_memory_allocated()}))
