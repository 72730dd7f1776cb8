"""The batched twin of `kernel`: the same pictures in torch, for worlds that live on an accelerator.

Every function mirrors one of `kernel` and must change with it. Rays are tested against the bounding
spheres of all primitives of a kind at once, in chunks that bound the memory, and the pairs that pass
against the shapes. Letters: R rays, N primitives of one kind, P ray-primitive pairs.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from geometry.worlds.kernel import EDGE_COSINE, MARCH_STEPS, SUBROWS
from geometry.worlds.scene import (
    AMBIENT_DOWN,
    AMBIENT_UP,
    BUMP,
    DETAIL,
    DETAIL_SCALE,
    EMISSION,
    FOG,
    FOG_DENSITY,
    GLOSS,
    MACRO,
    MACRO_SCALE,
    MAX_BALLS,
    MAX_PLANES,
    MIRROR,
    OCCLUSION,
    SPECULAR,
    SUN,
    TEXTURE_SCALE,
    Scene,
    Shape,
)

PAIRS = 2**23  # ray-primitive pairs handled at once
RAYS = 2**18  # camera rays shaded at once
MARCHED = (Shape.TORUS, Shape.ROUND_BOX, Shape.BLOB, Shape.HEIGHT)

Values = Float[Tensor, "..."]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _unit(a: Tensor) -> Tensor:
    return a / (_dot(a, a)[..., None] + 1e-30).sqrt()


# ---------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------


def height_at(heights: Float[Tensor, "maps G G"], which: Int[Tensor, "*p"], x: Values, y: Values) -> Values:
    """Bilinear height at x, y in 0..1 of the map; cells at the border are extended."""
    size = heights.shape[1]
    x, y = x.clamp(0, 1) * (size - 1), y.clamp(0, 1) * (size - 1)
    i, j = x.long().clamp(max=size - 2), y.long().clamp(max=size - 2)
    a, b = x - i, y - j
    flat, k = heights.flatten(), (which * size + j) * size + i
    low = flat[k] * (1 - a) + flat[k + 1] * a
    high = flat[k + size] * (1 - a) + flat[k + size + 1] * a
    return low * (1 - b) + high * b


def distance_to(
    kind: Shape, half: Float[Tensor, "*p 3"], shape: Float[Tensor, "*p 49"], point: Float[Tensor, "*p 3"]
) -> Float[Tensor, "*p"]:
    """Signed distance of the marched shapes, local metres."""
    if kind == Shape.TORUS:
        ring = point[..., :2].norm(dim=-1) - shape[..., 0]
        return torch.hypot(ring, point[..., 2]) - shape[..., 1]
    if kind == Shape.ROUND_BOX:
        radius = shape[..., 0]
        outside = point.abs() - half + radius[..., None]
        return outside.clamp(min=0).norm(dim=-1) + outside.amax(-1).clamp(max=0) - radius
    blend = shape[..., 1]
    total = torch.full_like(blend, 1e9)
    for k in range(MAX_BALLS):
        ball = (point - shape[..., 2 + 4 * k : 5 + 4 * k]).norm(dim=-1) - shape[..., 5 + 4 * k]
        gap = (blend - (total - ball).abs()).clamp(min=0) / blend
        joined = torch.minimum(total, ball) - gap * gap * blend * 0.25
        total = torch.where(k < shape[..., 0], joined, total)
    return total


def _slabs(q: Tensor, e: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave a box; a ray parallel to a face and outside it never enters."""
    still = e == 0
    inverse = 1 / torch.where(still, torch.ones_like(e), e)
    a, b = (-half - q) * inverse, (half - q) * inverse
    missed = still & (q.abs() > half)
    low = torch.where(still, torch.where(missed, math.inf, -math.inf), torch.minimum(a, b))
    high = torch.where(still, torch.where(missed, -math.inf, math.inf), torch.maximum(a, b))
    return low.amax(-1), high.amin(-1)


def intersect(
    scene: Scene,
    kind: Shape,
    primitive: Int[Tensor, " P"],
    origin: Float[Tensor, "P 3"],
    direction: Float[Tensor, "P 3"],
    tmin: float,
    tmax: Float[Tensor, " P"],
) -> Float[Tensor, " P"]:
    """Nearest parameter in (tmin, tmax) at which each ray meets its primitive, of one kind; else inf."""
    half, shape, rotation = scene.half_size[primitive], scene.shape[primitive], scene.rotation[primitive]
    offset = origin - scene.centre[primitive]
    # Start at the point nearest the primitive's centre: quadratics then keep their digits from afar.
    shift = -_dot(offset, direction) / _dot(direction, direction)
    q = (rotation @ (offset + shift[:, None] * direction)[..., None])[..., 0]
    e = (rotation @ direction[..., None])[..., 0]
    lo, hi = tmin - shift, tmax - shift

    def within(t: Tensor) -> Tensor:
        return torch.where((t > lo) & (t < hi), t, math.inf)

    if kind in (Shape.ELLIPSOID, Shape.FRUSTUM, Shape.POLYTOPE):
        q, e = q / half, e / half
    if kind == Shape.ELLIPSOID:
        aa = _dot(e, e)
        middle = -_dot(q, e) / aa
        nearest = q + middle[..., None] * e
        disc = (1 - _dot(nearest, nearest)) / aa
        root = disc.clamp(min=0).sqrt()
        t = torch.where(middle - root > lo, middle - root, middle + root)
        return torch.where(disc >= 0, within(t), math.inf) + shift
    if kind == Shape.FRUSTUM:
        mean, slope = 0.5 * (shape[:, 0] + 1), 0.5 * (shape[:, 0] - 1)
        radius = mean + slope * q[..., 2]
        aa = e[..., 0] ** 2 + e[..., 1] ** 2 - (slope * e[..., 2]) ** 2
        aa = torch.where(aa.abs() < 1e-9, torch.full_like(aa, 1e-9), aa)
        bb = q[..., 0] * e[..., 0] + q[..., 1] * e[..., 1] - radius * slope * e[..., 2]
        cc = q[..., 0] ** 2 + q[..., 1] ** 2 - radius * radius
        disc = bb * bb - aa * cc
        root = disc.clamp(min=0).sqrt()
        best = torch.full_like(aa, math.inf)
        for sign in (-1, 1):
            t = within((-bb + sign * root) / aa)
            on = (disc >= 0) & ((q[..., 2] + t * e[..., 2]).abs() <= 1)
            best = torch.where(on, torch.minimum(best, t), best)
        for cap in (-1, 1):
            t = within((cap - q[..., 2]) / e[..., 2])
            x, y, r = q[..., 0] + t * e[..., 0], q[..., 1] + t * e[..., 1], mean + slope * cap
            on = (shape[:, 1] < 0.5) & (x * x + y * y <= r * r)
            best = torch.where(on, torch.minimum(best, t), best)
        return best + shift
    if kind == Shape.POLYTOPE:
        enter = torch.full_like(shift, -math.inf)
        leave = torch.full_like(shift, math.inf)
        for k in range(MAX_PLANES):
            plane = shape[:, 1 + 4 * k : 5 + 4 * k]
            used = k < shape[:, 0]
            speed, gap = _dot(plane[:, :3], e), plane[:, 3] - _dot(plane[:, :3], q)
            t = gap / speed
            enter = torch.where(used & (speed < 0), torch.maximum(enter, t), enter)
            leave = torch.where(used & (speed > 0), torch.minimum(leave, t), leave)
            leave = torch.where(used & (speed == 0) & (gap < 0), -math.inf, leave)
    else:
        enter, leave = _slabs(q, e, half)
    entered = (enter <= leave) & (leave > lo) & (enter < hi)
    if kind not in MARCHED:
        t = torch.where(enter > lo, enter, leave)
        return torch.where(entered, within(t), math.inf) + shift
    best = torch.full_like(shift, math.inf)
    begin, end = torch.maximum(enter, lo)[entered], torch.minimum(leave, hi)[entered]
    march = _march_sheet if kind == Shape.HEIGHT else _march
    best[entered] = march(scene, kind, half[entered], shape[entered], q[entered], e[entered], begin, end)
    return within(best) + shift


def _march(
    scene: Scene, kind: Shape, half: Tensor, shape: Tensor, q: Tensor, e: Tensor, t: Tensor, end: Tensor
) -> Float[Tensor, " P"]:
    speed, close = e.norm(dim=-1), 2e-5 * half.amax(-1)
    result = torch.full_like(t, math.inf)
    active = torch.arange(len(t), device=t.device)
    t = t.clone()
    for step in range(MARCH_STEPS):
        d = distance_to(kind, half[active], shape[active], q[active] + t[active, None] * e[active]).abs()
        t[active] += d / speed[active]
        gone = t[active] >= end[active]
        hit = (d < close[active]) & ~gone
        result[active[hit]] = t[active[hit]]
        active = active[~(gone | hit)]
        if step % 8 == 7 and not len(active):
            break
    return result


def _march_sheet(
    scene: Scene, kind: Shape, half: Tensor, shape: Tensor, q: Tensor, e: Tensor, t: Tensor, end: Tensor
) -> Float[Tensor, " P"]:
    heights, which = scene.heights, shape[:, 0].long()
    flat = e[:, :2].norm(dim=-1)
    bound = e[:, 2].abs() + shape[:, 1] * flat + 1e-12
    least = 0.5 * half[:, :2].amin(-1) / (heights.shape[1] - 1) / (flat + e[:, 2].abs() + 1e-12)

    def above(t: Tensor, rays: Tensor) -> Tensor:
        point = q[rays] + t[:, None] * e[rays]
        u = 0.5 * point[:, :2] / half[rays, :2] + 0.5
        return point[:, 2] - height_at(heights, which[rays], u[:, 0], u[:, 1])

    active = torch.arange(len(t), device=t.device)
    t, last = t.clone(), t.clone()
    value = above(t, active)
    crossed = torch.zeros_like(t, dtype=torch.bool)
    first = value.clone()
    for step in range(4 * MARCH_STEPS):
        last[active], first[active] = t[active], value[active]
        moved = t[active] + torch.maximum(value[active].abs() / bound[active], least[active])
        t[active] = torch.minimum(moved, end[active])
        value[active] = above(t[active], active)
        through = value[active] * first[active] <= 0
        crossed[active[through]] = True
        active = active[~through & (t[active] < end[active])]
        if step % 8 == 7 and not len(active):
            break
    rays = crossed.nonzero()[:, 0]
    low, high, sign = last[rays], t[rays], first[rays]
    for _ in range(20):
        middle = 0.5 * (low + high)
        before = above(middle, rays) * sign > 0
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    result = torch.full_like(t, math.inf)
    result[rays] = 0.5 * (low + high)
    return result


def local_normal(scene: Scene, index: Int[Tensor, " R"], point: Float[Tensor, "R 3"]) -> Float[Tensor, "R 3"]:
    """Unit outward normals at surface points, both in their primitives' frames."""
    normal = torch.zeros_like(point)
    kinds = scene.kind[index]
    for kind in Shape:
        rows = (kinds == kind).nonzero()[:, 0]
        if len(rows):
            i = index[rows]
            normal[rows] = _normal_of(scene, kind, scene.half_size[i], scene.shape[i], point[rows])
    return _unit(normal)


def _normal_of(scene: Scene, kind: Shape, half: Tensor, shape: Tensor, p: Tensor) -> Float[Tensor, "R 3"]:
    zero = torch.zeros_like(p[:, 0])
    if kind == Shape.BOX:
        gap = p.abs() - half
        x = (gap[:, 0] >= gap[:, 1]) & (gap[:, 0] >= gap[:, 2])
        y = ~x & (gap[:, 1] >= gap[:, 2])
        face = torch.stack((x, y, ~x & ~y), -1)
        return torch.where(face, torch.copysign(torch.ones_like(p), p), 0.0)
    if kind == Shape.ELLIPSOID:
        return p / (half * half)
    u = p / half
    if kind == Shape.FRUSTUM:
        mean, slope = 0.5 * (shape[:, 0] + 1), 0.5 * (shape[:, 0] - 1)
        radius = mean + slope * u[:, 2]
        side = (u[:, :2].norm(dim=-1) - radius).abs() * half[:, 0]
        cap = (shape[:, 1] < 0.5) & ((1 - u[:, 2].abs()) * half[:, 2] < side)
        flank = torch.cat((u[:, :2] / half[:, :2], (-slope * radius / half[:, 2])[:, None]), -1)
        flat = torch.stack((zero, zero, torch.copysign(torch.ones_like(zero), p[:, 2])), -1)
        return torch.where(cap[:, None], flat, flank)
    if kind == Shape.POLYTOPE:
        planes = shape[:, 1:].unflatten(1, (MAX_PLANES, 4))
        value = (planes[..., :3] * u[:, None]).sum(-1) - planes[..., 3]
        used = torch.arange(MAX_PLANES, device=p.device) < shape[:, :1]
        most = torch.where(used, value, -math.inf).argmax(1)
        return planes[torch.arange(len(p), device=p.device), most, :3] / half
    if kind == Shape.HEIGHT:
        which, step = shape[:, 0].long(), 1 / (scene.heights.shape[1] - 1)
        x, y = 0.5 * u[:, 0] + 0.5, 0.5 * u[:, 1] + 0.5
        across = height_at(scene.heights, which, x + step, y) - height_at(scene.heights, which, x - step, y)
        along = height_at(scene.heights, which, x, y + step) - height_at(scene.heights, which, x, y - step)
        return torch.stack(
            (-across / (4 * step * half[:, 0]), -along / (4 * step * half[:, 1]), zero + 1), -1
        )
    step = 1e-3 * half.amax(-1, keepdim=True)
    slopes = [
        distance_to(kind, half, shape, p + step * axis) - distance_to(kind, half, shape, p - step * axis)
        for axis in torch.eye(3).to(p)
    ]
    return torch.stack(slopes, -1)


# ---------------------------------------------------------------------------------------------
# Rays against everything
# ---------------------------------------------------------------------------------------------


def trace(
    scene: Scene, origin: Float[Tensor, "R 3"], direction: Float[Tensor, "R 3"], tmax: Tensor, shadow: bool
) -> tuple[Float[Tensor, " R"], Int[Tensor, " R"]]:
    """Nearest hits (t, primitive), or (inf, -1). With ``shadow`` only primitives that cast one count."""
    best = torch.full_like(origin[:, 0], math.inf)
    index = torch.full_like(best, -1, dtype=torch.long)
    radius = scene.half_size.norm(dim=-1) * 1.0001 + 1e-4
    for kind in Shape:
        chosen = (scene.kind == kind) & (scene.casts_shadow if shadow else True)
        members = chosen.nonzero()[:, 0]
        if not len(members):
            continue
        for part in torch.arange(len(origin), device=origin.device).split(max(PAIRS // len(members), 1)):
            o, d, limit = origin[part], direction[part], tmax[part]
            # Which rays pass through which bounding spheres: most pairs end here.
            offset = scene.centre[members] - o[:, None]  # [R, N, 3]
            along = (offset * d[:, None]).sum(-1) / _dot(d, d)[:, None]
            beside = offset - along[..., None] * d[:, None]
            near = (_dot(beside, beside) <= radius[members] ** 2) & (
                (along > 0) | (_dot(offset, offset) <= radius[members] ** 2)
            )
            ray, which = near.nonzero(as_tuple=True)
            t = torch.full_like(along, math.inf)
            t[ray, which] = intersect(scene, kind, members[which], o[ray], d[ray], 1e-4, limit[ray])
            nearest, which = t.min(1)
            nearer = nearest < best[part]
            best[part] = torch.where(nearer, nearest, best[part])
            index[part] = torch.where(nearer, members[which], index[part])
    return best, index


# ---------------------------------------------------------------------------------------------
# Textures and sky
# ---------------------------------------------------------------------------------------------


def sample(
    pixels: Tensor,
    material: Int[Tensor, " R"],
    size: int,
    uv: Float[Tensor, "R 2"],
    footprint: Float[Tensor, " R"],
) -> Float[Tensor, "R C"]:
    """Trilinear lookup in mip pyramids [M, T, C] of values 0..255, scaled to 0..1; ``footprint`` in tiles."""
    last = size.bit_length() - 1
    level = (footprint * size).clamp(min=1e-6).log2().clamp(0, last)
    base = level.long().clamp(max=last - 1)
    part = (level - base)[:, None]
    texels = pixels.flatten(0, 1)
    total = 0.0
    for step, weight in ((0, 1 - part), (1, part)):
        side = size >> (base + step)
        start = (4 * size * size - 4 * side * side) // 3 + material * pixels.shape[1]
        x = uv * side[:, None] - 0.5
        low = x.floor()
        a, b = (x - low).to(uv).split(1, -1)
        i0, j0 = (low.long() % side[:, None]).unbind(-1)
        i1, j1 = (i0 + 1) % side, (j0 + 1) % side

        def texel(j: Tensor, i: Tensor, start: Tensor = start, side: Tensor = side) -> Tensor:
            return texels[start + j * side + i].to(uv)

        near = (1 - a) * texel(j0, i0) + a * texel(j0, i1)
        far = (1 - a) * texel(j1, i0) + a * texel(j1, i1)
        total = total + weight * ((1 - b) * near + b * far)
    return total / 255


def sky_colour(sky: Tensor, direction: Float[Tensor, "R 3"]) -> Float[Tensor, "R 3"]:
    """Bilinear lookup of the sky along unit directions, linear colour."""
    rows, columns = sky.shape[:2]
    x = (torch.atan2(direction[:, 1], direction[:, 0]) * (0.5 / math.pi) + 0.5) * columns - 0.5
    y = (torch.acos(direction[:, 2].clamp(-1, 1)) / math.pi * rows - 0.5).clamp(0, rows - 1)
    i0, j = x.floor().long(), y.long().clamp(max=rows - 2)
    a, b = (x - i0)[:, None], (y - j)[:, None]
    i0, i1 = i0 % columns, (i0 + 1) % columns
    near = (1 - a) * sky[j, i0].to(direction) + a * sky[j, i1].to(direction)
    far = (1 - a) * sky[j + 1, i0].to(direction) + a * sky[j + 1, i1].to(direction)
    return (((1 - b) * near + b * far) / 255) ** 2


# ---------------------------------------------------------------------------------------------
# Surface and light
# ---------------------------------------------------------------------------------------------


def _texture_frame(
    scene: Scene, index: Tensor, q: Tensor, normal: Tensor
) -> tuple[Float[Tensor, "R 2"], Float[Tensor, "R 3"], Float[Tensor, "R 3"]]:
    """Texture coordinates in metres, and the local directions in which they grow."""
    x, y, z = q.unbind(-1)
    ax, ay, az = normal.abs().unbind(-1)
    up = (az >= ax) & (az >= ay)
    side = ~up & (ax >= ay)
    eye = torch.eye(3).to(q)
    u, v = torch.where(side, y, x), torch.where(up, y, z)
    a = torch.where(side[:, None], eye[1], eye[0])
    b = torch.where(up[:, None], eye[1], eye[2])
    tube = (scene.kind[index] == Shape.FRUSTUM) & (az < 0.99)
    angle = torch.atan2(y, x)
    around = torch.stack((-angle.sin(), angle.cos(), torch.zeros_like(angle)), -1)
    u, v = torch.where(tube, angle * scene.half_size[index, 0], u), torch.where(tube, z, v)
    a, b = torch.where(tube[:, None], around, a), torch.where(tube[:, None], eye[2], b)
    c, s, du, dv = scene.uv[index].unbind(-1)
    uv = torch.stack((c * u - s * v + du, s * u + c * v + dv), -1)
    c, s = c[:, None], s[:, None]
    return uv, c * a - s * b, s * a + c * b


def shade(
    scene: Scene,
    size: int,
    index: Int[Tensor, " R"],
    point: Float[Tensor, "R 3"],
    view: Float[Tensor, "R 3"],
    width: Float[Tensor, " R"],
    shadows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `kernel.shade`: colour, shading normal, geometric normal, light bits, share of the mirrored ray."""
    rotation, M = scene.rotation[index], scene.materials[scene.material[index].long()]
    material = scene.material[index].long()
    q = (rotation @ (point - scene.centre[index])[..., None])[..., 0]
    local = local_normal(scene, index, q)
    uv, a, b = _texture_frame(scene, index, q, local)

    normal = (rotation.mT @ local[..., None])[..., 0]
    facing = _dot(normal, view)
    side = torch.where(facing > 0, -1.0, 1.0).to(normal)
    normal = normal * side[:, None]
    cosine = facing.abs().clamp(min=0.08)

    footprint = width * M[:, TEXTURE_SCALE] / cosine.sqrt()
    uv = uv * M[:, TEXTURE_SCALE, None]
    vary = torch.ones_like(width)
    for column, scale in ((MACRO, MACRO_SCALE), (DETAIL, DETAIL_SCALE)):
        grey = sample(
            scene.noise[None, :, None], torch.zeros_like(index), size, uv * scale, footprint * scale
        )
        vary = vary * (1 + M[:, column] * (2 * grey[:, 0] - 1))
    texel = sample(scene.textures, material, size, uv, footprint)
    colour = (texel[:, :3] ** 2 * scene.tint[index] * vary[:, None]).clamp(0, 1)
    mask = texel[:, 5]

    slope = (side * M[:, BUMP])[:, None] * (2 * texel[:, 3:5] - 1)
    tilt = slope[:, :1] * a + slope[:, 1:] * b
    bumped = _unit(normal - (rotation.mT @ tilt[..., None])[..., 0])

    air = scene.air
    away = scene.occluders[None, :, :3] - point[:, None]
    square, radius = _dot(away, away), scene.occluders[:, 3] ** 2
    up = (away * normal[:, None]).sum(-1) / (square + 1e-12).sqrt()
    dark = (air[OCCLUSION] * up.clamp(min=0) * radius / torch.maximum(square, radius)).clamp(max=0.9)
    counts = (square < 16 * radius) & (scene.occluders[:, 4].long() != index[:, None])
    open_share = torch.where(counts, 1 - dark, 1.0).prod(1)
    below, above = air[AMBIENT_DOWN : AMBIENT_DOWN + 3], air[AMBIENT_UP : AMBIENT_UP + 3]
    light = (below + (above - below) * (0.5 + 0.5 * bumped[:, 2:])) * open_share[:, None]

    shine = torch.zeros_like(light)
    visible = torch.zeros_like(index)
    start = point + (1e-3 + 5e-4 * width)[:, None] * normal
    for k, lamp in enumerate(scene.lights):
        if lamp[0] == SUN:
            towards = lamp[1:4].expand_as(point)
            reach, fall = torch.full_like(width, 1e6), torch.ones_like(width)
        else:
            towards = lamp[1:4] - point
            reach = towards.norm(dim=-1)
            towards = towards / reach[:, None]
            fall = 1 / (reach * reach + lamp[7] * lamp[7])
        lambert = _dot(towards, bumped)
        facing = _dot(towards, normal) > 0
        # A bump that faces away is dark, but no shadow's edge that would ask for more rays.
        visible[facing & (lambert <= 0)] |= 1 << k
        lit = (facing & (lambert > 0)).nonzero()[:, 0]
        if shadows and len(lit):
            _, blocker = trace(scene, start[lit], towards[lit], reach[lit] - 2e-3, shadow=True)
            lit = lit[blocker < 0]
        visible[lit] |= 1 << k
        power = (lambert * fall)[lit, None] * lamp[4:7]
        light[lit] += power
        half_way = _unit(towards[lit] - view[lit])
        gloss = M[lit, GLOSS]
        peak = _dot(half_way, bumped[lit]).clamp(min=0) ** gloss
        shine[lit] += (peak * M[lit, SPECULAR] * mask[lit] * (gloss + 8) * 0.04)[:, None] * power
    grazing = 1 - _dot(view, bumped).abs().clamp(max=1)
    mirror = M[:, MIRROR] * mask * (0.25 + 0.75 * grazing**4)
    return colour * (light + M[:, EMISSION, None]) + shine, bumped, normal, visible, mirror


def radiance(
    scene: Scene,
    size: int,
    origin: Float[Tensor, "R 3"],
    direction: Float[Tensor, "R 3"],
    pixel: Float[Tensor, " R"],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Camera rays, whole: colour, t (0 in the sky), primitive (-1), geometric normal, light bits."""
    length = direction.norm(dim=-1)
    unit = direction / length[:, None]
    t, index = trace(scene, origin, direction, torch.full_like(length, math.inf), shadow=False)
    colour = sky_colour(scene.sky, unit)
    normals = torch.zeros_like(unit)
    bits = torch.zeros_like(index)
    hit = (index >= 0).nonzero()[:, 0]
    point = origin[hit] + t[hit, None] * direction[hit]
    seen, bumped, normal, visible, mirror = shade(
        scene, size, index[hit], point, unit[hit], t[hit] * pixel[hit], shadows=True
    )
    glossy = (mirror > 0.01).nonzero()[:, 0]
    if len(glossy):
        view, about, share = unit[hit[glossy]], bumped[glossy], mirror[glossy, None]
        bounced = view - 2 * _dot(view, about)[:, None] * about
        bounced = bounced / bounced.norm(dim=-1, keepdim=True)
        start = point[glossy] + 1e-3 * normal[glossy]
        s, j = trace(scene, start, bounced, torch.full_like(share[:, 0], math.inf), shadow=False)
        reflected = sky_colour(scene.sky, bounced)
        solid = (j >= 0).nonzero()[:, 0]
        if len(solid):
            rays = hit[glossy[solid]]
            reflected[solid] = shade(
                scene,
                size,
                j[solid],
                point[glossy[solid]] + s[solid, None] * bounced[solid],
                bounced[solid],
                (t[rays] * length[rays] + s[solid]) * pixel[rays],
                shadows=False,
            )[0]
        seen[glossy] = seen[glossy] + (reflected - seen[glossy]) * share
    haze = scene.air[FOG : FOG + 3]
    keep = torch.exp(-scene.air[FOG_DENSITY] * t[hit] * length[hit])[:, None]
    colour[hit] = haze + (seen - haze) * keep
    normals[hit], bits[hit] = normal, visible
    return colour, torch.where(index >= 0, t, 0.0), index, normals, bits


# ---------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------


def render_views(
    scene: Scene,
    origins: Float[Tensor, "V 3"],
    maps: Float[Tensor, "V 3 3"],
    image_size: tuple[int, int],
    smooth: bool,
) -> tuple[Float[Tensor, "V 3 H W"], Float[Tensor, "V H W"], Int[Tensor, "V H W"], Float[Tensor, "V H W 3"]]:
    """Radiance, depth, primitive and normal of views whose ``maps`` take pixels (x, y, 1) to directions."""
    (H, W), V = image_size, len(origins)
    size = scene.texture_size
    pixel = 0.5 * (maps[:, :, 0].norm(dim=-1) + maps[:, :, 1].norm(dim=-1))

    def cast(view: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        parts = []
        for v, px, py in zip(view.split(RAYS), x.split(RAYS), y.split(RAYS)):
            screen = torch.stack((px, py, torch.ones_like(px)), -1).to(maps)
            direction = (maps[v] @ screen[..., None])[..., 0]
            like = scene.centre
            parts.append(radiance(scene, size, origins[v].to(like), direction.to(like), pixel[v].to(like)))
        return tuple(torch.cat(p) for p in zip(*parts))

    view, row, column = (
        i.flatten()
        for i in torch.meshgrid(*(torch.arange(n, device=maps.device) for n in (V, H, W)), indexing="ij")
    )
    colour, depth, index, normal, visible = cast(view, column + 0.5, row + 0.5)
    colour, depth, index, visible = (part.unflatten(0, (V, H, W)) for part in (colour, depth, index, visible))
    normal = normal.unflatten(0, (V, H, W))
    if smooth:
        edge = _edges(index, normal, visible)
        v, j, i = edge.nonzero(as_tuple=True)
        if len(v):
            total = 0.0
            for k in range(4):
                total = total + cast(v, i + (0.125 + 0.25 * k), j + SUBROWS[k])[0].clamp(max=4)
            colour[edge] = 0.25 * total
    return colour.permute(0, 3, 1, 2).contiguous(), depth, index.int(), normal


def _edges(index: Int[Tensor, "V H W"], normal: Tensor, visible: Tensor) -> Bool[Tensor, "V H W"]:
    """Pixels that differ from one of their four neighbours in primitive, lights seen, or normal."""
    edge = torch.zeros_like(index, dtype=torch.bool)
    for axis in (1, 2):
        n = index.shape[axis] - 1

        def both(x: Tensor, axis: int = axis, n: int = n) -> tuple[Tensor, Tensor]:
            return x.narrow(axis, 0, n), x.narrow(axis, 1, n)

        (i, other_i), (a, other_a), (l, other_l) = both(index), both(normal), both(visible)
        differs = (
            (i != other_i) | (l != other_l) | ((i >= 0) & (other_i >= 0) & (_dot(a, other_a) < EDGE_COSINE))
        )
        edge.narrow(axis, 0, n).logical_or_(differs)
        edge.narrow(axis, 1, n).logical_or_(differs)
    return edge
