"""Helpers of all peer scripts: imports the Python reference, or reports which package is not installed.

Exit codes of all scripts: 0 success, 1 a check failed, 2 wrong arguments, 3 skipped (a package is not installed).
"""
import importlib
import json
import os
import subprocess
import sys
import types
import warnings

SKIPPED = 3


def skip(reason):
    """Ends the script with the exit code for "skipped"."""
    print(f"SKIPPED: {reason}", file=sys.stderr)
    sys.exit(SKIPPED)


def need(*modules):
    """Imports and returns the modules. If one is not installed, skips with the pip command that installs them."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    found = []
    for name in modules:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            packages = " ".join(module.split(".")[0] for module in modules)
            skip(f"Python module {name} cannot be imported ({error}); pip install {packages}")
    return found


def need_neurosurgeon(path=None):
    """Imports NeuroSurgeon (from the folder `path` if given) and returns the classes that the scripts use.

    Its Visualization package is replaced by an empty module, because it requires matplotlib.
    """
    need("torch", "transformers", "torchmetrics")
    if path:
        if not os.path.isdir(os.path.join(path, "NeuroSurgeon")):
            skip(f"{path} has no folder NeuroSurgeon: pass the root of its repository")
        sys.path.insert(0, os.path.abspath(path))
    sys.modules.setdefault("NeuroSurgeon.Visualization", types.ModuleType("NeuroSurgeon.Visualization"))
    try:
        import NeuroSurgeon
        from NeuroSurgeon.Models.circuit_model import CircuitModel
        from NeuroSurgeon.Models.model_configs import CircuitConfig
        from NeuroSurgeon.Probing import probe_configs
        from NeuroSurgeon.Probing.circuit_probe import CircuitProbe
        from NeuroSurgeon.Probing.subnetwork_probe import SubnetworkProbe
    except ImportError as error:
        skip(f"NeuroSurgeon with circuit probes cannot be imported ({error}); "
             "use branch updated_circuit_probe of github.com/mlepori1/NeuroSurgeon")
    return types.SimpleNamespace(
        CircuitModel=CircuitModel, CircuitConfig=CircuitConfig, CircuitProbe=CircuitProbe,
        CircuitProbeConfig=probe_configs.CircuitProbeConfig, SubnetworkProbe=SubnetworkProbe,
        SubnetworkProbeConfig=probe_configs.SubnetworkProbeConfig,
        ResidualUpdateModelConfig=probe_configs.ResidualUpdateModelConfig,
        where=describe(NeuroSurgeon))


def describe(package):
    """`<commit> (<folder>)` for a git checkout, otherwise `<version> (<folder>)`."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(package.__file__)))
    try:
        # The folder must be the root of the checkout. A plain copy inside another repository is not a checkout.
        top, commit = subprocess.run(["git", "-C", folder, "rev-parse", "--show-toplevel", "HEAD"],
                                     capture_output=True, text=True, check=True).stdout.split()
        if os.path.realpath(top) == os.path.realpath(folder):
            return f"{commit} ({folder})"
    except (OSError, subprocess.CalledProcessError, ValueError):
        pass
    return f"{package.__version__} ({folder})"


def versions(reference=None):
    """Versions of the packages that influence the results."""
    import torch
    import transformers
    found = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__}
    if reference:
        found["neurosurgeon"] = reference.where
    return found


def load_model(folder, name=None, **options):
    """Loads the model of an HF folder with the class that its config names, in float32 and eval mode."""
    import torch
    import transformers
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with open(os.path.join(folder, "config.json")) as file:
        name = name or json.load(file)["architectures"][0]
    cls = getattr(transformers, name)
    return cls.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager", **options)
