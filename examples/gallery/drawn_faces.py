"""Faces drawn at random: what a network of emotions can be shown on every machine."""

from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE, DRAWN = 64, 192  # pixels of a picture, and while it is drawn


@dataclass(frozen=True)
class Face:
    """What is drawn; 0 is a plain face.

    Attributes:
        mouth: How far its corners are up, negative for down.
        opened: How far the mouth is open, from 0.
        brows: How far the brows are raised.
        frown: How far their inner ends are down, negative for up.
        eyes: How far the eyes are open, 1 for normal.
        skin, hair, back: Brightness from 0 to 255.
        x, y, scale: Where the head is, in shares of the picture, and its size.
        light: How much brighter the right side is.
        blur: Radius in pixels.
    """

    mouth: float
    opened: float
    brows: float
    frown: float
    eyes: float
    skin: int
    hair: int
    back: int
    x: float
    y: float
    scale: float
    light: float
    blur: float


EXPRESSION = tuple(f.name for f in fields(Face))[:5]


def random_face(rng: np.random.Generator) -> Face:
    return Face(
        mouth=rng.normal(),
        opened=max(rng.normal(scale=0.8), 0),
        brows=rng.normal(-0.5),
        frown=rng.normal(),
        eyes=float(np.clip(rng.normal(0.5, 0.5), 0.1, 2)),
        skin=int(rng.integers(110, 225)),
        hair=int(rng.integers(10, 100)),
        back=int(rng.integers(20, 235)),
        x=rng.normal(0.5, 0.025),
        y=rng.normal(0.5, 0.025),
        scale=rng.uniform(0.9, 1.25),
        light=rng.normal(scale=0.25),
        blur=rng.uniform(0.4, 2),
    )


def drawn(face: Face) -> np.ndarray:
    """A picture of 64 by 64 grey values from 0 to 255."""
    image = Image.new("L", (DRAWN, DRAWN), face.back)
    pencil = _Pencil(ImageDraw.Draw(image), face)
    _head(pencil, face)
    for side in (-1, 1):
        _eye(pencil, face, side)
    _mouth(pencil, face)
    image = image.filter(ImageFilter.GaussianBlur(face.blur))
    small = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
    light = 1 + face.light * np.linspace(-1, 1, SIZE)
    return np.clip(small * light, 0, 255).astype("float32")


class _Pencil:
    """Draws in units of a head that is 250 units high, from its middle."""

    def __init__(self, draw: ImageDraw.ImageDraw, face: Face) -> None:
        self.draw = draw
        self.unit = face.scale * DRAWN / 256
        self.middle = np.array([face.x, face.y]) * DRAWN

    def at(self, points):
        placed = self.middle + self.unit * np.asarray(points, float)
        return [tuple(p) for p in placed]

    def ellipse(self, x, y, width, height, fill):
        corners = self.at([(x - width, y - height), (x + width, y + height)])
        self.draw.ellipse([*corners[0], *corners[1]], fill=fill)

    def line(self, points, width, fill):
        pixels = max(round(width * self.unit), 1)
        self.draw.line(self.at(points), fill=fill, width=pixels, joint="curve")

    def area(self, points, fill):
        self.draw.polygon(self.at(points), fill=fill)


def _head(pencil, face):
    pencil.ellipse(0, -10, 100, 125, face.hair)
    pencil.ellipse(0, 10, 84, 112, face.skin)
    for side in (-1, 1):
        pencil.ellipse(86 * side, 5, 12, 24, face.skin - 15)
    pencil.line([(-9, -10), (-12, 25)], 4, face.skin - 30)
    pencil.line(_arc(0, 28, 13, 6), 4, face.skin - 55)


def _eye(pencil, face, side):
    x = 36 * side
    pencil.ellipse(x, -16, 22, 10 + 9 * face.eyes, face.skin - 45)
    pencil.ellipse(x, -16, 18, max(11 * face.eyes, 1.5), 235)
    pencil.ellipse(x, -16, 9, max(min(10 * face.eyes, 9), 1.5), 40)
    brow = _arc(x, -48 - 14 * face.brows, 24, -6, -13 * face.frown * side)
    pencil.line(brow, 9, max(face.hair - 10, 30))
    if face.frown > 0.3:
        pencil.line([(6 * side, -45), (8 * side, -28)], 3, face.skin - 60)
    if face.mouth > 0.4:
        pencil.line(_arc(52 * side, 38, 7, 0), 3, face.skin - 50)


def _mouth(pencil, face):
    smile = max(face.mouth, 0)
    width = 34 + 10 * smile - 8 * (face.opened > 0.6 and smile < 0.3)
    if face.opened <= 0.05:
        pencil.line(_arc(0, 66, width, 18 * face.mouth), 6, face.skin - 95)
        return
    u = np.linspace(-1, 1, 25)
    corners = 66 - 14 * face.mouth * (u**2 - 0.5)
    above = corners - 6 * face.opened * (1 - u**2)
    below = corners + (8 + 26 * face.opened + 10 * smile) * (1 - u**2)
    lips = [np.stack([width * u, y], 1) for y in (above, below)]
    pencil.area(np.concatenate([lips[0], lips[1][::-1]]), 45)
    if face.mouth > 0.2:
        teeth = np.stack([width * u, above + 9 * (1 - u**2)], 1)
        pencil.area(np.concatenate([lips[0], teeth[::-1]]), 240)
    for lip in lips:
        pencil.line(lip, 5, face.skin - 70)


def _arc(x, y, width, bend, tilt=0.0):
    u = np.linspace(-1, 1, 25)
    return np.stack([x + width * u, y + bend * (1 - u**2) + tilt * u], 1)
