"""Arrangements of primitives: one function per kind of world, each fills a builder and returns a stage."""

from geometry.worlds.layouts import objects, outdoor, room

LAYOUTS = {
    "room": room.build,
    "objects": objects.build,
    "tabletop": objects.build_tabletop,
    "shapes": objects.build_shapes,
    "outdoor": outdoor.build,
    "street": outdoor.build_street,
}
