import doctest

import instructions
import pytest
import rounds
from bench import ratios, tables
from bench.ratios import Times, placement, ratio, spread


@pytest.mark.parametrize("module", [ratios, tables, rounds, instructions], ids=lambda module: module.__name__)
def test_examples_in_the_documentation(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_ratio_is_of_pairs_and_not_of_medians():
    # Half of the rounds ran on near cores: the ratio of each pair is 2, and the ratio of the medians is 4.
    over = [200.0, 200.0, 800.0, 800.0]
    under = [100.0, 100.0, 400.0, 400.0]
    found = ratio(over, under)
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def test_rounds_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])


def test_one_round_has_no_spread():
    assert spread([3.0]) == ratios.Spread(3.0, 3.0, 3.0)


def test_percentiles_count_what_was_counted():
    times = Times([(100, 90), (200, 9)])
    times.add([(200, 0), (5000, 1)])
    assert times.total == 100
    assert [times.at(quantile) for quantile in (0.0, 0.5, 0.9, 0.91, 0.99, 1.0)] == [100, 100, 100, 200, 200, 5000]


def test_percentiles_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no times"):
        Times().at(0.5)


def test_a_curve_ends_with_the_slowest_and_only_rises():
    times = Times((time, 1) for time in range(1, 5001))
    curve = times.curve()
    assert curve[-1] == (5000, 1.0)
    assert curve == sorted(curve)
    assert len(curve) < 1000
    # The tail keeps its points: at least three of the last ten calls are points.
    assert sum(time > 4990 for time, _ in curve) >= 3


def test_between_near_and_far_is_neither():
    assert placement([250.0, 251.0]).startswith("mixed, 0 near and 0 far")
    assert placement([350.0, 360.0, 340.0]) == "far, 350 ns"
