"""A plug-in of pytest: the fixture `sanity_bench`, to hold verdicts on your model and explainers in your own tests.

    def test_my_explainer_depends_on_the_model(sanity_bench):
        found = sanity_bench.run(model="net.py:make", plugin="mine.py", explainers="my-method", images=8, seeds=3)
        found.expect("my-method", "PASS")

It is there once the package is installed.  Nothing heavy is loaded before a test asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.naming import UsageError, near

if TYPE_CHECKING:
    import pandas as pd

    from reports.compare import Comparison
    from reports.thresholds import Thresholds

__all__ = ["SanityBench", "Verdicts", "sanity_bench"]


class Verdicts:
    """The verdicts of one run.

    Attributes:
        path: the run folder.
        table: as `reports.verdicts` gives them, one row per subject, explainer, suite and check.

    Example:
        >>> import pandas as pd
        >>> row = {"subject": "net", "explainer": "mine", "suite": "randomization", "check": "cascading", "verdict": "PASS",
        ...        "reason": "the maps change"}
        >>> Verdicts(Path("runs/a"), pd.DataFrame([row])).of("mine")
        'PASS'
    """

    def __init__(self, path: Path, table: pd.DataFrame) -> None:
        self.path = path
        self.table = table

    def of(self, explainer: str, check: str = "cascading", *, subject: str | None = None) -> str:
        """The verdict on an explainer.

        Args:
            explainer: its name, as it was given to the run.
            check: name of the row: `cascading` (the output layer is random), `independent`, `grid-localisation`, ...
            subject: name of the model; may be left out when the run has one.

        Returns:
            `PASS`, `FAIL`, `INCONCLUSIVE`, `UNRELIABLE`, `UNDEFINED` or `N/A`.

        Raises:
            UsageError: there is no such verdict, or more than one.
        """
        return str(self._row(explainer, check, subject)["verdict"])

    def expect(self, explainer: str, *verdicts: str, check: str = "cascading", subject: str | None = None) -> None:
        """Fail the test unless the verdict is one of the given ones.

        Args:
            explainer: its name.
            verdicts: what is acceptable; `PASS` when nothing is given.
            check: name of the row.
            subject: name of the model.

        Raises:
            UsageError: there is no such verdict, or more than one.
        """
        row = self._row(explainer, check, subject)
        wanted = verdicts or ("PASS",)
        if row["verdict"] not in wanted:
            pytest.fail(
                f"{explainer} on {row['subject']}, {check}: {row['verdict']}, expected {' or '.join(wanted)} "
                f"({row['reason']}; run folder {self.path})",
                pytrace=False,
            )

    def _row(self, explainer: str, check: str, subject: str | None) -> dict[str, Any]:
        """The one row that is meant."""
        table = self.table if subject is None else self.table[self.table["subject"] == subject]
        for column, value in (("explainer", explainer), ("check", check)):
            known = sorted(table[column].unique())
            if value not in known:
                raise UsageError(
                    f"the run {self.path} has no verdict on {column} {value!r}; it has {', '.join(known) or 'none'}"
                    f"{near(value, known)}"
                )
            table = table[table[column] == value]
        if len(table) != 1:
            subjects = ", ".join(sorted(table["subject"].unique()))
            raise UsageError(f"{len(table)} verdicts of {check} on {explainer} ({subjects}); name the subject")
        return {str(name): value for name, value in table.iloc[0].items()}


class SanityBench:
    """What the fixture `sanity_bench` gives: running suites, reading runs, comparing with a baseline."""

    def __init__(self, folder: Path) -> None:
        """Remember where runs without `out` go."""
        self.folder = folder

    def run(self, **options: Any) -> Verdicts:
        """Run a suite, or go on with it.

        Args:
            options: those of `bench.run`; `suite` is `randomization` unless it is given, and `out` a temporary folder that
                lasts for the session, so that equal calls compute once.

        Raises:
            UsageError: an unknown option or name.
        """
        import bench
        from bench.config import resolve

        given: dict[str, Any] = {"suite": "randomization", "jobs": 1, **options}
        if "out" not in given:
            plain = {key: value for key, value in given.items() if key != "config"}
            given["out"] = str(self.folder / resolve(plain, given.get("config")).folder().name)
        done = bench.run(**given)
        return Verdicts(done.path, done.verdicts())

    def read(self, path: str | Path) -> Verdicts:
        """The verdicts of a run folder that is there already.

        Raises:
            RunFolderError: there is none.
        """
        import reports

        return Verdicts(Path(path), reports.verdicts(reports.load(path)))

    def compare(self, baseline: str | Path, current: str | Path, thresholds: Thresholds | None = None) -> Comparison:
        """Fail the test if a run is worse than a baseline; returns the comparison otherwise.

        Args:
            baseline: run folder to compare with.
            current: run folder to judge.
            thresholds: differences that count.

        Raises:
            RunFolderError: one of the folders cannot be read.
        """
        import reports
        from reports.compare_output import to_text

        found = reports.compare_runs(baseline, current, thresholds)
        if found.exit_code:
            pytest.fail(to_text(found), pytrace=False)
        return found


def _make(tmp_path_factory: pytest.TempPathFactory) -> SanityBench:
    """Run suites, read runs and hold verdicts; see `bench.pytest_plugin`."""
    return SanityBench(tmp_path_factory.mktemp("sanity-bench"))


sanity_bench = pytest.fixture(scope="session", name="sanity_bench")(_make)
"""The fixture: a `SanityBench` for the whole session."""
