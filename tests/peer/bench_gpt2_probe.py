#!/usr/bin/env python3
"""Times training steps of a circuit probe on one block of a GPT-2 with random weights.

--graph neurosurgeon: Python NeuroSurgeon's CircuitProbe, which runs the whole model with its head.
--graph block: the same probe written by hand in PyTorch. Everything below the probed sublayer (attention or MLP) is
frozen, so only the sublayer runs, on precomputed hidden states. The read tokens are selected from its output.
--graph rows: like block, but queries, attention and all later operations run at the read tokens only.

The probe: continuous sparsification on both layers of the attention or MLP of one block, with one logit per weight or
per neuron; all logits are 0 at the start; contrastive loss on one token per sequence with two classes; L0 weight 1e-6;
AdamW with lr 1e-3. A step is: forward, loss, backward, optimiser. Sampling the batch is not timed.

Prints {"versions": ..., "threads": ...} when the probe is ready. Then runs one step for every line on stdin and prints
{"ms": ..., "peak_rss_mb": ...}, until stdin ends. The caller can therefore alternate its own work with this script.

Exit codes: 0 on success, 3 if torch, transformers or NeuroSurgeon is not installed.
"""
import argparse
import json
import sys
import time

from bench_probe import peak_rss_mb
from reference import need, need_neurosurgeon, versions

L0_LAMBDA = 1e-6
LAYERS = {"attn": ("attn.c_attn", "attn.c_proj"), "mlp": ("mlp.c_fc", "mlp.c_proj")}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", choices=["neurosurgeon", "block", "rows"], required=True)
    parser.add_argument("--config", required=True, metavar="JSON", help="content of the config.json of the GPT-2")
    parser.add_argument("--layer", type=int, required=True, help="index of the probed block")
    parser.add_argument("--component", choices=list(LAYERS), required=True)
    parser.add_argument("--unit", choices=["weight", "neuron"], required=True)
    parser.add_argument("--batch", type=int, required=True, help="sequences per step")
    parser.add_argument("--seq", type=int, required=True, help="tokens per sequence")
    parser.add_argument("--neurosurgeon", metavar="FOLDER", help="root of a NeuroSurgeon checkout (default: installed)")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's default)")
    return parser.parse_args()


def labels_and_positions(batch, seq):
    """Labels `[batch]` and the position of the read token in each sequence `[batch]`."""
    import torch
    examples = torch.arange(batch)
    return examples // seq % 2, examples * 5 % seq


def neurosurgeon_step(args, config, reference):
    """Returns a function that samples a batch and returns its loss function, and the trained parameters."""
    import torch
    import transformers
    model = transformers.GPT2LMHeadModel._from_config(transformers.GPT2Config(**config), attn_implementation="eager")
    circuit = reference.CircuitConfig(
        mask_method="continuous_sparsification",
        mask_hparams={"ablation": "none", "mask_unit": args.unit, "mask_bias": False, "mask_init_value": 0.0},
        target_layers=[f"transformer.h.{args.layer}.{name}" for name in LAYERS[args.component]],
        freeze_base=True, add_l0=True, l0_lambda=L0_LAMBDA)
    residual = reference.ResidualUpdateModelConfig(
        "gpt", target_layers=[args.layer], mlp=args.component == "mlp", attn=args.component == "attn", updates=True, stream=False)
    name = f"{args.component}_update_{args.layer}"
    probe = reference.CircuitProbe(reference.CircuitProbeConfig(name, circuit, residual), model)
    probe.train()
    labels, positions = labels_and_positions(args.batch, args.seq)
    token_mask = torch.nn.functional.one_hot(positions, args.seq).bool()

    def loss():
        ids = torch.randint(0, config["vocab_size"], (args.batch, args.seq))
        return lambda: probe(input_ids=ids, labels=labels, token_mask=token_mask).loss
    return loss, [p for p in probe.parameters() if p.requires_grad]


class Block:
    """One sublayer of a GPT-2 block (attention or MLP) with masks, written by hand."""

    def __init__(self, args, config):
        import torch
        width = config["n_embd"]
        sizes = {"attn": (3 * width, width), "mlp": (4 * width, width)}[args.component]
        inputs = {"attn": (width, width), "mlp": (width, 4 * width)}[args.component]
        self.weights = [0.02 * torch.randn(i, o) for i, o in zip(inputs, sizes)]
        self.biases = [torch.zeros(o) for o in sizes]
        shapes = [(i, o) if args.unit == "weight" else (1, o) for i, o in zip(inputs, sizes)]
        self.logits = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
        self.norm = (torch.ones(width), torch.zeros(width))
        self.heads = config["n_head"]
        self.args = args
        self.hidden = torch.randn(2 * args.batch, args.seq, width)
        self.labels, self.positions = labels_and_positions(args.batch, args.seq)
        self.rows = torch.arange(args.batch)
        self.future = torch.ones(args.seq, args.seq, dtype=torch.bool).triu(1)

    def linear(self, number, x, masks, columns=slice(None)):
        """Applies one of the masked layers to x, restricted to the output `columns`."""
        weight = (self.weights[number] * masks[number])[:, columns]
        return x @ weight + self.biases[number][columns]

    def attention(self, x, masks):
        import torch
        batch, seq, width = x.shape
        split = lambda t: t.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
        if self.args.graph == "rows":
            weight = self.weights[0] * masks[0]
            query = (x[self.rows, self.positions] @ weight[:, :width] + self.biases[0][:width]).unsqueeze(1)
            key, value = (x @ weight[:, width:] + self.biases[0][width:]).split(width, dim=2)
            future = self.future[self.positions].view(batch, 1, 1, seq)
        else:
            query, key, value = self.linear(0, x, masks).split(width, dim=2)
            future = self.future
        scores = split(query) @ split(key).transpose(2, 3) / (width // self.heads) ** 0.5
        scores = scores.masked_fill(future, torch.finfo(torch.float32).min)
        merged = (scores.softmax(-1) @ split(value)).transpose(1, 2).reshape(batch, -1, width)
        return self.linear(1, merged, masks)

    def mlp(self, x, masks):
        import torch
        return self.linear(1, torch.nn.functional.gelu(self.linear(0, x, masks), approximate="tanh"), masks)

    def loss(self):
        """Samples the hidden states of a batch and returns the function that computes its loss."""
        import torch
        hidden = self.hidden[torch.randperm(len(self.hidden))[:self.args.batch]]
        if self.args.graph == "rows" and self.args.component == "mlp":
            hidden = hidden[self.rows, self.positions].unsqueeze(1)
        return lambda: self.loss_of(hidden)

    def loss_of(self, hidden):
        import torch
        masks = [torch.sigmoid(logits) for logits in self.logits]
        x = torch.nn.functional.layer_norm(hidden, hidden.shape[-1:], *self.norm)
        updates = self.attention(x, masks) if self.args.component == "attn" else self.mlp(x, masks)
        vectors = updates[self.rows, self.positions] if self.args.graph == "block" else updates[:, 0]
        l0 = sum(mask.sum() * (weight.numel() / mask.numel()) for mask, weight in zip(masks, self.weights))
        return contrastive(vectors, self.labels) + L0_LAMBDA * l0


def contrastive(vectors, labels):
    import torch
    normed = torch.nn.functional.normalize(vectors, dim=1)
    affinity = torch.exp(normed @ normed.T - 1)
    others = ~torch.eye(len(labels), dtype=torch.bool)
    same = others & (labels[:, None] == labels[None, :])
    return ((affinity * others).sum(1) + 1e-5).log().sub(((affinity * same).sum(1) + 1e-5).log()).mean()


def main():
    args = arguments()
    reference = None
    if args.graph == "neurosurgeon":
        reference = need_neurosurgeon(args.neurosurgeon)
    torch, transformers = need("torch", "transformers")
    transformers.logging.set_verbosity_error()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = json.loads(args.config)
    if reference:
        sample_loss, parameters = neurosurgeon_step(args, config, reference)
    else:
        block = Block(args, config)
        sample_loss, parameters = block.loss, block.logits
    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    print(json.dumps({"versions": versions(reference), "threads": torch.get_num_threads()}), flush=True)
    for _ in sys.stdin:
        loss = sample_loss()
        start = time.perf_counter()
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        elapsed = (time.perf_counter() - start) * 1e3
        print(json.dumps({"ms": round(elapsed, 3), "peak_rss_mb": round(peak_rss_mb(), 1)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
