import json
import math

import pytest
from bench import tables
from bench.contenders import Contender, Tools
from bench.groups import GROUPS, Group
from bench.measure import Measured, Sized
from bench.ratios import Times
from bench.results import plain_group, plain_verdict
from bench.targets import TARGETS, Target, judge, judge_dispatch


def measured(*, stream=False, **values):
    contenders = tuple(Contender(key, key.upper(), "a b c", None) for key in values)
    group = Group("group", "A group", contenders, (32,), stream=stream, latency=32)
    found = {
        key: Sized(mean=rounds) if stream and key != "floor" else Sized(p50=rounds, mean=rounds)
        for key, rounds in values.items()
    }
    return Measured(group, {32: found})


def test_every_target_names_contenders_that_are_measured():
    groups = {group.key: group for group in GROUPS}
    for target in TARGETS:
        group = groups[target.group]
        keys = {contender.key for contender in group.contenders}
        assert target.size in group.sizes
        assert {target.over, target.under} <= keys, target.title


def test_keys_are_unique_and_the_floor_is_everywhere():
    for group in GROUPS:
        keys = [contender.key for contender in group.contenders]
        assert len(keys) == len(set(keys))
        assert "floor" in keys


@pytest.mark.parametrize(
    ("bound", "at_most", "word"),
    [(2.0, False, "met"), (2.1, False, "MISSED"), (2.0, True, "met"), (1.9, True, "MISSED")],
)
def test_a_bound_is_met_or_missed(bound, at_most, word):
    target = Target("t", "group", 32, "slow", "fast", bound, at_most=at_most)
    verdict = judge(target, {"group": measured(floor=[100.0] * 3, slow=[20.0, 40.0, 60.0], fast=[10.0, 20.0, 30.0])})
    assert verdict.word == word
    assert verdict.measured.median == 2.0
    assert verdict.where == "near, 100 ns"


@pytest.mark.parametrize("groups", [{}, {"group": measured(floor=[1.0], fast=[1.0])}])
def test_what_was_not_measured_is_neither_met_nor_missed(groups):
    verdict = judge(Target("t", "group", 32, "slow", "fast", 2.0), groups)
    assert verdict.word == "not measured"
    assert plain_verdict(verdict)["measured"] is None


def test_dispatch_is_equal_to_the_instruction():
    assert judge_dispatch((500.0, 500.0)).word == "met"
    assert judge_dispatch((500.0, 500.4)).word == "met"
    assert judge_dispatch((500.0, 501.0)).word == "MISSED"
    assert judge_dispatch(None).word == "not measured"


def test_the_page_says_what_is_missing_and_what_failed():
    group = measured(floor=[100.0, 110.0], one=[200.0, 220.0])
    group.sized[32]["one"].single = Times([(200, 99), (9000, 1)])
    group.sized[32]["one"].paced = {1000: Times([(200_000_000, 10)])}
    group.missing["floor"] = "crate:floor"
    group.failed["one"] = "it hung\nand more"
    results = {
        "machine": {
            **dict.fromkeys(("cpu", "kernel", "python", "rustc", "date", "commit"), "x"), "cores": 2, "changed": True,
        },
        "rounds": 2,
        "targets": [plain_verdict(judge(Target("a row", "group", 32, "one", "floor", 3.0), {"group": group}))],
        "groups": [plain_group(group)],
        "callers": None,
        "instructions": {"one-way": 12.0},
    }  # fmt: skip
    page = tables.page(json.loads(json.dumps(results)), [("x.svg", "A picture")])
    assert "| a row | >= 3 | 2.00 [2.00, 2.00] | MISSED | near, 105 ns |" in page
    assert "| ONE | 210 ns [205, 215] | 2.00 [2.00, 2.00] |" in page
    assert "- missing: FLOOR (crate floor)" in page
    assert "- failed: ONE: `it hung`" in page
    assert "ONE (falls behind)" in page
    assert "![A picture](x.svg)" in page
    assert "with uncommitted changes" in page


def test_streams_are_rates():
    group = measured(stream=True, floor=[100.0], one=[50.0])
    page = "\n".join(tables.group_lines(plain_group(group)))
    assert "| ONE | 50.0 ns | 20.00 M | 610 |" in page
    assert math.isclose(610, 32 * 1e9 / 50 / (1 << 20), rel_tol=0.01)


def test_a_peer_is_there_or_not(tmp_path):
    tools = Tools(tmp_path, tmp_path, tmp_path, peer_features=frozenset({"x"}), peer_packages=frozenset({"y"}))
    assert not tools.missing("")
    assert not tools.missing("crate:x")
    assert not tools.missing("package:y")
    assert tools.missing("crate:y")
