"""Four things drawn here, for a recipe that needs no packages."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from training.things import Thing

DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<circle cx="16" cy="16" r="14" fill="#ff6347"/></svg>'
)


def draw_things(folder: Path) -> list[Thing]:
    """Shapes on transparent ground, as the emoji are."""
    shapes: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
        "ball": lambda pen: pen.ellipse((8, 8, 248, 248), "tomato"),
        "box": lambda pen: pen.rectangle((20, 20, 236, 236), "steelblue"),
        "hill": lambda pen: pen.polygon([(128, 16), (240, 240), (16, 240)], "seagreen"),
        "bar": lambda pen: pen.rectangle((8, 100, 248, 156), "gold"),
    }
    things = []
    for label, shape in shapes.items():
        image = Image.new("RGBA", (256, 256))
        shape(ImageDraw.Draw(image))
        file = folder / f"{label}.png"
        image.save(file)
        things.append(
            Thing(
                label,
                aliases=(f"round {label}",),
                file=str(file),
                drawing=DRAWING if label == "ball" else "",
                emoji="🔴" if label == "ball" else "",
                foreign=(("de", f"{label}chen"), ("es", f"{label}ito"), ("fr", f"{label}ette")),
            )
        )
    return things
