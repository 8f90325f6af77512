#!/usr/bin/env python3
"""Checks the exchange of circuits with Python NeuroSurgeon in both directions, for several model families.

Uses small random models with random masks. The checks:

* From the reference: the state dict and configuration of a CircuitModel pass through `circuit import` and
  `circuit materialize`. `transformers` loads the result and computes the outputs of the reference in eval mode, for
  the circuit and (--complement) under `zero_ablate`. L0 is equal.
* To the reference: the file of `circuit export --state-dict` is loaded strictly into a CircuitModel with another base,
  and the file of `circuit export --prefix wrapped_model.` into one with the same base. L0 and outputs are equal.
* State dicts of CircuitProbe and SubnetworkProbe: the imported masks are bit-identical.
* `circuit materialize --compact`: the file is smaller, `transformers` loads it, and the outputs are equal.

`--write-fixture FOLDER` runs no checks. It writes the files of tests/fixtures/exchange, which CI reads without Python.

Exit codes: 0 if all checks pass, 1 if a check fails, 3 if a Python package is not installed.
"""
import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from reference import load_model, need, need_neurosurgeon, versions

ATOL = 1e-4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xtask", default="target/debug/neurosurgeon", help="the built binary (%(default)s)")
    parser.add_argument("--neurosurgeon", metavar="FOLDER", help="root of a NeuroSurgeon checkout (default: installed)")
    parser.add_argument("--write-fixture", metavar="FOLDER", help="write the fixture of the tests and exit")
    return parser.parse_args()


TEXT = dict(vocab_size=23, hidden_size=16, num_attention_heads=2, num_hidden_layers=2, intermediate_size=24,
            max_position_embeddings=12, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.3)
GPT2 = dict(vocab_size=23, n_positions=8, n_embd=16, n_layer=2, n_head=2, n_inner=24, initializer_range=0.3)
RESNET = dict(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3)
BERT_MLPS = [f"bert.encoder.layer.{i}.intermediate.dense" for i in range(2)]
GPT_MLPS = [f"transformer.h.{i}.mlp.c_fc" for i in range(2)]


def soft(method, unit, bias):
    start = {"mask_init_value": 0.1} if method == "continuous_sparsification" else {"mask_init_percentage": 0.6}
    return method, {"ablation": "none", "mask_unit": unit, "mask_bias": bias, **start}


def cases():
    """name -> (model class, configuration class, its arguments, masked layers, (mask method, its parameters))"""
    cs, hc = "continuous_sparsification", "hard_concrete"
    prune = "magnitude_pruning", {"ablation": "none", "mask_bias": True, "prune_percentage": 0.4}
    vit = dict(image_size=8, patch_size=4, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
               intermediate_size=24, initializer_range=0.3, num_labels=3)
    neo = dict(vocab_size=23, hidden_size=16, num_heads=2, num_layers=2, max_position_embeddings=12, window_size=4,
               attention_types=[[["global", "local"], 1]], intermediate_size=24, initializer_range=0.3)
    return {
        "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2, GPT_MLPS + ["transformer.h.1.attn.c_attn"], soft(cs, "weight", True)),
        "gpt2-pruned": ("GPT2LMHeadModel", "GPT2Config", GPT2, GPT_MLPS, prune),
        "gpt2-compact": ("GPT2LMHeadModel", "GPT2Config", GPT2, GPT_MLPS, soft(cs, "neuron", False)),
        "gpt-neo-compact": ("GPTNeoForCausalLM", "GPTNeoConfig", neo, GPT_MLPS, soft(cs, "neuron", True)),
        "gpt-neox-compact": ("GPTNeoXForCausalLM", "GPTNeoXConfig", TEXT,
                             [f"gpt_neox.layers.{i}.mlp.dense_h_to_4h" for i in range(2)], soft(hc, "neuron", False)),
        "bert": ("BertForSequenceClassification", "BertConfig", TEXT,
                 ["bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.1.output.dense", "bert.pooler.dense"],
                 soft(hc, "weight", True)),
        "bert-mlm-compact": ("BertForMaskedLM", "BertConfig", TEXT, BERT_MLPS, soft(cs, "neuron", False)),
        "roberta-mlm": ("RobertaForMaskedLM", "RobertaConfig", TEXT, ["roberta.encoder.layer.1.output.dense"],
                        soft(cs, "neuron", True)),
        "electra-mlm": ("ElectraForMaskedLM", "ElectraConfig", dict(TEXT, embedding_size=8),
                        ["electra.embeddings_project"], soft(cs, "weight", False)),
        "mpnet-mlm": ("MPNetForMaskedLM", "MPNetConfig", TEXT, ["mpnet.encoder.layer.0.attention.attn.o"],
                      soft(cs, "weight", True)),
        "convbert": ("ConvBertModel", "ConvBertConfig", dict(TEXT, embedding_size=16, conv_kernel_size=3),
                     ["encoder.layer.0.attention.self.key_conv_attn_layer.depthwise"], soft(cs, "neuron", False)),
        "vit-compact": ("ViTForImageClassification", "ViTConfig", vit,
                        [f"vit.encoder.layer.{i}.intermediate.dense" for i in range(2)], soft(cs, "neuron", True)),
        "vit-patches": ("ViTForImageClassification", "ViTConfig", vit,
                        ["vit.embeddings.patch_embeddings.projection", "classifier"], soft(hc, "neuron", True)),
        "resnet": ("ResNetForImageClassification", "ResNetConfig", RESNET,
                   ["resnet.embedder.embedder.convolution", "resnet.encoder.stages.1.layers.0.layer.1.convolution",
                    "classifier.1"], soft(cs, "neuron", False)),
    }


def build(cls, config_cls, options, seed):
    """A random model in eval mode with non-trivial biases, norm parameters and batch-norm statistics."""
    import torch
    import transformers
    torch.manual_seed(seed)
    config = getattr(transformers, config_cls)(attn_implementation="eager", **options)
    model = getattr(transformers, cls)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # transformers 4.44 does not load the bias of RoBERTa's and MPNet's head, so it stays 0.
            if parameter.dim() == 1 and name != "lm_head.bias":
                parameter.add_(0.3 * torch.randn(parameter.shape))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return model


def mask(reference, model, layers, method, hparams, seed):
    """The reference's CircuitModel around `model`, with random masks, in eval mode."""
    import torch
    config = reference.CircuitConfig(method, hparams, layers, l0_lambda=1e-6)
    circuit = reference.CircuitModel(config, model)
    randomize(circuit, seed)
    return circuit


def randomize(module, seed):
    import torch
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("_mask_params"):
                parameter.copy_(torch.randn(parameter.shape))
    module.train(False)


def inputs_of(model):
    import torch
    torch.manual_seed(5)
    if model.main_input_name == "pixel_values":
        size = getattr(model.config, "image_size", 16)
        return {"pixel_values": torch.randn(2, 3, size, size)}
    # BERT's padding id is 0 and RoBERTa's is 1, so ids start at 2. Every family has at least six positions.
    return {"input_ids": torch.randint(2, 23, (3, 6)), "attention_mask": torch.ones(3, 6, dtype=torch.int64)}


def run(model, inputs):
    import torch
    with torch.no_grad():
        output = model(**inputs)
    return output.logits if "logits" in output else output.last_hidden_state


def l0(circuit):
    statistics = circuit.compute_l0_statistics()
    return int(statistics["total_l0"]), int(statistics["max_l0"])


def save_state(module, path):
    from safetensors.torch import save_file
    save_file({name: tensor.clone().contiguous() for name, tensor in module.state_dict().items()}, path)


class Checks:
    def __init__(self, xtask):
        self.xtask, self.failed = os.path.abspath(xtask), 0

    def call(self, *words):
        result = subprocess.run([self.xtask, "circuit", *map(str, words)], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"circuit {words[0]}: {result.stderr.strip()}")
        return result.stdout

    def check(self, what, fine, detail=""):
        self.failed += not fine
        print(f"{'ok  ' if fine else 'FAIL'}  {what}  {detail}".rstrip())

    def close(self, what, want, got):
        import torch
        fine = want.shape == got.shape and torch.isfinite(got).all().item()
        difference = (want - got).abs().max().item() if fine else float("nan")
        self.check(what, fine and difference <= ATOL, f"max difference {difference:.1e}")


def from_reference(checks, name, folder, circuit, inputs):
    os.makedirs(f"{folder}/theirs")
    save_state(circuit, f"{folder}/theirs/state_dict.safetensors")
    circuit.config.to_json_file(f"{folder}/theirs/circuit_config.json")
    printed = checks.call("import", f"{folder}/theirs", "--model", f"{folder}/base", "--out", f"{folder}/ours")
    numbers = re.match(r"([\d,]+) of ([\d,]+) weights", printed).groups()
    size = tuple(int(number.replace(",", "")) for number in numbers)
    checks.check(f"{name}: import, L0", size == l0(circuit), printed.strip().replace("\n", "; "))
    for ablation, options in (("none", []), ("zero_ablate", ["--complement"])):
        baked = f"{folder}/baked-{ablation}"
        checks.call("materialize", f"{folder}/ours", "--model", f"{folder}/base", "--out", baked, *options)
        circuit.set_ablate_mode(ablation)
        checks.close(f"{name}: materialised, {ablation}", run(circuit, inputs), run(load_model(baked).eval(), inputs))
    circuit.set_ablate_mode("none")


def to_reference(checks, reference, name, folder, circuit, other, inputs):
    from safetensors.torch import load_file
    checks.call("export", f"{folder}/ours", "--model", f"{folder}/base", "--out", f"{folder}/state", "--state-dict")
    checks.call("export", f"{folder}/ours", "--model", f"{folder}/base", "--out", f"{folder}/masks",
                "--prefix", "wrapped_model.")
    with open(f"{folder}/state/circuit_config.json") as file:
        config = json.load(file)
    whole = reference.CircuitModel(reference.CircuitConfig(**config), other)
    whole.load_state_dict(load_file(f"{folder}/state/state_dict.safetensors"), strict=True)
    whole.train(False)
    checks.check(f"{name}: exported state dict, strictly, L0", l0(whole) == l0(circuit), f"{l0(whole)}")
    checks.close(f"{name}: exported state dict, outputs", run(circuit, inputs), run(whole, inputs))
    config = reference.CircuitConfig.from_json_file(f"{folder}/masks/circuit_config.json")
    masked = reference.CircuitModel(config, load_model(f"{folder}/base"))
    result = masked.load_state_dict(load_file(f"{folder}/masks/masks.safetensors"), strict=False)
    masked.train(False)
    lost = [key for key in result.missing_keys if key.endswith("_mask_params")] + result.unexpected_keys
    checks.check(f"{name}: exported masks, L0", not lost and l0(masked) == l0(circuit), f"{l0(masked)} {lost or ''}")
    checks.close(f"{name}: exported masks, outputs", run(circuit, inputs), run(masked, inputs))


def compacted(checks, name, folder, circuit, inputs):
    small = f"{folder}/small"
    printed = checks.call("materialize", f"{folder}/ours", "--model", f"{folder}/base", "--out", small, "--compact")
    sizes = [os.path.getsize(f"{model}/model.safetensors") for model in (small, f"{folder}/baked-none")]
    checks.check(f"{name}: compacted, smaller", sizes[0] < sizes[1],
                 f"{sizes[0]} of {sizes[1]} bytes; {printed.splitlines()[-2]}")
    checks.close(f"{name}: compacted, outputs", run(circuit, inputs), run(load_model(small).eval(), inputs))


def probes(reference, model, layers, family, seed):
    """A CircuitProbe and a SubnetworkProbe of `model`, with random masks."""
    hparams = {"ablation": "none", "mask_unit": "neuron", "mask_bias": True, "mask_init_value": 0.0}
    config = reference.CircuitConfig("continuous_sparsification", hparams, layers)
    resid = reference.ResidualUpdateModelConfig(family, [1], mlp=True, attn=False)
    circuit = reference.CircuitProbe(reference.CircuitProbeConfig("mlp_update_1", config, resid), copy.deepcopy(model))
    subnetwork = reference.SubnetworkProbe(
        reference.SubnetworkProbeConfig("mlp_update_1", 3, config, resid, intermediate_size=5), copy.deepcopy(model))
    for probe in (circuit, subnetwork):
        randomize(probe, seed)
    return circuit, subnetwork


def circuit_of(probe):
    return probe.wrapped_model.wrapped_model


def write_config(probe, path):
    """Writes the probe's configuration. The reference cannot write nested configurations as JSON itself."""
    with open(path, "w") as file:
        json.dump(probe.config.to_dict(), file, indent=1, default=lambda config: config.to_dict())


def probe_state_dicts(checks, reference, folder):
    import torch
    from safetensors.torch import load_file, save_model
    for name in ("gpt2-compact", "bert-mlm-compact"):
        cls, config_cls, options, layers, _ = cases()[name]
        base = f"{folder}/{name}/base"
        for probe in probes(reference, load_model(base), layers, name.split("-")[0].strip("2"), 7):
            kind = type(probe).__name__
            for names, save in (("all names", save_state), ("one name per tensor", save_model)):
                source = f"{folder}/{name}/{kind} {names}"
                os.makedirs(source)
                save(probe, f"{source}/state_dict.safetensors")
                write_config(probe, f"{source}/probe_config.json")
                checks.call("import", source, "--model", base, "--out", f"{source}/ours")
                masks = load_file(f"{source}/ours/masks.safetensors")
                state = circuit_of(probe).wrapped_model.state_dict()
                want = {key: value for key, value in state.items() if key.endswith("_mask_params")}
                same = want.keys() == masks.keys() and all(torch.equal(want[key], masks[key]) for key in want)
                checks.check(f"{kind} of {name}, {names}: masks bit-identical", same, f"{len(masks)} tensors")


def check(args, reference):
    checks = Checks(args.xtask)
    with tempfile.TemporaryDirectory() as root:
        for name, (cls, config_cls, options, layers, (method, hparams)) in cases().items():
            folder = f"{root}/{name}"
            model = build(cls, config_cls, options, 1)
            model.save_pretrained(f"{folder}/base")
            inputs = inputs_of(model)
            circuit = mask(reference, load_model(f"{folder}/base"), layers, method, hparams, 2)
            from_reference(checks, name, folder, circuit, inputs)
            to_reference(checks, reference, name, folder, circuit, build(cls, config_cls, options, 3), inputs)
            if name.endswith("-compact"):
                compacted(checks, name, folder, circuit, inputs)
        probe_state_dicts(checks, reference, root)
    print("versions:", json.dumps(versions(reference)))
    print(f"{checks.failed} failed" if checks.failed else "all passed")
    return 1 if checks.failed else 0


def expected_of(circuit, inputs, folder):
    """Writes the expected results of a circuit: its logits, the logits of its complement, and L0."""
    from safetensors.torch import save_file
    tensors = dict(inputs, logits=run(circuit, inputs))
    circuit.set_ablate_mode("zero_ablate")
    tensors["zero_ablate.logits"] = run(circuit, inputs)
    circuit.set_ablate_mode("none")
    save_file({key: value.contiguous() for key, value in tensors.items()}, f"{folder}/expected.safetensors")
    statistics = circuit.compute_l0_statistics()
    layers = {layer: int(value) for layer, value in statistics["layer2l0"].items()}
    with open(f"{folder}/expected.json", "w") as file:
        json.dump({"total_l0": int(statistics["total_l0"]), "max_l0": int(statistics["max_l0"]), "layers": layers},
                  file, indent=1)
        file.write("\n")


def write_fixture(folder, reference):
    """Writes two small models and a state dict of every class of the reference that wraps them."""
    from safetensors.torch import save_model
    shutil.rmtree(folder, ignore_errors=True)
    gpt2 = build("GPT2LMHeadModel", "GPT2Config", dict(GPT2, n_embd=8, n_inner=12, vocab_size=11), 1)
    resnet = build("ResNetForImageClassification", "ResNetConfig", RESNET, 1)
    for name, model in (("gpt2", gpt2), ("resnet", resnet)):
        model.save_pretrained(f"{folder}/{name}")
        if os.path.exists(f"{folder}/{name}/generation_config.json"):
            os.remove(f"{folder}/{name}/generation_config.json")
    token = {key: value % 11 if key == "input_ids" else value for key, value in inputs_of(gpt2).items()}

    def save(name, module, inputs, circuit, store=save_state):
        os.makedirs(f"{folder}/{name}")
        store(module, f"{folder}/{name}/state_dict.safetensors")
        expected_of(circuit, inputs, f"{folder}/{name}")

    circuit = mask(reference, load_model(f"{folder}/gpt2"), GPT_MLPS + ["transformer.h.1.attn.c_attn"],
                   *soft("hard_concrete", "weight", True), 2)
    sampled = copy.deepcopy(circuit)  # in the reference, a model that has sampled an ablation cannot leave it
    sampled.set_ablate_mode("randomly_sampled")  # adds sampled_*_mask_params and *_mask to the state dict
    run(sampled, token)
    save("circuit-model", sampled, token, circuit)
    circuit.config.to_json_file(f"{folder}/circuit-model/circuit_config.json")

    images = inputs_of(resnet)
    circuit = mask(reference, load_model(f"{folder}/resnet"), cases()["resnet"][3],
                   *soft("continuous_sparsification", "neuron", False), 3)
    save("circuit-model-resnet", circuit, images, circuit)
    circuit.config.to_json_file(f"{folder}/circuit-model-resnet/circuit_config.json")

    both = probes(reference, load_model(f"{folder}/gpt2"), GPT_MLPS, "gpt", 4)
    for probe, name, store in zip(both, ("circuit-probe", "subnetwork-probe"), (save_state, save_model)):
        save(name, probe, token, circuit_of(probe), store)
        write_config(probe, f"{folder}/{name}/probe_config.json")
    for parent, _, files in os.walk(folder):
        for file in files:
            os.chmod(os.path.join(parent, file), 0o644)
    return 0


def main():
    args = arguments()
    need("torch", "transformers", "safetensors.torch")
    reference = need_neurosurgeon(args.neurosurgeon)
    if args.write_fixture:
        return write_fixture(args.write_fixture, reference)
    return check(args, reference)


if __name__ == "__main__":
    sys.exit(main())
