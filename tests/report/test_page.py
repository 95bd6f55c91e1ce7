"""The page stands alone, escapes what it is given, and says when it is a pilot."""

from __future__ import annotations

import base64
import html.parser
import re

import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import manifest, results, rows
from synthsae_jax.io.names import file_name
from synthsae_jax.report import figures, folder_page, page, tables

EVIL = '<script>alert("x")</script> & more'


def example_rows(n=6):
    made = [
        rows.make_row(
            benchmark="example@1",
            run_id=f"{sae}{i}",
            step=5,
            metric=metric,
            value=0.1 * i,
            sae=sae,
            instance=i,
        )
        for sae in ("topk", "batchtopk")
        for metric in ("mcc", "f1")
        for i in range(n)
    ]
    level = {"benchmark": "example@1", "run_id": "ref", "step": 0, "metric": "mcc"}
    return [*made, rows.make_row(**level, value=0.05, variant="chance")]


def example_manifest(scale="smoke", state="completed"):
    made = manifest.make_manifest("example@1", scale, "ab" * 32, {"c": [0.5]}, {"init": [0]})
    return manifest.finish(made, state)


def example_folder(path, **more):
    results.write_rows(path / results.RESULTS, example_rows())
    manifest.write_manifest(path, example_manifest(**more))
    return path


class Structure(html.parser.HTMLParser):
    """Checks that tags nest, and collects them with their attributes."""

    VOID = ("meta", "br", "hr", "img", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def render(**more):
    plot = figures.matrix_plot([{"a": EVIL, "b": "x", "estimate": 0.5}], "a", "b")
    section = page.Section(
        EVIL,
        f"First {EVIL}.\n\n- one\n- two {EVIL}",
        (tables.plain([{EVIL: EVIL}], title=EVIL, note=EVIL),),
        (page.Captioned(plot, EVIL, 'na"me'), plot),
    )
    return page.render(EVIL, [section], {**example_manifest(), "x": EVIL}, EVIL, EVIL, **more)


def test_everything_given_is_escaped():
    text = render()
    found = Structure(text)
    assert "script" not in [tag for tag, _ in found.tags]
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 10
    downloads = [a["download"] for tag, a in found.tags if tag == "a"]
    assert downloads == [file_name('na"me') + ".csv", "figure.csv"]


def test_nothing_is_fetched():
    found = Structure(render())
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        for name in ("src", "href", "xlink:href"):
            link = attributes.get(name, "#")
            assert link.startswith(("#", "data:text/csv;base64,"))
    assert "@import" not in render()
    assert not re.search(r"url\((?!#)", render())


def test_lists_and_paragraphs():
    assert page._prose("a\nb\n\n- c\n- d") == "<p>a b</p><ul><li>c</li><li>d</li></ul>"
    assert page._prose("intro\n- c") == "<p>intro</p><ul><li>c</li></ul>"
    assert page._prose("") == ""


@pytest.mark.parametrize(
    ("scale", "state", "banners"),
    [
        ("smoke", "completed", ["PILOT"]),
        ("small", "interrupted", ["PILOT", "INCOMPLETE"]),
        ("standard", "completed", []),
        ("full", "interrupted", ["INCOMPLETE"]),
    ],
)
def test_pilots_and_unfinished_runs_say_so(scale, state, banners):
    text = page.render("t", [], example_manifest(scale, state))
    assert [b for b in ("PILOT", "INCOMPLETE") if f'"banner">{b}' in text] == banners


def test_a_report_from_a_folder(tmp_path):
    example_folder(tmp_path)
    before = (tmp_path / results.RESULTS).read_bytes()
    paths = folder_page.write_report(tmp_path, formats=("svg", "pdf"), width="column")
    assert [p.relative_to(tmp_path).as_posix() for p in paths] == [
        "report.html",
        "figures/summary.svg",
        "figures/summary.pdf",
        "figures/summary.csv",
    ]
    text = paths[0].read_text("utf-8")
    found = Structure(text)
    assert [tag for tag, _ in found.tags].count("svg") == 1
    assert "chance" in text
    link = next(a["href"] for tag, a in found.tags if tag == "a")
    numbers = base64.b64decode(link.removeprefix("data:text/csv;base64,")).decode()
    assert numbers == paths[-1].read_text("utf-8")
    assert (tmp_path / results.RESULTS).read_bytes() == before


def test_a_broken_folder_gets_no_report(tmp_path):
    example_folder(tmp_path)
    (tmp_path / manifest.MANIFEST).write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        folder_page.write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_rows_still_has_a_page():
    assert folder_page.default_sections([])[0].text == "No rows yet."


def test_figures_with_one_name_get_files_of_their_own():
    plot = figures.matrix_plot([{"a": 1, "b": 2, "estimate": 0.5}], "a", "b")
    sections = [page.Section("x", figures=(plot, page.Captioned(plot, "c", "matrix"), plot))]
    names = [name for _, name in folder_page.named_figures(sections)]
    assert names == ["figure", "matrix", "figure-1-3"]
