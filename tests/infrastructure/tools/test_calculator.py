from __future__ import annotations

import pytest

from tests.infrastructure.tools.running import refused, run


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3 * 4", "14"),
        ("(19.99 * 3) * 1.2", "71.964"),
        ("-7 // 2", "-4"),
        ("2 ** 100", str(2**100)),
        ("sqrt(16) + abs(-3)", "7.0"),
        ("round(pi, 4)", "3.1416"),
        ("round(2.5)", "2"),
        ("min(3, 1, 2)", "1"),
        ("1_000 % 7", "6"),
        ("0 ** 999999999999", "0"),
        ("2 ** -2", "0.25"),
    ],
)
def test_arithmetic_is_exact(expression: str, result: str) -> None:
    assert run("calculator", expression=expression) == result


@pytest.mark.parametrize(
    ("expression", "because"),
    [
        ("9 ** 9 ** 9", "beyond"),
        ("2 ** 1000000000000", "beyond"),
        ("9" * 499, ""),
        ("(10**1000) * (10**1000)", "beyond"),
        ("2.0 ** 5000", "too large"),
        ("1e308 * 10", "finite"),
        ("round(1, -1000000000)", "decimals"),
        ("1 / 0", "division by zero"),
        ("(-8) ** 0.5", "real number"),
        ("sqrt(-1)", "calculator: expression"),
        ("__import__('os').system('id')", "not arithmetic"),
        ("(1).__class__", "not arithmetic"),
        ("[1] * 10 ** 9", "not arithmetic"),
        ("'a' * 10 ** 9", "not arithmetic"),
        ("lambda: 1", "not arithmetic"),
        ("max(*range(10))", "not arithmetic"),
        ("True + 1", "not arithmetic"),
        ("2 ^ 10", "**"),
        ("1 +", "not arithmetic"),
        ("(" * 250 + "1" + ")" * 249, "not arithmetic"),
        ("max()", "calculator: expression"),
    ],
)
def test_bombs_and_code_are_refused(expression: str, because: str) -> None:
    if because:
        refused("calculator", expression=expression, because=because)
    else:
        assert run("calculator", expression=expression)


def test_a_long_chain_of_signs_is_answered_or_refused_but_never_breaks_the_runner() -> None:
    assert run("calculator", expression="-" * 400 + "1") == "1"
