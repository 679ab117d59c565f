"""`make check-demo`: runs the demo and checks what it promises. Minutes long, so no part of the suite.

On both built-in tasks the pretrained model beats the same shape untrained; 中国的首都是[MASK]京。 is answered with 北.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "weixing", "demo", "--out", str(Path(folder) / "demo"), "--json"]
        done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    scores = {(entry["model"], entry["task"]): entry["best"] for entry in done["table"]}
    for task in ("sentiment", "pairs"):
        pretrained, untrained = scores["pretrained", task], scores["2/128 untrained", task]
        assert pretrained > untrained, f"{task}: pretrained {pretrained}, untrained {untrained}"
        print(f"{task}: pretrained {pretrained:.1f}, untrained {untrained:.1f}")
    best = done["fill_mask"][0]
    assert best["token_str"] == "北", done["fill_mask"]
    print(f"中国的首都是[MASK]京。: 北 {best['score']:.3f}; {done['seconds']:.0f} s in all")


if __name__ == "__main__":
    main()
