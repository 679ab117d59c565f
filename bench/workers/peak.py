"""The rate at which this machine multiplies matrices, by this project's own measure: ``peak``. No arguments."""

import json

import torch

from weixing.training.devices import has_bf16, peak_flops_per_second

device = torch.device("cpu")
peaks = {"float32_gflops": peak_flops_per_second(device, "float32", seconds=1.0) / 1e9}
if has_bf16(device):
    peaks["bf16_gflops"] = peak_flops_per_second(device, "bf16", seconds=1.0) / 1e9
print(json.dumps(peaks))
