"""The prepared check of a real GPU: every step that needs one, each with a time limit of its own.

    scripts/check_cuda.sh                        # installs, then this
    python scripts/check_cuda.py --device cpu --only render    # a dry run of some steps

Steps run one after another, however the others end; one that finds no time left is named as not run. Writes
``report.json``, ``report.md`` and a log per step; exits 1 if a step failed or did not run. PSNR of the same
scene on both devices must agree.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from eval.tables.formats import markdown_rows
from geometry import __version__

AGREE_DB = 0.2  # between refined views of two devices: sums in another order, 150 steps on
SMALL = "--process-res 252 --size 134 240 --frames 8"
TRAINED = "validation.unseen.samples=8 validation.training.samples=8 validation.unseen.dataset.worlds=2"
# name, seconds at most, command: {d} is the device, {o} the output folder, {c} the capture in it.
STEPS = """
kernels         330 -c "from nvs.rasterizer.cuda import import_gsplat; import_gsplat()"
tests           150 -m pytest -q -m gpu -o timeout=0 -p no:cacheprovider tests
golden           90 scripts/check_golden.py --quiet --device {d}
golden-bf16      60 scripts/check_golden.py --quiet --device {d} --bfloat16 --only small
capture          40 -m geometry data make-capture --seed 12 --views 16 --size 270 480 --out {c}
render           60 -m nvs render {c} --out {o}/render --device {d} --quality draft --size 134 240 --frames 8
render-refined   60 -m nvs render {c} --out {o}/refined --device {d} {small} --holdout 4 --refine 150
render-cpu       90 -m nvs render {c} --out {o}/cpu --device cpu {small} --holdout 4 --refine 150
render-unposed   60 -m nvs render {c} --out {o}/unposed --device {d} {small} --cameras network \
    --refine 20 --refine-cameras
infer            40 -m geometry infer {c} --out {o}/infer --device {d} --ray-pose --unposed
finetune         60 -m nvs finetune {c} --out {o}/finetune --device {d} --process-res 252 \
    --steps 20 --context 4 --context-sets 2
train-head       60 -m nvs train experiment=nvs/smoke out={o}/head loop.device={d} loop.steps=50 \
    loop.precision.compute=bf16
train-fsdp       90 -m torch.distributed.run --standalone --nproc-per-node 1 -m geometry train \
    experiment=geometry/smoke out={o}/fsdp loop.device={d} loop.steps=50 loop.parallel.strategy=fsdp \
    guess=false data.dataset.datasets.many.worlds=4 {trained}
eval             60 -m eval run benchmark=folder benchmark.root={c} out={o}/eval device={d} \
    benchmark.long_side=240 benchmark.rule.every=4 benchmark.rule.context=6 method=model refine=50
speed-network   120 scripts/bench_network.py --device {d} --models small base large giant \
    --views 2 12 --sizes 280x504 --rounds 3
speed-training  120 scripts/bench_training.py --models small large --views 8 --updates 5
most-views       60 scripts/bench_training.py --models base --most-views
"""
UNTRUSTED = 3  # a rendering by `tiny` in its own cameras is marked so


@dataclass
class Outcome:
    """How one step went."""

    step: str
    status: str  # ok, failed (N), timed out, not run
    seconds: float = 0.0
    last: str = ""  # lines of its log

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def run(step: str, limit: float, command: str, log: Path) -> Outcome:
    """One command in a process group of its own, which is killed whole when its time is over."""
    words = f"exec {sys.executable} {command}"
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, shell=True, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(limit)
            expected = (0, UNTRUSTED) if step.startswith(("render", "infer", "finetune")) else (0,)
            status = "ok" if code in expected else f"failed ({code})"
        except subprocess.TimeoutExpired:
            os.killpg(
                process.pid, signal.SIGTERM
            )  # torchrun ends its workers, which have groups of their own
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = "timed out"
    lines = log.read_text(errors="replace").splitlines()
    return Outcome(step, status, round(time.monotonic() - start, 1), "\n".join(lines[-12:]))


def agreement(out: Path) -> Outcome:
    """PSNR of the same held-out photos, rendered and refined on both devices."""
    try:
        psnr = [json.loads((out / name / "metrics.json").read_text())["psnr"] for name in ("refined", "cpu")]
    except (OSError, KeyError) as error:
        return Outcome("agreement", "not run", last=str(error))
    close = abs(psnr[0] - psnr[1]) <= AGREE_DB
    text = f"{psnr[0]:.3f} dB, CPU {psnr[1]:.3f} dB; expected within {AGREE_DB} dB"
    return Outcome("agreement", "ok" if close else "failed (1)", last=text)


def machine(device: str) -> dict[str, str]:
    """What the figures are from."""
    card = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor()
    return {
        "device": f"{device}: {card}",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "version": __version__,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/check_cuda"), help="folder of the report")
    parser.add_argument("--minutes", type=float, default=10.0, help="in all (10)")
    parser.add_argument("--device", default="cuda", help="cpu for a dry run")
    parser.add_argument("--only", default="", metavar="TEXT", help="steps whose name matches this pattern")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU here; --device cpu is a dry run", file=sys.stderr)
        return 2
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(Path(__file__).resolve().parents[1])
    words = {"d": args.device, "o": out, "c": out / "capture", "small": SMALL, "trained": TRAINED}
    patience = 1 if args.device.startswith("cuda") else 10
    end, outcomes = time.monotonic() + 60 * args.minutes, []
    for line in STEPS.strip().splitlines():
        name, limit, command = line.split(maxsplit=2)
        if not re.search(args.only, name) and name != "capture":
            continue
        left = min(float(limit) * patience, end - time.monotonic())
        log = out / f"{name}.log"
        outcome = run(name, left, command.format(**words), log) if left > 5 else Outcome(name, "not run")
        outcomes.append(outcome)
        print(f"{name}: {outcome.status} in {outcome.seconds} s", flush=True)
        write_report(out, args.device, outcomes)
    if not args.only:
        outcomes.append(agreement(out))
        print(f"agreement: {outcomes[-1].status}: {outcomes[-1].last}")
        write_report(out, args.device, outcomes)
    print(out / "report.md")
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def write_report(out: Path, device: str, outcomes: list[Outcome]) -> None:
    """All that is known so far; a run that is killed leaves the steps before."""
    about = machine(device)
    record = {"machine": about, "steps": [asdict(o) for o in outcomes]}
    (out / "report.json").write_text(json.dumps(record, indent=2) + "\n")
    table = markdown_rows(
        ["step", "outcome", "seconds"], [[o.step, o.status, f"{o.seconds:.0f}"] for o in outcomes]
    )
    parts = ["# CUDA check", *(f"- {name}: {value}" for name, value in about.items()), "", *table]
    for o in outcomes:
        if o.last and (not o.ok or o.step.startswith(("speed", "most", "golden", "agreement"))):
            parts += ["", f"## {o.step}", "", "```", o.last, "```"]
    (out / "report.md").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
