"""Released parameter names to ours, and back: the only file that knows foreign names."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def _dpt(theirs: str, ours: str, **fusions: str) -> dict[str, str]:
    """Prefixes that every DPT head shares; ``fusions``: our chains, each with its suffix of their blocks."""
    parts = {"norm": "norm", "projects": "project", "resize_layers": "resize"}
    table = {f"{theirs}.{a}.": f"{ours}.reassemble.{b}." for a, b in parts.items()}
    units = {"resConfUnit1": "lateral_unit", "resConfUnit2": "unit", "out_conv": "out"}
    for level in range(4):
        table[f"{theirs}.scratch.layer{level + 1}_rn."] = f"{ours}.reassemble.lateral.{level}."
        for chain, suffix in fusions.items():
            block = f"{theirs}.scratch.refinenet{level + 1}{suffix}"
            table |= {f"{block}.{a}.": f"{ours}.{chain}.blocks.{level}.{b}." for a, b in units.items()}
    return table


_BACKBONE = {"backbone.pretrained.": "backbone."}

_CAMERAS = {
    "cam_enc.": "camera_encoder.",
    "cam_dec.backbone.": "camera_decoder.trunk.",
    "cam_dec.fc_t.": "camera_decoder.translation.",
    "cam_dec.fc_qvec.": "camera_decoder.quaternion.",
    "cam_dec.fc_fov.0.": "camera_decoder.fov.",
}

_DUAL_HEAD = {
    **_dpt("head", "depth_head", depth_fusion="", ray_fusion="_aux"),
    "head.scratch.output_conv1.": "depth_head.depth_neck.",
    "head.scratch.output_conv2.": "depth_head.depth_out.",
    "head.scratch.output_conv1_aux.3.": "depth_head.ray_neck.",
    "head.scratch.output_conv2_aux.3.0.": "depth_head.ray_conv.",
    "head.scratch.output_conv2_aux.3.5.": "depth_head.ray_out.",
}
for _level in range(3):
    _DUAL_HEAD[f"head.scratch.output_conv1_aux.{_level}."] = f"depth_head.spares.{_level}.neck."
    _DUAL_HEAD[f"head.scratch.output_conv2_aux.{_level}.0."] = f"depth_head.spares.{_level}.conv."
    _DUAL_HEAD[f"head.scratch.output_conv2_aux.{_level}.5."] = f"depth_head.spares.{_level}.out."
for _level in range(4):  # one LayerNorm under four names: any of them will do
    _DUAL_HEAD[f"head.scratch.output_conv2_aux.{_level}.2."] = "depth_head.ray_norm."

_GAUSSIAN_HEAD = {
    **_dpt("gs_head", "gaussian_head", fusion=""),
    "gs_head.scratch.output_conv1.": "gaussian_head.neck.",
    "gs_head.scratch.output_conv2.": "gaussian_head.out.",
    "gs_head.images_merger.": "gaussian_head.image_branch.",
}

_MONOCULAR_HEAD = {
    **_dpt("head", "depth_head", fusion=""),
    "head.scratch.output_conv1.": "depth_head.neck.",
    "head.scratch.output_conv2.": "depth_head.depth_out.",
    "head.scratch.sky_output_conv2.": "depth_head.sky_out.",
}

_ANY_VIEW = {**_BACKBONE, **_CAMERAS, **_DUAL_HEAD, **_GAUSSIAN_HEAD}
_MONOCULAR = {**_BACKBONE, **_MONOCULAR_HEAD}

# Released prefix -> our prefix, for each kind of model.
PREFIXES: dict[str, dict[str, str]] = {
    "any-view": _ANY_VIEW,
    "monocular": _MONOCULAR,
    "nested": {
        **{f"da3.{theirs}": f"any_view.{ours}" for theirs, ours in _ANY_VIEW.items()},
        **{f"da3_metric.{theirs}": f"metric.{ours}" for theirs, ours in _MONOCULAR.items()},
    },
}

# Names in training checkpoints older than the release, brought to the released form.
_OLDER = [
    (r"^module\.", "model."),
    (r"\.net\.", ".backbone."),
    (r"\.camera_token_extra$", ".camera_token"),
    (r"^model\.all_heads\.camera_cond_head\b", "model.cam_enc"),
    (r"^model\.all_heads\.camera_head\b", "model.cam_dec"),
    (r"^model\.all_heads\.head\b", "model.head"),
    (r"\.more_mlps\.", ".backbone."),
    (r"\.fc_rot\.", ".fc_qvec."),
    (r"output_conv2_additional\.sky_mask", "sky_output_conv2"),
    (r"_ray\.", "_aux."),
    (r"gaussian_param_head\.", "gs_head."),
]


def is_released(keys: Iterable[str]) -> bool:
    """Whether parameter names are the released ones (or older forms of them), not ours."""
    signs = re.compile(
        r"backbone\.pretrained\.|(^|\.)net\.|all_heads\.|(^|\.)gs_head\.|gaussian_param_head\."
    )
    return any(signs.search(key) for key in keys)


def kind_of(keys: Iterable[str]) -> str:
    """``any-view``, ``monocular`` or ``nested``, from released names."""
    keys = [key.removeprefix("model.") for key in keys]
    if any(key.startswith(("da3.", "da3_metric.")) for key in keys):
        return "nested"
    return "monocular" if any(".sky_output_conv2." in key for key in keys) else "any-view"


def our_name(key: str, kind: str) -> str | None:
    """Our name of a released parameter; None for one that no released model of this kind has.

    A Gaussian head's names start with ``gaussian_head.`` (in nested models ``any_view.gaussian_head.``).
    """
    return _replace_prefix(key.removeprefix("model."), PREFIXES[kind])


def released_name(name: str, kind: str) -> str | None:
    """Released name of one of our parameters, without ``model.``; of aliases the level-3 one."""
    return _replace_prefix(name, {ours: theirs for theirs, ours in PREFIXES[kind].items()})


def _replace_prefix(name: str, table: Mapping[str, str]) -> str | None:
    prefix = max((p for p in table if name.startswith(p)), key=len, default=None)
    return None if prefix is None else table[prefix] + name.removeprefix(prefix)


def modern_names(state: Mapping[str, T]) -> dict[str, T]:
    """Older training names brought to the released ones; released names stay as they are."""
    # Such files hold an untrained placeholder beside the token that was trained.
    placeholders = {k.removesuffix("_extra") for k in state if k.endswith(".camera_token_extra")}
    renamed = {}
    for key, value in state.items():
        if key not in placeholders:
            for pattern, new in _OLDER:
                key = re.sub(pattern, new, key)
            renamed[key] = value
    return renamed


def convert(state: Mapping[str, T]) -> tuple[dict[str, T], list[str]]:
    """Released state dict under our names, and the names that no released model has.

    Keys are taken in sorted order, so that of aliased entries the last (level 3) wins, as in official
    loading.
    """
    state = modern_names(state)
    kind = kind_of(state)
    names = {key: our_name(key, kind) for key in sorted(state)}
    unknown = [key for key, name in names.items() if name is None]
    return {name: state[key] for key, name in names.items() if name is not None}, unknown
