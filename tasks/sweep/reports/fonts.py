"""Fonts of plots and PDFs: those that packages bring, so that a report is the same on every machine."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TEXT = "Libertinus Serif"
"""Typst brings it."""
PLAIN = "DejaVu Sans"
PACKAGES = ("manimgx_fonts", "manimgx_fonts_cjk")
"""Noto for most scripts and emoji, and for Chinese, Japanese and Korean; without them, their characters are boxes."""
LAST = "Last Resort High-Efficiency"
"""Has a box for every character there is; Matplotlib brings it."""
FIRST_NAMES = ("Noto Sans", "Noto Sans CJK SC", "Noto Emoji")


@cache
def font_folders() -> tuple[Path, ...]:
    """Where the fonts are: Matplotlib's own, and those of `PACKAGES` that are installed."""
    import matplotlib

    found = [Path(matplotlib.get_data_path()) / "fonts" / "ttf"]
    for package in PACKAGES:
        spec = find_spec(package)
        found += [Path(place) for place in (spec.submodule_search_locations or [] if spec else [])]
    return tuple(found)


@cache
def pdf_fonts() -> Any:
    """The fonts as Typst takes them."""
    import typst

    return typst.Fonts(False, True, [str(folder) for folder in font_folders()])


@cache
def pdf_families() -> tuple[str, ...]:
    """In the order in which a character is looked for."""
    others = sorted(set(pdf_fonts().families()))
    noto = [name for name in others if name.startswith("Noto") and name not in FIRST_NAMES]
    chosen = [TEXT, PLAIN, *FIRST_NAMES, *noto, LAST]
    return tuple(name for name in chosen if name in others)


@cache
def plot_families() -> tuple[str, ...]:
    """As `pdf_families`, of those that Matplotlib can read; a font of all weights is called by its lightest there."""
    from matplotlib import font_manager

    for folder in font_folders()[1:]:
        for path in sorted(folder.glob("*.tt[fc]")):
            font_manager.fontManager.addfont(str(path))
    listed = font_manager.fontManager.ttflist
    listed += [replace(font, weight=400) for font in listed if font.name.startswith("Noto") and font.weight == 100]
    known = set(font_manager.get_font_names())
    cjk = sorted(name for name in known if name.startswith("Noto Sans CJK"))[:1]
    return tuple(name for name in (PLAIN, "Noto Sans", *cjk, "Noto Emoji") if name in known)
