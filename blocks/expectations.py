"""Great Expectations over tables of Postgres: which rows break which expectation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.errors import ExpectationFailed

if TYPE_CHECKING:
    from great_expectations.datasource.fluent.interfaces import Batch
    from sqlalchemy.engine import URL


ALL_ROWS = 2**31 - 1


@dataclass(frozen=True)
class Broken:
    """An expectation that some rows do not meet.

    Attributes:
        rule: the name in the expectation's `meta`.
        rows: identities of these rows, in order.
    """

    rule: str
    meta: Mapping[str, Any]
    rows: Sequence[int]


class ExpectationRunner:
    """Checks suites on one database; made by `expectation_runner`."""

    def __init__(self, url: URL) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read when the library is imported
        import great_expectations

        self._gx = great_expectations
        self._context = great_expectations.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        address = url.render_as_string(hide_password=False).replace("$", r"\$")  # it would be looked up as a variable
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is a class for Postgres, which refuses socket folders
            self._source = self._context.data_sources.add_sql("staging", connection_string=address)

    def check(self, schema: str, table: str, expectations: Sequence[Mapping[str, Any]], identity: str) -> list[Broken]:
        """Those of `expectations` that rows of `table` break, with the rows.

        Whether any does is asked in one query for all; the rows are fetched only where some do.

        Args:
            expectations: as in a suite's JSON: `type`, `kwargs`, and `meta` with the `rule`.
            identity: the column of integers that tells rows apart.

        Raises:
            ExpectationFailed: an expectation cannot be evaluated.
        """
        if not expectations:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of schema_name; the source is not of one schema
            batch = self._source.add_table_asset(table, table_name=table, schema_name=schema)
        whole = batch.add_batch_definition_whole_table("all").get_batch()
        failing = [expectations[place] for place, good in enumerate(self._met(whole, expectations)) if not good]
        return [self._broken(whole, expectation, identity) for expectation in failing]

    def _met(self, batch: Batch, expectations: Sequence[Mapping[str, Any]]) -> list[bool]:
        suite = self._gx.ExpectationSuite(name="suite")
        for expectation in expectations:
            suite.add_expectation_configuration(self._configuration(expectation))
        results = batch.validate(suite, result_format={"result_format": "BOOLEAN_ONLY"}).results
        met = {}
        for result in results:
            config = result.expectation_config
            if result.exception_info.get("raised_exception") or config is None:
                raise ExpectationFailed(f"the rule {config and config.meta} cannot be evaluated")
            met[(config.meta or {})["rule"]] = bool(result.success)
        return [met[expectation["meta"]["rule"]] for expectation in expectations]

    def _broken(self, batch: Batch, expectation: Mapping[str, Any], identity: str) -> Broken:
        suite = self._gx.ExpectationSuite(name="one")
        suite.add_expectation_configuration(self._configuration(expectation))
        form = {
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [identity],
            "partial_unexpected_count": ALL_ROWS,  # for tables of SQL it limits the complete list too
            "exclude_unexpected_values": True,
            "return_unexpected_index_query": False,
        }
        (result,) = batch.validate(suite, result_format=form).results
        found = result.result.get("unexpected_index_list") or ()
        rows = sorted({row for column in found for row in column[identity]})
        return Broken(expectation["meta"]["rule"], expectation["meta"], rows)

    def _configuration(self, expectation: Mapping[str, Any]) -> Any:
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        return ExpectationConfiguration(
            type=expectation["type"], kwargs=dict(expectation["kwargs"]), meta=dict(expectation["meta"])
        )

    def close(self) -> None:
        """Its connections are closed."""
        self._source.get_engine().dispose()


@contextmanager
def expectation_runner(url: URL) -> Iterator[ExpectationRunner]:
    """A runner for the database at `url`, closed at the end."""
    runner = ExpectationRunner(url)
    try:
        yield runner
    finally:
        runner.close()
