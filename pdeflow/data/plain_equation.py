"""The LaTeX of an equation as text for a terminal."""

from __future__ import annotations

import re


def plain_equation(latex: str) -> str:
    """The LaTeX of a problem as text to read: ``- d/dx (a d/dx u) - d/dy (a d/dy u) = f``."""
    text = re.sub(r"\s*\\\\\s*", "; ", latex)
    text = re.sub(r"\^\{(\w+)\}", r"^\1", text)
    text = re.sub(r"\^\{([^{}]+)\}", r"^(\1)", text)
    text = re.sub(r"\\frac\{(?:\\partial|d)(\^\d)?\}\{((?:\\partial|d) [^{}]*)\}", _derivative, text)
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", text)
    text = re.sub(r"\\(left|right)\b|\\", "", text)
    return " ".join(text.split())


def _derivative(found: re.Match[str]) -> str:
    below = re.sub(r"(?:\\partial|\bd) ", "d", found[2])
    return f"d{found[1] or ''}/{below}".replace("^", "")
