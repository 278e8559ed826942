"""The one way in which templates are filled: every text is escaped, a missing value is an error."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the environment of all templates of this package."""
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    made.tests["object"] = lambda value: isinstance(value, dict)
    return made


def fill(template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        template: name of a file in `reports/templates`.
        values: what it shows; texts are escaped.
    """
    return environment().get_template(template).render(**values)


def number(value: Any, digits: int = 2) -> str:
    """Write a number for a reader; what is not there is a dash.

    >>> number(0.256), number(None), number(float("nan")), number(-0.0001)
    ('0.26', '–', '–', '0.00')
    """
    return "–" if value is None or value != value else f"{value:z.{digits}f}"
