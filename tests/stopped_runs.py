"""Starts a command many times, stops each run at a random moment, and looks at what it leaves.

``python stopped_runs.py COMMAND HOW TIMES SEED FOLDER`` prints a JSON object: how the runs ended, and what is
wrong. Runs are forks of one process that has imported everything: a run takes a second, not ten.
"""

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import scenes
import torch
from PIL import Image
from safetensors import safe_open

import eval.__main__
import geometry.commands.infer
import nvs.commands.finetune
import nvs.commands.render
from geometry.engine import INTERRUPTED
from geometry.engine.checkpoint import find_damage, list_checkpoints

SIZE, PHOTOS = (60, 90), 9
SMALL = ["--process-res", "56", "--no-pose-check", "--max-views", "4"]
DONE = (0, 3)  # 3: not to be trusted, as photos of noise should be
MINE = {"notes.txt": "mine", "frames/of mine.txt": "mine", "images/of mine.txt": "mine"}
DISK_BYTES, LONGEST, EVERY = 200_000_000, 120, 5


def commands(data: Path, out: Path) -> dict[str, tuple[Callable[[list[str]], int], list[str]]]:
    """The commands, by name."""
    photos = str(data / "photos")
    views = ["--holdout", "4", "--refine", "4", "--frames", "3", "--size", "36", "54"]
    steps = ["--steps", "6", "--context", "3", "--targets", "1", "--holdout", "8", "--validate-every", "6"]
    rule = ["benchmark.rule.context=3", "benchmark.long_side=64", "metrics=[psnr,ssim]", "device=cpu"]
    return {
        "render": (nvs.commands.render.main, [photos, "--out", str(out), *SMALL, *views]),
        "infer": (geometry.commands.infer.main, [photos, "--out", str(out), *SMALL]),
        "finetune": (nvs.commands.finetune.main, [photos, "--out", str(out), *SMALL, *steps]),
        "eval": (
            eval.__main__.main,
            ["run", f"benchmark.root={data / 'captures'}", "method=nearest", f"out={out}", *rule],
        ),
    }


def write_data(data: Path) -> None:
    scenes.write_arc_cameras(data / "photos", scenes.write_photos(data / "photos", PHOTOS, SIZE), SIZE)
    for name in "abc":
        scenes.write_capture(data / "captures" / name, scenes.make_arc(8))


def start(main: Callable[[list[str]], int], argv: list[str], log: Path) -> int:
    """A fork that runs a command; its process id."""
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    os.setpgid(0, 0)  # ffmpeg goes with it, as with a terminal's Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background are born deaf to it
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    try:
        status = main(argv)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    os._exit(status)


def stopped(pid: int, number: int | None, after: float) -> tuple[int, float]:
    """How a run ended that got a signal after so many seconds, if it had not ended, and how long it took."""
    begun, hung = time.monotonic(), False
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        spent = time.monotonic() - begun
        if done:
            return 124 if hung else os.waitstatus_to_exitcode(status), spent
        if number is not None and spent > after:
            os.killpg(pid, number)
            number = None
        if spent > after + LONGEST and not hung:
            os.killpg(pid, signal.SIGKILL)
            hung = True
        time.sleep(0.003)


def broken(path: Path) -> str | None:
    """What is wrong with a file that bears its final name."""
    try:
        if path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":  # a line is appended; the last one may be cut, and is then ignored
            [json.loads(line) for line in path.read_text().splitlines()[:-1]]
        elif path.suffix == ".npz":
            dict(np.load(path))
        elif path.suffix == ".mp4":
            assert imageio_ffmpeg.count_frames_and_secs(str(path))[0] > 0
        elif path.suffix == ".glb":
            assert struct.unpack("<4sII", path.read_bytes()[:12])[2] == path.stat().st_size
        elif path.suffix == ".ply":
            header, _, body = path.read_bytes().partition(b"end_header\n")
            count = next(int(w.split()[-1]) for w in header.splitlines() if w.startswith(b"element vertex"))
            floats, bytes_ = header.count(b"property float"), header.count(b"property uchar")
            assert len(body) == count * (4 * floats + bytes_)
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                list(file.keys())
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
    except Exception as error:
        return f"{path.name}: {type(error).__name__} {error}"
    return None


def problems(out: Path) -> list[str]:
    """What a stopped run may not leave: half files, or less of other people's."""
    found = [] if not out.exists() else [f"{n} is gone" for n in MINE if not (out / n).is_file()]
    for path in sorted(out.rglob("*")):
        hidden = any(part.startswith(".") and part.endswith(".part") for part in path.parts)
        if path.is_file() and not hidden and ".part." not in path.name and (fault := broken(path)):
            found.append(fault)
    for checkpoint in list_checkpoints(out / "checkpoints"):
        if fault := find_damage(checkpoint):
            found.append(f"{checkpoint.name}: {fault}")
    return found


def fresh(out: Path) -> None:
    """An output folder with files of somebody else's."""
    shutil.rmtree(out, ignore_errors=True)
    for name, text in MINE.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)


@contextmanager
def disk(folder: Path) -> Iterator[bool]:
    """A small disk of its own at a folder, where that is allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def full_run(main: Callable[[list[str]], int], argv: list[str], log: Path) -> float:
    """A run that nobody stops; its seconds."""
    status, seconds = stopped(start(main, argv, log), None, 0.0)
    if status not in DONE:
        raise SystemExit(f"a whole run ended with {status}: {log.read_text()[-2000:]}")
    return seconds


def try_out(name: str, how: str, times: int, seed: int, folder: Path) -> dict:
    """Stop a command so many times."""
    rng, place, log = random.Random(seed), folder / "place", folder / "log.txt"
    place.mkdir(parents=True)
    write_data(folder / "data")
    wrong: list[str] = []
    ends: Counter[str] = Counter()
    with disk(place) if how == "disk" else nullcontext(True) as mounted:
        out = place / "out"
        main, argv = commands(folder / "data", out)[name]
        if not mounted:
            return {"skipped": "no small disk can be mounted here"}
        fresh(out)
        full_run(main, argv, log)  # compiles what is compiled once
        fresh(out)
        seconds = full_run(main, argv, log)
        wrote = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
        ended = True  # then there is nothing to resume
        for number in range(times):
            if ended or rng.random() < 0.3:
                fresh(out)
            ballast = place / "ballast"
            if how == "disk":
                free = shutil.disk_usage(place).free
                ballast.write_bytes(bytes(max(0, free - rng.randrange(int(1.2 * wrote)))))
            after = seconds * rng.random() ** 0.7  # rather late than early: files are written at the end
            kind = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "disk": None}[how]
            status, _ = stopped(start(main, argv, log), kind, after)
            ends[str(status)] += 1
            ended = status in DONE
            said = log.read_text(errors="replace")
            expected = {"kill": (-9,), "interrupt": (130, INTERRUPTED), "disk": (2,)}[how]
            if status not in (*DONE, *expected) or (how != "kill" and "Traceback" in said):
                shown = said[max(0, said.find("Traceback") - 300) :][:2000]
                wrong.append(f"{number}: ended with {status} after {after:.2f} s: {shown}")
            wrong += [f"{number}: {fault}" for fault in problems(out)]
            ballast.unlink(missing_ok=True)
            if number % EVERY == EVERY - 1 or number == times - 1:
                full_run(main, argv, log)
                ended = True
                wrong += [f"{number}, whole: {fault}" for fault in problems(out)]
                left = [p.name for p in place.rglob(".*") if ".part" in p.name]
                wrong += [f"{number}, whole: {name} is left" for name in left]
    return {"runs": sum(ends.values()), "ends": dict(ends), "wrong": wrong, "seconds": round(seconds, 2)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, how, times, seed, folder = sys.argv[1:]
    print(json.dumps(try_out(name, how, int(times), int(seed), Path(folder))))
