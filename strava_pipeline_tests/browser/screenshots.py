"""Screenshots for the docs, each small enough for a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page

MAX_BYTES = 250_000
COLOURS = 256
LOADED_MILLISECONDS = 200_000


@dataclass(frozen=True)
class Screenshots:
    """Takes pictures of a page into a folder."""

    folder: Path

    def take(self, page: Page, name: str, *, only: Locator | None = None, above: Locator | None = None) -> None:
        """What the window shows, or only an element of it, or the part of it above an element."""
        path = self._settled(page, name)
        size = page.viewport_size
        assert size is not None
        clip = FloatRect(x=0, y=0, width=size["width"], height=size["height"])
        if only is not None:
            clip = _box(only)
        if above is not None:
            clip["height"] = _box(above)["y"] - clip["y"]
        page.screenshot(path=path, clip=clip, animations="disabled", caret="hide")
        _reduce(path)

    def take_whole(self, page: Page, name: str) -> None:
        """The page from top to bottom, however high the window is."""
        path = self._settled(page, name)
        page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")
        _reduce(path)

    def _settled(self, page: Page, name: str) -> Path:
        """Nothing of a hover or a tooltip, and nothing that is still being loaded; returns where the picture goes."""
        page.mouse.move(0, 0)
        page.wait_for_load_state("networkidle", timeout=LOADED_MILLISECONDS)
        return self.folder / f"{name}.png"


def _reduce(path: Path) -> None:
    """Keep the most frequent colours, and take the nearest one for others: a third of the bytes."""
    with Image.open(path) as picture:
        pixels = picture.convert("RGB")
    counted = sorted(pixels.getcolors(pixels.width * pixels.height) or (), reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in counted if isinstance(colour, tuple) for part in colour])
    pixels.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < MAX_BYTES, f"{path} is too large: {path.stat().st_size} bytes"


def _box(element: Locator) -> FloatRect:
    box = element.bounding_box()
    assert box is not None, f"{element} is not on the page"
    return box
