"""The table of protocols, from rows."""

from synthsae_jax.report.sharing_protocols import by_protocol, protocol_cells


def row(variant, metric, value, condition="rotated", stated=True):
    return {
        "variant": variant,
        "metric": metric,
        "value": value,
        "condition": condition,
        "factor_stated_use": stated,
    }


def test_a_cell_has_number_chance_and_what_is_right():
    rows = [
        row("ours@1", "protocol_number", 0.5),
        row("ours@1", "protocol_number", 0.7),
        row("ours@1/chance", "protocol_number", 0.01),
        row("ours@1", "precision", 0.9),
        row("song2025", "protocol_number", 0.4, stated=False),
        row("song2025", "protocol_number", None, condition="half", stated=False),
        row("song2025", "precision", None),
    ]
    first, second = protocol_cells(rows, {"half": "half shared"})
    assert first == {
        "protocol": "ours@1",
        "rotated": "0.60 [0.01], 90 % right",
        "half shared": "(undef.)",
    }
    assert second == {"protocol": "song2025", "rotated": "(0.40)", "half shared": "(undef.)"}


def test_rules_are_no_protocols():
    assert by_protocol(row("ours@1", "precision", 0.9))
    assert by_protocol(row("song2025/chance", "protocol_number", 0.2))
    assert not by_protocol(row("best_correlation_0.1", "precision", 0.9))
