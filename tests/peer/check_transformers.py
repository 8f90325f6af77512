#!/usr/bin/env python3
"""Checks that `transformers` loads a model folder unchanged and computes the same outputs as this project.

Loads a Hugging Face folder (config.json and model.safetensors or its shards) with the class that
`architectures` names, in float32. Fails if

* a weight is missing, unexpected or has the wrong shape (only a tied weight may be absent). The script checks the
  report of transformers and also compares the keys of the files with the state dict of the model, since transformers
  silently ignores some keys;
* a weight or an output is not finite;
* an output differs from the expected one by more than --atol.

--inputs is a safetensors file with input_ids, attention_mask, ... (default: random inputs). --expected is a
safetensors file with any of logits, last_hidden_state, pooler_output, hidden.0 ... (may be the same file). For
example, a golden case: check_transformers.py CASE --inputs CASE/inputs.safetensors --expected CASE/expected.safetensors

Exit codes: 0 if all checks pass, 1 if a check fails, 3 if torch or transformers is not installed.
"""
import argparse
import json
import os
import sys

from reference import load_model, need, versions


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with config.json and the weights")
    parser.add_argument("--inputs", help="safetensors file with the model's inputs")
    parser.add_argument("--expected", help="safetensors file with expected outputs; needs --inputs")
    parser.add_argument("--class", dest="cls", help="model class (default: the one in `architectures`)")
    parser.add_argument("--atol", type=float, default=1e-4, help="largest allowed difference (%(default)s)")
    args = parser.parse_args()
    if args.expected and not args.inputs:
        parser.error("--expected needs --inputs")
    return args


def stored_tensors(folder):
    """Returns name -> (shape, dtype) of all tensors in the safetensors files, and a list of problems with the files."""
    from safetensors import safe_open
    tensors, problems = {}, []
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.exists(index):
        with open(index) as file:
            weight_map = json.load(file)["weight_map"]
        files = sorted(set(weight_map.values()))
    else:
        weight_map, files = None, ["model.safetensors"]
    for name in files:
        with safe_open(os.path.join(folder, name), "pt") as file:
            if (file.metadata() or {}).get("format") != "pt":
                problems.append(f"{name}: metadata has no format=pt, which transformers requires")
            for key in file.keys():
                view = file.get_slice(key)
                tensors[key] = (tuple(view.get_shape()), view.get_dtype())
                if weight_map is not None and weight_map.get(key) != name:
                    problems.append(f"{key}: in {name}, but the index says {weight_map.get(key)}")
    problems += [f"{key}: in the index, not in {name}" for key, name in (weight_map or {}).items() if key not in tensors]
    return tensors, problems


def compare_keys(model, stored):
    """Differences between the stored tensors and the model's state dict, in names and shapes."""
    state = model.state_dict()
    problems = []
    present = {state[key].data_ptr() for key in state if key in stored}
    for key, tensor in state.items():
        if key in stored:
            if stored[key][0] != tuple(tensor.shape):
                problems.append(f"{key}: shape {stored[key][0]}, expected {tuple(tensor.shape)}")
        elif tensor.data_ptr() not in present or tensor.numel() == 0:
            problems.append(f"{key}: missing")
    problems += [f"{key}: not a key of {type(model).__name__}" for key in stored if key not in state]
    return problems


def random_inputs(model):
    import torch
    config, generator = model.config, torch.Generator().manual_seed(0)
    if model.main_input_name == "pixel_values":
        size = getattr(config, "image_size", 32)
        return {"pixel_values": torch.randn(2, config.num_channels, size, size, generator=generator)}
    length = min(8, getattr(config, "max_position_embeddings", 8) - 2 if config.model_type in ("roberta", "mpnet")
                 else getattr(config, "max_position_embeddings", 8))
    batch = 1 if "SequenceClassification" in type(model).__name__ and config.pad_token_id is None else 2
    return {"input_ids": torch.randint(0, config.vocab_size, (batch, length), generator=generator)}


def run(model, inputs):
    """Outputs by name: those of the model class, hidden.k, and last_hidden_state (GPT: after the final norm)."""
    import torch
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, return_dict=True)
    found = {f"hidden.{i}": state for i, state in enumerate(output.get("hidden_states") or ())}
    for name in ("logits", "last_hidden_state", "pooler_output"):
        if output.get(name) is not None:
            found[name] = output[name]
    if "last_hidden_state" not in found and model.config.model_type in ("gpt2", "gpt_neo", "gpt_neox"):
        found["last_hidden_state"] = output.hidden_states[-1]
    return found


def main():
    args = arguments()
    torch, _, safetensors = need("torch", "transformers", "safetensors.torch")
    print("versions:", json.dumps(versions()))
    problems = []
    try:
        stored, problems = stored_tensors(args.folder)
        model, info = load_model(args.folder, args.cls, output_loading_info=True)
    except Exception as error:  # any exception of transformers is a failed check
        for problem in problems:
            print("PROBLEM", problem)
        print(f"FAIL {args.folder}: {type(error).__name__}: {error}")
        return 1
    model.eval()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        problems += [f"transformers reports {kind}: {entry}" for entry in info.get(kind, [])]
    problems += compare_keys(model, stored)
    problems += [f"{key}: not finite" for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    dtypes = sorted({dtype for _, dtype in stored.values()})
    print(f"loaded {type(model).__name__}: {len(stored)} tensors, {'/'.join(dtypes)}")

    inputs = safetensors.load_file(args.inputs) if args.inputs else random_inputs(model)
    expected = safetensors.load_file(args.expected) if args.expected else {}
    accepted = {"input_ids", "attention_mask", "token_type_ids", "position_ids", "pixel_values"}
    inputs = {key: value for key, value in inputs.items() if key in accepted}
    outputs = run(model, inputs)
    problems += [f"{key}: output not finite" for key, value in outputs.items() if not torch.isfinite(value).all()]
    compared = sorted(set(expected) & set(outputs))
    if args.expected and not compared:
        problems.append(f"no output to compare: expected has {sorted(expected)}, the model returns {sorted(outputs)}")
    for key in compared:
        want, got = expected[key], outputs[key]
        if want.shape != got.shape:
            problems.append(f"{key}: shape {tuple(want.shape)}, transformers returns {tuple(got.shape)}")
            continue
        difference = (want.double() - got.double()).abs().max().item()
        print(f"{key}: max difference {difference:.2e}")
        if not difference <= args.atol:
            problems.append(f"{key}: differs by {difference:.2e} > {args.atol:.0e}")

    for problem in problems:
        print("PROBLEM", problem)
    print("FAIL" if problems else "PASS", args.folder)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
