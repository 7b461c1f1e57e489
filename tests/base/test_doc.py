# SPDX-License-Identifier: Apache-2.0
"""The generated pages."""

import sys

import pytest

from alcor.base.config import declared
from alcor.base.doc import PAGES, errors_page, main, metrics_page, settings_page
from alcor.base.metrics import METRICS


def test_the_settings_page_says_default_unit_bounds_and_meaning_of_each() -> None:
    page = settings_page()
    assert "| `turn_ms_max` | `20` | ms | 1 to 1000 | When a turn stops admitting further requests. |" in page
    assert "| `log_format` | `text` | form | `text`, `json` | How a line is written. |" in page
    assert "| from:to,... | within 1:16777215 |" in page
    assert all(page.count(f"| `{setting.name}` |") == 1 for setting in declared())


def test_the_errors_page_has_each_class_once() -> None:
    page = errors_page()
    assert page.count("| `Conflict` | 409 | `HTTPConflict` |") == 1
    assert "`Refusal`" not in page


def test_the_metrics_page_has_each_metric_once() -> None:
    page = metrics_page()
    assert all(page.count(f"| `{metric.name}` |") == 1 for metric in METRICS)
    assert "| `alcor_requests_total` | counter | method, resource, status |" in page
    assert "| `alcor_log_lag` | gauge |" in page
    assert "| `alcor_request_seconds` | histogram |" in page


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_printed_by_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["doc", name])
    main()
    assert capsys.readouterr().out == PAGES[name]()
