"""Latency of fill-mask, one sentence a call: ``fill_mask SIDE MODEL CALLS``. Loading is not timed.

SIDE: ``transformers``, or the precision of this project, ``float32`` or ``bf16``."""

import json
import statistics
import sys
import time
from collections.abc import Callable

SENTENCES = (
    "中国的首都是[MASK]京。",
    "今天天气很[MASK]，我们去公园散步吧。",
    "这本书写得很[MASK]，我一口气读完了。",
    "他每天早上六点起[MASK]，然后去跑步。",
    "酒店的房间很干净，服务也很[MASK]到，下次还会再来住。",
    "水在一百摄氏度时会沸[MASK]。",
    "会议从上午九点开始，一直开到下午三点，大家都很疲[MASK]，但问题终于解决了。",
    "春天来了，花园里的花都[MASK]了。",
)
WARM_UP = 3  # times all sentences

side, folder, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
call: Callable[[str], object]
if side == "transformers":
    from transformers import pipeline

    call = pipeline("fill-mask", model=folder, device="cpu")
else:
    from weixing.inference.model import load

    call = load(folder, precision=side).fill_mask
for _ in range(WARM_UP):
    for sentence in SENTENCES:
        call(sentence)
milliseconds = []
for number in range(calls):
    began = time.perf_counter()
    call(SENTENCES[number % len(SENTENCES)])
    milliseconds.append(1e3 * (time.perf_counter() - began))
p95 = statistics.quantiles(milliseconds, n=20)[-1]
print(json.dumps({"median_ms": statistics.median(milliseconds), "p95_ms": p95}))
