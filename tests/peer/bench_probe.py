#!/usr/bin/env python3
"""Times a training step of the a² attention probe (Lepori et al. 2024, experiment 1) in Python NeuroSurgeon.

The probe: continuous sparsification with one logit per neuron on `c_attn` and `c_proj` of block 0, no bias masks, all
logits 0 at the start, contrastive loss on attn_update_0 at position 2, L0 weight 1e-6, AdamW with lr 1e-3. The
input rows are [a, b, 113] with label a² mod 113. Every step uses a new random batch of the 113² pairs.
A step is: forward, loss, backward, optimiser. Sampling the batch is not timed.

--model is an HF folder of the paper's GPT-2 (1 layer, d 128, 4 heads, n_inner 512, relu, vocabulary 114, context 3).
The time does not depend on whether the model is trained.

Exit codes: 0 on success, 3 if torch or NeuroSurgeon is not installed.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

from reference import load_model, need_neurosurgeon, versions

PRIME = 113
LAYERS = ["transformer.h.0.attn.c_attn", "transformer.h.0.attn.c_proj"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="FOLDER", help="HF folder of the model")
    parser.add_argument("--neurosurgeon", metavar="FOLDER", help="root of a NeuroSurgeon checkout (default: installed)")
    parser.add_argument("--steps", type=int, default=30, help="timed steps (%(default)s)")
    parser.add_argument("--warmup", type=int, default=5, help="untimed steps before the timed ones (%(default)s)")
    parser.add_argument("--batch", type=int, default=500, help="pairs per step (%(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch threads (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the batches (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def build_probe(reference, model):
    circuit = reference.CircuitConfig(
        mask_method="continuous_sparsification",
        mask_hparams={"ablation": "none", "mask_unit": "neuron", "mask_bias": False, "mask_init_value": 0.0},
        target_layers=LAYERS, freeze_base=True, add_l0=True, l0_lambda=1e-6)
    residual = reference.ResidualUpdateModelConfig("gpt", target_layers=[0], mlp=False, attn=True, updates=True, stream=False)
    probe = reference.CircuitProbe(reference.CircuitProbeConfig("attn_update_0", circuit, residual), model)
    probe.train()
    return probe


def batches(count, size, seed):
    """Yields `count` batches: input_ids `[size, 3]`, labels `[size]` and the token mask of position 2 `[size, 3]`."""
    import torch
    generator = torch.Generator().manual_seed(seed)
    select = torch.zeros(size, 3, dtype=torch.bool)
    select[:, 2] = True
    for _ in range(count):
        pair = torch.randperm(PRIME * PRIME, generator=generator)[:size]
        a, b = pair // PRIME, pair % PRIME
        yield {"input_ids": torch.stack([a, b, torch.full_like(a, PRIME)], dim=1), "labels": a * a % PRIME, "token_mask": select}


def peak_rss_mb():
    """Peak resident memory of this process in MB. On Linux it excludes memory inherited from the parent process."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main():
    args = arguments()
    reference = need_neurosurgeon(args.neurosurgeon)
    import torch
    torch.set_num_threads(args.threads)
    probe = build_probe(reference, load_model(args.model))
    optimiser = torch.optim.AdamW([p for p in probe.parameters() if p.requires_grad], lr=1e-3)
    times, losses = [], []
    for batch in batches(args.warmup + args.steps, args.batch, args.seed):
        start = time.perf_counter()
        optimiser.zero_grad()
        loss = probe(**batch).loss
        loss.backward()
        optimiser.step()
        times.append((time.perf_counter() - start) * 1e3)
        losses.append(loss.item())
    timed = times[args.warmup:]
    result = {"median_ms": round(statistics.median(timed), 3), "steps": len(timed), "all_ms": [round(t, 3) for t in timed],
              "peak_rss_mb": round(peak_rss_mb(), 1), "threads": args.threads, "batch": args.batch,
              "first_loss": losses[0], "last_loss": losses[-1], "versions": versions(reference)}
    if args.json:
        print(json.dumps(result))
    else:
        print(f"median {result['median_ms']:.2f} ms per step over {len(timed)} steps (min {min(timed):.2f}, max {max(timed):.2f}), "
              f"{args.threads} threads, peak {result['peak_rss_mb']:.0f} MB, loss {losses[0]:.4f} -> {losses[-1]:.4f}")
        print(json.dumps(result["versions"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
