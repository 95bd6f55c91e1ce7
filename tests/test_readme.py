"""What the README shows must run, and the names it uses must exist."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0])
def test_python_examples_run(code, capsys):
    from synthsae_jax import registry

    with registry.temporary():  # other tests run over all that is registered
        exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed
    assert "diverged" not in printed


def test_presets_and_architectures_named_in_the_readme_exist():
    import synthsae_jax as ssj

    text = README.read_text(encoding="utf-8")
    for name in (*ssj.saes.names(), *ssj.similarity.names(), *ssj.matching.solver_names()):
        assert f"`{name}`" in text, f"{name} is not in the README"
    for name in ("micro", "mini", "1k", "4k", "synthsaebench-16k"):
        assert name in ssj.worlds.preset_names()


def test_scripts_named_in_the_readme_exist():
    root = README.parent
    for script in re.findall(r"\./(scripts/\w+)", README.read_text(encoding="utf-8")):
        assert (root / script).is_file()
