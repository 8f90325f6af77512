#!/usr/bin/env python3
"""Times plain forward passes of a transformers model with random weights: eager attention, inference mode, float32.

Prints {"versions": …, "threads": …} when the model is ready. Then runs one forward pass for every line on stdin and
prints {"ms": …}, until stdin ends. The caller can therefore alternate its own work with this script.

Exit codes: 0 on success, 3 if torch or transformers is not installed.
"""
import argparse
import json
import sys
import time

from reference import need, versions


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="JSON", help="content of config.json")
    parser.add_argument("--dims", required=True, metavar="B,S or B,C,H,W", help="shape of the token ids or pixels")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's default)")
    return parser.parse_args()


def main():
    args = arguments()
    torch, transformers = need("torch", "transformers")
    transformers.logging.set_verbosity_error()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = json.loads(args.config)
    cls = getattr(transformers, config["architectures"][0])
    torch.manual_seed(0)
    model = cls._from_config(cls.config_class(**config), attn_implementation="eager").eval()
    dims = [int(size) for size in args.dims.split(",")]
    if len(dims) == 2:
        inputs = {"input_ids": torch.randint(0, config["vocab_size"], dims)}
    else:
        inputs = {"pixel_values": torch.rand(dims) * 2 - 1}
    print(json.dumps({"versions": versions(), "threads": torch.get_num_threads()}), flush=True)
    with torch.inference_mode():
        for _ in sys.stdin:
            start = time.perf_counter()
            output = model(**inputs)
            elapsed = (time.perf_counter() - start) * 1e3
            del output
            print(json.dumps({"ms": round(elapsed, 3)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
