#!/usr/bin/env python3
"""Draws Grace Symbols: the few signs our screens use and neither bundled family has.

Needs fonttools. Writes GraceSymbols-{Regular,Medium,SemiBold}.ttf beside itself: the same outlines
three times, because a fallback font is only asked for in exactly the weight of the text.
Shapes are centered on the middle of Inter's capitals. Not here: anything Inter can draw.
"""

import math
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

EM, ADVANCE, MID, STROKE = 1000, 820, 364, 76
CENTER = (ADVANCE / 2, MID)


def polygon(pen, points):
    pen.moveTo(points[0])
    for point in points[1:]:
        pen.lineTo(point)
    pen.closePath()


def rect(pen, x0, y0, x1, y1, hole=False):
    points = [(x0, y0), (x0, y1), (x1, y1), (x1, y0)]
    polygon(pen, points[::-1] if hole else points)


def frame(pen, x0, y0, x1, y1, stroke=STROKE):
    rect(pen, x0, y0, x1, y1)
    rect(pen, x0 + stroke, y0 + stroke, x1 - stroke, y1 - stroke, hole=True)


def arc_points(center, radius, start, end, steps):
    return [
        (center[0] + radius * math.cos(a), center[1] + radius * math.sin(a))
        for a in (start + (end - start) * i / steps for i in range(steps + 1))
    ]


def disc(pen, center, radius, hole=False):
    points = arc_points(center, radius, 0, -2 * math.pi, 48)[:-1]
    polygon(pen, points[::-1] if hole else points)


def ring(pen, center, radius, stroke=STROKE):
    disc(pen, center, radius)
    disc(pen, center, radius - stroke, hole=True)


def arc(pen, center, radius, start, end, stroke=STROKE):
    outer = arc_points(center, radius, end, start, 40)
    inner = arc_points(center, radius - stroke, start, end, 40)
    polygon(pen, outer + inner)


def bar(pen, a, b, stroke=STROKE):
    length = math.hypot(b[0] - a[0], b[1] - a[1])
    nx, ny = (a[1] - b[1]) / length * stroke / 2, (b[0] - a[0]) / length * stroke / 2
    polygon(pen, [(a[0] - nx, a[1] - ny), (a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny)])


def half_circle(pen):
    ring(pen, CENTER, 380)
    polygon(pen, arc_points(CENTER, 370, -math.pi / 2, -3 * math.pi / 2, 32))


def no_entry(pen):
    ring(pen, CENTER, 340)
    bar(pen, (CENTER[0] - 225, MID - 225), (CENTER[0] + 225, MID + 225))


def envelope(pen):
    frame(pen, 50, MID - 260, ADVANCE - 50, MID + 260)
    bar(pen, (85, MID + 220), (CENTER[0] + 25, MID - 60))
    bar(pen, (ADVANCE - 85, MID + 220), (CENTER[0] - 25, MID - 60))


def arrows(pen):
    for side, y in ((1, MID + 140), (-1, MID - 140)):
        tip = CENTER[0] + side * 340
        bar(pen, (CENTER[0] - side * 340, y), (tip - side * 40, y))
        bar(pen, (tip - side * 150, y + 150), (tip, y - 15))
        bar(pen, (tip - side * 150, y - 150), (tip, y + 15))


def box(pen):
    frame(pen, 90, MID - 320, ADVANCE - 90, MID + 320)


def ticked_box(pen):
    box(pen)
    bar(pen, (230, MID), (365, MID - 140))
    bar(pen, (335, MID - 140), (590, MID + 165))


def reload(pen):
    arc(pen, CENTER, 330, math.radians(60), math.radians(345))
    x, y = CENTER[0] + 330 * math.cos(math.radians(60)), MID + 330 * math.sin(math.radians(60))
    polygon(pen, [(x - 150, y + 130), (x + 110, y - 40), (x - 165, y - 160)])


def magnifier(pen):
    ring(pen, (CENTER[0] - 60, MID + 60), 260)
    bar(pen, (CENTER[0] + 100, MID - 100), (CENTER[0] + 320, MID - 320), 92)


def cog(pen):
    ring(pen, CENTER, 255, 100)
    for step in range(8):
        a = step * math.pi / 4
        c, s = math.cos(a), math.sin(a)
        bar(pen, (CENTER[0] + 225 * c, MID + 225 * s), (CENTER[0] + 350 * c, MID + 350 * s), 118)


def information(pen):
    ring(pen, CENTER, 340)
    rect(pen, CENTER[0] - 42, MID - 190, CENTER[0] + 42, MID + 60)
    disc(pen, (CENTER[0], MID + 165), 54)


def lock(pen):
    rect(pen, 150, MID - 350, ADVANCE - 150, MID + 60)
    arc(pen, (CENTER[0], MID + 130), 190, 0, math.pi)
    rect(pen, CENTER[0] - 190, MID + 40, CENTER[0] - 190 + STROKE, MID + 132)
    rect(pen, CENTER[0] + 190 - STROKE, MID + 40, CENTER[0] + 190, MID + 132)


def menu(pen):
    for y in (MID - 230, MID, MID + 230):
        rect(pen, 70, y - STROKE / 2, ADVANCE - 70, y + STROKE / 2)


def dots(vertical):
    def draw(pen):
        for step in (-240, 0, 240):
            x, y = (0, step) if vertical else (step, 0)
            disc(pen, (CENTER[0] + x, MID + y), 62)

    return draw


def cross(pen):
    bar(pen, (CENTER[0] - 270, MID - 270), (CENTER[0] + 270, MID + 270))
    bar(pen, (CENTER[0] - 270, MID + 270), (CENTER[0] + 270, MID - 270))


def triangle(angle):
    def draw(pen):
        turn = math.radians(angle)
        points = [(210, 0), (-170, 260), (-170, -260)]
        c, s = math.cos(turn), math.sin(turn)
        turned = [(CENTER[0] + x * c - y * s, MID + x * s + y * c) for x, y in points]
        polygon(pen, turned[::-1])

    return draw


SIGNS = {
    0x2139: information,
    0x21C4: arrows,
    0x2298: no_entry,
    0x22EE: dots(True),
    0x22EF: dots(False),
    0x2315: magnifier,
    0x25B4: triangle(90),
    0x25B8: triangle(0),
    0x25BE: triangle(-90),
    0x25C2: triangle(180),
    0x25D0: half_circle,
    0x2610: box,
    0x2611: ticked_box,
    0x2630: menu,
    0x2699: cog,
    0x2709: envelope,
    0x2715: cross,
    0x27F3: reload,
    0x1F512: lock,
}


def glyph(draw):
    pen = TTGlyphPen(None)
    if draw:
        draw(pen)
    return pen.glyph()


def build(style, weight):
    names = {code: f"u{code:04X}" for code in SIGNS}
    font = FontBuilder(EM, isTTF=True)
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap(names)
    font.setupGlyf({".notdef": glyph(box), **{names[c]: glyph(d) for c, d in SIGNS.items()}})
    # The side bearing must be the outline's own left edge, or rasterizers move the outline.
    outlines = font.font["glyf"]
    font.setupHorizontalMetrics({
        name: (ADVANCE, outlines[name].xMin) for name in [".notdef", *names.values()]
    })
    font.setupHorizontalHeader(ascent=969, descent=-242)
    font.setupNameTable({
        "familyName": f"Grace Symbols {style}" if weight != 400 else "Grace Symbols",
        "styleName": "Regular",
        "typographicFamily": "Grace Symbols",
        "typographicSubfamily": style,
        "psName": f"GraceSymbols-{style}",
    })
    font.setupOS2(usWeightClass=weight, sTypoAscender=969, sTypoDescender=-242)
    font.setupPost()
    # The same bytes whenever it is run.
    font.updateHead(created=3_800_000_000, modified=3_800_000_000)
    font.font.recalcTimestamp = False
    font.save(Path(__file__).parent / f"GraceSymbols-{style}.ttf")


for style, weight in (("Regular", 400), ("Medium", 500), ("SemiBold", 600)):
    build(style, weight)
