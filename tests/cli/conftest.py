"""A suite of one benchmark, and the one line of a mistake."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from synthsae_jax import report, suite
from synthsae_jax.experiments import quick


@pytest.fixture
def bench(monkeypatch):
    """A suite of one benchmark and a page builder that only take down how they were called."""
    calls = []

    def result(call):
        def made(*args, out, **options):
            calls.append((call, *args, out, options))
            out.mkdir(parents=True, exist_ok=True)
            return SimpleNamespace(tables=lambda: ["F1 .5"])

        return made

    monkeypatch.setattr(suite, "names", lambda: ("probe@1",), raising=False)
    monkeypatch.setattr(suite, "describe", lambda name: f"{name}: a probe", raising=False)
    monkeypatch.setattr(suite, "plan", lambda name, **o: f"{name} {o}: 3 runs", raising=False)
    monkeypatch.setattr(suite, "run", result("run"), raising=False)
    monkeypatch.setattr(quick, "run", result("quick"), raising=False)
    page = lambda folder, **options: calls.append(("page", folder, options))
    monkeypatch.setattr(report, "build", page, raising=False)
    return calls


@pytest.fixture
def only_line(capsys):
    """What was said: exactly one line on stderr, nothing on stdout, and no trace of Python."""

    def line() -> str:
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("synthsae: ")
        assert captured.err.endswith("\n")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        assert not set(captured.err) & set("╭│╰─")
        return captured.err

    return line
