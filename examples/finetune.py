"""The Gaussian head adapted to your photos: python examples/finetune.py PHOTOS OUT [STEPS] [MODEL].

PHOTOS is a folder or a video of one place. Every eighth photo is kept out and scored. STEPS are 400 by
default, some minutes on a CPU. OUT gets best.safetensors, which `nvs.load`, `nvs render --model` and the
benchmark take.
"""

import sys
from dataclasses import replace
from pathlib import Path

import nvs
from geometry.console import listening
from geometry.device import pick_device
from nvs.training.finetuning import default_options, finetune


def main(photos: str, out: str, steps: str = "400", model: str = "tiny") -> None:
    options = replace(default_options(pick_device("auto")), model=model, steps=int(steps))
    with listening():  # progress, on standard error
        done = finetune([photos], out, options)
    if not done.finished:
        print("stopped; the same command goes on from there")
        return
    for step, value in done.psnr.items():  # step 0: the head as it was
        print(f"step {step}: PSNR of the photos kept out {value:.2f} dB")
    print(nvs.load(Path(out) / "best.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
