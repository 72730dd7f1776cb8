"""`geometry export`: trained weights as a folder for the Hugging Face hub, with a model card."""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geometry.atomic import atomic_folder
from geometry.console import say
from geometry.errors import InputError, run_command

EXPORTS = ("model.safetensors", "best.safetensors", "last.safetensors")
LIBRARY = "feedforward-nvs"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="geometry export",
        description="Write the weights that a training left as a folder for the Hugging Face hub: "
        "model.safetensors, config.json, and a README.md with licence, data and metrics, to be read and "
        "completed. --model of all commands takes the folder, or OWNER/NAME once it is there.",
    )
    p.add_argument("run", type=Path, help="folder of a run of geometry train, nvs train or nvs finetune")
    p.add_argument("--out", required=True, type=Path, help="folder to write")
    p.add_argument("--push", metavar="OWNER/NAME", help="also upload it, with the token of `hf auth login`")
    p.add_argument("--public", action="store_true", help="a new repository is public, not private")
    return p


def main(argv: list[str] | None = None) -> int:
    return run_command(lambda: run(parser().parse_args(argv)))


def run(args: argparse.Namespace) -> int:
    from geometry.engine.checkpoint import read_meta
    from geometry.weights.checkpoint import FORMAT
    from geometry.weights.files import read_safetensors

    file = next((args.run / name for name in EXPORTS if (args.run / name).is_file()), None)
    if file is None:
        raise InputError(
            f"{args.run}: expected the folder of a finished run, found none of {', '.join(EXPORTS)}"
        )
    tensors, about = read_safetensors(file)
    if about.get("format") != FORMAT:
        raise InputError(f"{file}: expected weights that this project wrote, found others")
    meta: dict[str, Any] = {"config": {}, "metrics": {}, "step": None}
    if (checkpoint := args.run / "checkpoints" / about.get("checkpoint", "")).joinpath("meta.json").is_file():
        meta |= read_meta(checkpoint)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    config = {"library_name": LIBRARY, "model_name": about["variant"], "parameters": numbers, **about}
    with atomic_folder(args.out) as folder:
        shutil.copyfile(file, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        (folder / "README.md").write_text(model_card(args.push or args.out.name, about, meta, numbers))
    say(f"wrote {args.out}; read its README.md before others do")
    if args.push:
        push(args.out, args.push, public=args.public)
    return 0


def model_card(name: str, about: dict[str, str], meta: dict[str, Any], parameters: int) -> str:
    """What the hub shows of a model; data sets by name only, since paths are nobody's business."""
    from geometry.weights.hub import APACHE, NON_COMMERCIAL

    licence = about.get("licence", "not stated")
    hubs_name = {APACHE: "apache-2.0", NON_COMMERCIAL: "cc-by-nc-4.0"}.get(licence)
    head, step, begun = "backbone" in about, meta["step"], meta["config"].get("init")
    lines = [
        "---",
        f"license: {hubs_name or 'other'}",
        *([] if hubs_name else [f"license_name: {json.dumps(licence)}"]),
        f"library_name: {LIBRARY}",
        f"pipeline_tag: {'image-to-3d' if head else 'depth-estimation'}",
        "tags: [depth-anything-3, novel-view-synthesis]",
        "---",
        f"# {name}",
        "",
        f"{about.get('description', 'Trained weights')}: Depth Anything 3 {about['variant']}, "
        f"{parameters / 1e6:.1f} M parameters. Read by {LIBRARY}: `--model {name}`.",
        *(["", f"A Gaussian head alone, for the backbone `{about['backbone']}`."] if head else []),
        "",
        "## Licence",
        "",
        f"{licence}. Mind the licences of the data, and of the weights that training started from"
        f"{f' ({Path(str(begun)).name})' if begun else ''}.",
        "",
        "## Data",
        "",
        *(f"- {source}" for source in sorted(set(sources(meta["config"]))) or ["not recorded"]),
        "",
        "## Metrics",
        "",
        f"Of the run's own validation{'' if step is None else f' at step {step}'}; no benchmark.",
        "",
        "| metric | value |",
        "|---|---|",
        *(f"| {metric} | {value:.4g} |" for metric, value in meta["metrics"].items()),
    ]
    return "\n".join(lines) + "\n"


def sources(config: Any) -> Iterator[str]:
    """Names of the data sets, and kinds of made-up worlds, that a configuration trains on."""
    data = config.get("data", config) if isinstance(config, dict) else config
    for value in data.values() if isinstance(data, dict) else ():
        target = str(value.get("_target_", "")) if isinstance(value, dict) else ""
        if target.startswith(("geometry.datasets.", "geometry.worlds.")):
            yield target.rpartition(".")[2]
        yield from sources(value)


def push(folder: Path, repository: str, *, public: bool) -> None:
    """Upload a folder to the hub, into a repository that is made if there is none.

    Raises:
        InputError: not reachable, or not allowed.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{folder} could not be uploaded to {repository}: {reason}") from error
    say(f"uploaded to {repository}")
