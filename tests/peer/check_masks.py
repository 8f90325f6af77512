#!/usr/bin/env python3
"""Loads a mask file of this project into Python NeuroSurgeon and prints its L0 statistics as JSON.

Builds the reference's CircuitModel over MODEL_FOLDER from the circuit_config, loads MASKS.safetensors into it and
calls `compute_l0_statistics` in eval mode. PROBE_CONFIG is a JSON file with a circuit_config: a probe config, a
case.json with a probe_config, or a circuit config on its own.

Keys of the mask file: `<layer>.weight_mask_params`, `<layer>.bias_mask_params` (with or without the prefix
`wrapped_model.` of the reference's state dict). The file must hold exactly the masks of the model, in their shapes.

Exit codes: 0 if the file matches the model, 1 if it does not, 3 if a Python package is not installed.
"""
import argparse
import json
import sys

from reference import load_model, need, need_neurosurgeon, versions

PREFIX = "wrapped_model."


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="HF folder of the unmasked model")
    parser.add_argument("masks", help="safetensors file with the mask parameters")
    parser.add_argument("config", help="JSON file with the circuit_config")
    parser.add_argument("--neurosurgeon", metavar="FOLDER", help="root of a NeuroSurgeon checkout (default: installed)")
    return parser.parse_args()


def circuit_config(path):
    with open(path) as file:
        config = json.load(file)
    config = config.get("probe_config", config)
    return config.get("circuit_config", config)


def load_masks(model, masks):
    """Copies the masks into the model and returns the mismatches as a list of messages."""
    import torch
    masks = {key if key.startswith(PREFIX) else PREFIX + key: value for key, value in masks.items()}
    own = {key: value for key, value in model.named_parameters() if key.endswith("_mask_params")}
    problems = [f"{key}: in the file, not a mask of the model" for key in masks if key not in own]
    for key, parameter in own.items():
        if key not in masks:
            problems.append(f"{key}: a mask of the model, not in the file")
        elif masks[key].shape != parameter.shape:
            problems.append(f"{key}: shape {tuple(masks[key].shape)}, the reference has {tuple(parameter.shape)}")
        else:
            with torch.no_grad():
                parameter.copy_(masks[key])
    return problems


def main():
    args = arguments()
    need("safetensors.torch")
    reference = need_neurosurgeon(args.neurosurgeon)
    from safetensors.torch import load_file
    model = reference.CircuitModel(reference.CircuitConfig(**circuit_config(args.config)), load_model(args.model))
    problems = load_masks(model, load_file(args.masks))
    if problems:
        print("\n".join(f"PROBLEM {problem}" for problem in problems), file=sys.stderr)
        return 1
    model.train(False)
    statistics = model.compute_l0_statistics()
    for key in ("layer2l0", "layer2maxl0"):
        statistics[key] = {layer: int(value) for layer, value in statistics[key].items()}
    statistics.update(total_l0=int(statistics["total_l0"]), max_l0=int(statistics["max_l0"]), versions=versions(reference))
    print(json.dumps(statistics, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
