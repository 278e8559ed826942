"""For the site: sections named `Example:`, which a docstring here has, are read as the `Examples:` that Griffe knows."""

from __future__ import annotations

import re
from typing import Any

import griffe

_TITLE = re.compile(r"^([ \t]*)Example:[ \t]*$", re.MULTILINE)


class Examples(griffe.Extension):
    """Renames the sections."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename those of one object."""
        if obj.docstring is not None:
            obj.docstring.value = _TITLE.sub(r"\1Examples:", obj.docstring.value)
