#!/usr/bin/env python3
"""bias_free_unet.py WEIGHTS OUT: the grey bias-free UNet of Mohan, Kadkhodaie, Simoncelli and Fernandez-Granda (2020) as
a TorchScript file x0 = D(x, sigma), for pushforward_policies_benchmark --denoiser OUT --grey. WEIGHTS is a safetensors
file with conv1.weight to conv9.weight; it knows of no noise level, and sigma is not used."""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class BiasFreeUNet(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.w1, self.w2, self.w3, self.w4, self.w5, self.w6, self.w7, self.w8, self.w9 = (
            torch.nn.Parameter(weights[f"conv{i}.weight"].float().contiguous(memory_format=torch.channels_last),
                               requires_grad=False) for i in range(1, 10))  # faster so on CPUs

    def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2], x.shape[3]
        x = F.pad(x, (0, width % 2, 0, height % 2))
        s = F.relu(F.conv2d(F.relu(F.conv2d(x, self.w1, padding=2)), self.w2, padding=1))
        o = F.relu(F.conv2d(F.relu(F.conv2d(s, self.w3, stride=2, padding=1)), self.w4, padding=1))
        o = F.relu(F.conv2d(o, self.w5, padding=2, dilation=2))
        o = F.relu(F.conv2d(o, self.w6, padding=4, dilation=4))
        o = F.relu(F.conv_transpose2d(o, self.w7, stride=2, padding=1))
        o = F.conv2d(F.relu(F.conv2d(torch.cat([o, s], 1), self.w8, padding=1)), self.w9, padding=2)
        return o[:, :, :height, :width]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__)
        sys.exit(2)
    torch.jit.script(BiasFreeUNet(load_file(sys.argv[1]))).save(sys.argv[2])
