"""The output of a run: a progress line, a JSONL file, TensorBoard, validation images. First process only."""

import json
import math
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geometry.engine.throughput import readable_time
from geometry.engine.track import start_tracker


class Meter:
    """Means of named numbers since the last reading; sums stay on the device until they are read."""

    def __init__(self, state: Mapping[str, list[float]] | None = None) -> None:
        self.sums: dict[str, list[Any]] = {name: list(entry) for name, entry in (state or {}).items()}

    def add(self, numbers: Mapping[str, Tensor | float]) -> None:
        for name, number in numbers.items():
            total, count = self.sums.get(name, (0.0, 0))
            number = number.detach().double() if isinstance(number, Tensor) else number
            self.sums[name] = [total + number, count + 1]

    def state(self) -> dict[str, list[float]]:
        return {name: [float(total), count] for name, (total, count) in self.sums.items()}


def combined_means(states: list[dict[str, list[float]]]) -> dict[str, float]:
    """Means over the meters of all processes; a name that one of them lacks is no error."""
    sums: dict[str, tuple[float, float]] = {}
    for state in states:
        for name, (total, count) in state.items():
            before, counted = sums.get(name, (0.0, 0))
            sums[name] = before + total, counted + count
    return {name: total / count for name, (total, count) in sums.items()}


class RunLog:
    """Writes ``log.jsonl``, ``tensorboard/`` and ``images/`` in the run's folder, and the progress line.

    Args:
        active: False on all processes but the first, where every method does nothing.
        step: steps already done; what a killed run logged beyond them is dropped, since those steps
            are going to be logged again.
        track: a tracker that gets the numbers too (`start_tracker`), and
        config: what it is told of the run.
    """

    def __init__(
        self,
        out: Path,
        *,
        active: bool,
        step: int,
        tensorboard: bool,
        track: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.out, self.active = out, active
        self.tensorboard, self.board, self.purge_step = tensorboard, None, step + 1 if step else None
        self.track: Callable[[dict[str, float], int], None] | None = None
        self.full = False  # the disk refused something
        self.live = sys.stdout.isatty()  # rewrite one line; else print a line each time
        if not active:
            return
        out.mkdir(parents=True, exist_ok=True)
        path = out / "log.jsonl"
        drop_lines_after(path, step)
        self.file = open(path, "a", buffering=1)  # noqa: SIM115 - closed by close()
        self._to_board(lambda board: None)
        if track:
            self.track, self.end_track = start_tracker(track, out, dict(config or {}))

    def write(self, kind: str, step: int, **values: Any) -> None:
        """One JSONL object; numbers also go to TensorBoard, nested ones as ``kind/outer/inner``."""
        if not self.active:
            return
        with self._kept_going():
            self.file.write(json.dumps(_strict({"kind": kind, "step": step, **values})) + "\n")
        numbers = dict(_numbers(values, kind))
        self._to_board(lambda board: [board.add_scalar(name, v, step) for name, v in numbers.items()])
        if self.track:
            self.track(numbers, step)

    def progress(self, text: str) -> None:
        """Show the line that tells how training goes."""
        if self.active and self.live:
            fitting = text[: shutil.get_terminal_size().columns - 1]  # a wrapped line cannot be rewritten
            print(f"\r\x1b[K{fitting}", end="", flush=True)
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self.active:
            print(f"\r\x1b[K{text}" if self.live else text, flush=True)

    def images(self, step: int, images: dict[str, Tensor]) -> None:
        """Keep validation pictures, [3, H, W] in 0..1, as ``images/step_<step>/<name>.png``."""
        if not self.active or not images:
            return
        from torchvision.io import write_png

        for name, image in images.items():
            path = self.out / "images" / f"step_{step:08d}" / f"{name}.png"
            pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
            with self._kept_going():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_png(pixels, str(path))
            self._to_board(lambda board, *shown: board.add_image(*shown, step), name, pixels)

    def close(self) -> None:
        if not self.active:
            return
        if self.live:
            print()
        with self._kept_going():
            self.file.close()
        self._to_board(lambda board: board.close())
        if self.track:
            self.end_track()

    def _to_board(self, add: Callable[..., Any], *args: Any) -> None:
        """Call ``add`` with TensorBoard's writer, whose thread ends at an error: then another is begun."""
        if not self.tensorboard:
            return
        with self._kept_going():
            try:
                self.board = self.board or _start_board(self.out / "tensorboard", self.purge_step)
                self.purge_step = None
                add(self.board, *args)
            except OSError:
                self.board = None
                raise

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        """A full disk costs log entries, not the run; said once."""
        try:
            yield
        except (OSError, RuntimeError) as error:  # the latter from torchvision's writer
            if not self.full:
                warnings.warn(
                    f"{self.out}: the log cannot be written ({error}); training goes on", stacklevel=3
                )
            self.full = True


def _start_board(folder: Path, purge_step: int | None) -> Any:
    """TensorBoard's writer; what a killed run logged from that step on is not shown."""
    # Imported here: it takes over a second, and tests and short runs go without.
    from torch.utils.tensorboard import SummaryWriter

    _quieten_board()
    return SummaryWriter(str(folder), purge_step=purge_step)


@cache
def _quieten_board() -> None:
    """What ends the thread of TensorBoard's writer is raised by that too: the thread need not print it."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if type(args.thread).__module__ != "tensorboard.summary.writer.event_file_writer":
            before(args)

    threading.excepthook = hook


def validations(out: Path) -> dict[int, dict[str, float]]:
    """Metrics by step of all validations that the log of a run has."""
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {entry["step"]: entry["metrics"] for entry in entries if entry["kind"] == "validation"}


def drop_lines_after(path: Path, step: int) -> None:
    """Drop lines of a JSONL log that belong to later steps, and a last line cut short by a kill."""

    def kept(line: str) -> bool:
        try:
            return json.loads(line)["step"] <= step
        except ValueError:
            return False

    if path.exists():
        beside = path.with_name(path.name + ".new")
        beside.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if kept(line)))
        os.replace(beside, path)


def progress_line(step: int, steps: int, entry: Mapping[str, Any]) -> str:
    """``step 1200/200000  loss 0.412  depth 0.2  lr 0.00019  34.2 images/s  12.30 GB  2h 13m left``.

    Waiting for data is shown where it takes 5% of the time or more: then loading is the bottleneck.

    Args:
        entry: what the log has of this step.
    """
    parts = [f"step {step}/{steps}", f"loss {entry['loss']:.4g}"]
    parts += [f"{name} {value:.4g}" for name, value in entry["terms"].items()]
    parts.append(f"lr {max(entry['lr'].values()):.2g}")
    for name, rate in entry["per_second"].items():
        parts.append(f"{rate:{',.0f' if rate >= 100 else '.3g'}} {name}/s")
    if entry["skipped"]:
        parts.append(f"{entry['skipped']} skipped")
    parts += [f"{name}: {_damage(counts)}" for name, counts in entry.get("damage", {}).items()]
    if entry["data_share"] >= 0.05:
        parts.append(f"data {entry['data_share']:.0%}")
    parts.append(f"{entry['memory_bytes'] / 1e9:.2f} GB")
    if entry["seconds_left"] is not None:
        parts.append(f"{readable_time(entry['seconds_left'])} left")
    return "  ".join(parts)


def _damage(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.items() if what != "samples")


def _strict(value: Any) -> Any:
    """JSON has no NaN and infinity: write them as text."""
    if isinstance(value, dict):
        return {k: _strict(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_strict(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}/{key}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value
