"""Golden files of utilities: geometry functions, ray pose, trajectories, preprocessing, metrics."""

import json
from pathlib import Path

import numpy as np
import torch

from eval.golden.compare import EQUAL, FINITE, PIXELS, RAY_POSE, UTILITY, Report
from eval.golden.networks import read_images, variant_of
from eval.golden.weights import filled_network, rule_image
from geometry.layers.rope import rotary_tables, rotate
from geometry.layers.uv_embed import add_uv_embedding, uv_axes
from geometry.metrics.points import point_metrics
from geometry.metrics.pose import pose_auc
from geometry.ops import se3
from geometry.ops.align import align_poses, normalise_extrinsics
from geometry.ops.pinhole import pixel_grid
from geometry.ops.pose_encoding import decode_cameras, encode_cameras
from geometry.ops.ray_pose import cameras_from_rays
from geometry.ops.rays import rays_from_cameras
from geometry.ops.rotations import matrix_from_quat_xyzw, quat_xyzw_from_matrix
from geometry.preprocess import released_preprocess
from geometry.views import Cameras
from nvs.adapter import released_world_quats
from nvs.spherical_harmonics import rotate_sh
from nvs.trajectories import released_trajectory
