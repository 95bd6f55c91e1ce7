"""What a user reads when the input was wrong: one line, what was given, what is allowed."""

from __future__ import annotations

import pytest

from synthsae_jax.errors import ConfigError, check_choice, require, unknown_name


def test_require_speaks_only_when_broken():
    require(True, "never")
    with pytest.raises(ConfigError, match=r"^k must be at least 1, got 0\.$"):
        require(False, "k must be at least 1, got 0.")


def test_a_config_error_is_a_value_error():
    assert issubclass(ConfigError, ValueError)


@pytest.mark.parametrize("given", ["topkk", 3, None, "two\nlines"])
def test_unknown_name_is_one_line_whatever_was_given(given):
    error = unknown_name("sae", given, ["topk", "standard"])
    assert isinstance(error, ConfigError)
    assert "\n" not in str(error)
    assert repr(given) in str(error)
    assert str(error).endswith("Known: standard, topk.")


def test_unknown_name_suggests_only_what_is_near():
    assert "Did you mean 'topk'?" in str(unknown_name("sae", "topkk", ["topk", "standard"]))
    assert "Did you mean" not in str(unknown_name("sae", "xyz", ["topk", "standard"]))


def test_check_choice_takes_an_iterator_once():
    check_choice("scale", "small", iter(["smoke", "small"]))
    with pytest.raises(ConfigError, match=r"Unknown scale 'smal'\. Did you mean 'small'.*smoke"):
        check_choice("scale", "smal", iter(["smoke", "small"]))
