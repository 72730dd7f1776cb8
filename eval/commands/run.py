"""`nvs-eval run`: a method on a benchmark."""

from eval.commands.words import command

USAGE = """usage: nvs-eval run [protocol=NAME] benchmark=NAME benchmark.root=DIR out=DIR [key=value ...]

Asks a method once about every scene of a benchmark and scores its answers. The same command resumes where it
stopped; scoring again costs no prediction. Several processes: torchrun ... -m eval run ...
  protocol=    nvs (view synthesis), pose, reconstruction, depth (photos seen together), mono (single photos),
               or speed (no data)
  benchmark=   of nvs: dl3dv, dl3dv_252, tanks, megadepth, folder; of geometry: hiroom, eth3d, dtu, dtu64,
               7scenes, scannetpp, kitti, nyu, sintel, diode, procedural, folder
  split=FILE   of nvs-eval split; none: made here
  method=      of nvs: model, nearest, mean_colour, warp, optimise, renders, ffgs; of geometry: model, arrays,
               sweep, stereo, sfm, chance; of both: package.module:function
  model=       weights, as nvs render --model          ray_pose=true   cameras from rays (geometry)
  poses=       gt, umeyama or photometric (nvs)        context_poses=  given or none
  label=       the row's name in tables                --cfg           print the whole config and stop"""


def run(argv: list[str]) -> int:
    from omegaconf import OmegaConf

    from eval.commands.config import compose, run_options, speed_options
    from eval.run import run_benchmark
    from eval.speed import measure_speed
    from eval.summary import result_lines
    from geometry.verdict import UNTRUSTED

    if "--cfg" in argv:
        print(OmegaConf.to_yaml(compose([a for a in argv if a != "--cfg"], complete=False)), end="")
        return 0
    config = compose(argv)
    if config.protocol == "speed":
        summary = measure_speed(speed_options(config))
    else:
        summary = run_benchmark(run_options(config))
    if summary is None:
        return 0
    print("\n".join(result_lines(summary)))
    return UNTRUSTED if summary["failed"] else 0


main = command(USAGE, run)
