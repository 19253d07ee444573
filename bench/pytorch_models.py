#!/usr/bin/env python3
"""The models and layers of bench_models in PyTorch, for a comparison in the same run on the same card.

  bench/pytorch_models.py [--dry] [--only PART]

GPT-2: bf16 autocast, fused attention and AdamW, torch.compile where it works. MoE layer: the experts one after the
other on their rows (what a user writes first), and all at once by torch._grouped_mm where this PyTorch has it.
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

PEAK = 989e12  # FLOP/s
arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--dry", action="store_true", help="tiny sizes")
arguments.add_argument("--only", default="", help="what has this in its name")
args = arguments.parse_args()
device = "cuda" if torch.cuda.is_available() else "cpu"
bf16 = torch.bfloat16


def median_of(step, runs):
    seconds = []
    for i in range(3 + runs):
        if device == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[3:])


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, d = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, vocabulary, time):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        self.register_buffer("positions", torch.randn(time, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.embed(ids) + self.positions
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy((self.norm(x) @ self.embed.weight.T).flatten(0, 1), ids.flatten())


def measure_gpt(name, layers, width, heads, vocabulary, length, batch):
    torch.manual_seed(1)
    model = Gpt(layers, width, heads, vocabulary, length).to(device)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device == "cuda")
    ids = torch.randint(vocabulary, (batch, length), device=device)
    run = model if args.dry else torch.compile(model)

    def step():
        with torch.autocast(device, dtype=bf16):
            loss = run(ids)
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = median_of(step, 1 if args.dry else 10)
    parameters = sum(p.numel() for p in model.parameters())
    flops = 6 * parameters + 12 * layers * width * length
    peak = torch.cuda.max_memory_allocated() >> 20 if device == "cuda" else 0
    print(f"{name:44} {seconds * 1e3:9.1f} ms {ids.numel() / seconds:10.0f} tokens/s  "
          f"MFU {100 * flops * ids.numel() / seconds / PEAK:.1f} %  peak {peak} MiB", flush=True)


class Moe(nn.Module):
    def __init__(self, width, experts, grouped):
        super().__init__()
        self.grouped = grouped
        self.gate = nn.Linear(width, experts, bias=False)
        self.w1 = nn.Parameter(torch.randn(experts, width, 4 * width) * width**-0.5)
        self.w2 = nn.Parameter(torch.randn(experts, 4 * width, width) * (4 * width) ** -0.5)

    def forward(self, x):
        p = self.gate(x.float()).softmax(-1)
        weight, expert = p.topk(2)
        weight = weight / weight.sum(-1, keepdim=True)
        order = expert.flatten().argsort(stable=True)
        rows = x[order // 2]
        counts = expert.flatten().bincount(minlength=p.shape[1])
        w1, w2 = self.w1.to(bf16), self.w2.to(bf16)
        if self.grouped:
            ends = counts.cumsum(0).to(torch.int32)
            out = torch._grouped_mm(F.gelu(torch._grouped_mm(rows, w1, offs=ends)), w2, offs=ends)
        else:
            parts = rows.split(counts.tolist())
            out = torch.cat([F.gelu(r @ w1[e]) @ w2[e] for e, r in enumerate(parts)])
        back = torch.empty_like(out).index_copy(0, order, out)
        y = (back.view(-1, 2, x.shape[1]) * weight.to(bf16).unsqueeze(-1)).sum(1)
        first = F.one_hot(expert[:, 0], p.shape[1]).float().mean(0)
        return y, p.shape[1] * (first * p.mean(0)).sum()


def measure_moe(tokens, width, experts, grouped):
    torch.manual_seed(1)
    layer = Moe(width, experts, grouped).to(device)
    x = torch.randn(tokens, width, device=device, dtype=bf16, requires_grad=True)
    dy = torch.randn_like(x)

    def step():
        y, balance = layer(x)
        torch.autograd.backward([y, 0.01 * balance], [dy, None])
        layer.zero_grad(set_to_none=True)
        x.grad = None

    seconds = median_of(step, 1 if args.dry else 20)
    name = f"MoE layer d {width}, {experts} experts, {'grouped' if grouped else 'loop'}"
    print(f"{name:44} {seconds * 1e3:9.2f} ms {96 * tokens * width**2 / seconds / 1e12:10.0f} TFLOP/s", flush=True)


print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name() if device == 'cuda' else 'CPU'}")
models = [("GPT tiny", 2, 32, 4, 64, 16, 2)] if args.dry else [
    ("GPT-2 124M, T 1024, 64k tokens", 12, 768, 12, 50304, 1024, 64),
    ("GPT-2 1.5B, T 1024, 8k tokens", 48, 1600, 25, 50304, 1024, 8)]
for model in models:
    if args.only in model[0]:
        measure_gpt(*model)
for width in [32] if args.dry else [1024, 2048]:
    for experts in [4] if args.dry else [8, 64]:
        for grouped in [False] + [True] * (device == "cuda" and hasattr(torch, "_grouped_mm")):
            if args.only in "MoE layer":
                measure_moe(64 if args.dry else 16384, width, experts, grouped)
