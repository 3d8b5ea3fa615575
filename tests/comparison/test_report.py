"""The table as it is printed, and what other programs get."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.comparison.export import summary_to_csv, summary_to_json
from orchestrator.comparison.report import describe_summary
from orchestrator.comparison.summary import summarize_search
from orchestrator.tracking.record import SearchRecord, Setting

MakeRecord = Callable[..., SearchRecord]
Smoothing = Callable[..., list[tuple[Setting, Sequence[float]]]]

BASELINE = [0.90, 0.91, 0.92, 0.93, 0.94]
BETTER = [0.92, 0.94, 0.94, 0.96, 0.965]
WORSE = [0.88, 0.88, 0.90, 0.90, 0.915]


def table(record: SearchRecord, width: int = 100, *, color: bool = False) -> list[str]:
    """The described summary, line by line."""
    return describe_summary(summarize_search(record), width, color=color).splitlines()


def test_table_of_a_better_value(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Means 92.0 and 94.5 with their own intervals; 2.5 -+ 0.6 points; the sentence below."""
    assert table(make_record(smoothing({0.0: BASELINE, 0.4: BETTER}))) == [
        "digits#1: val/accuracy, higher is better, 5 seeds",
        "",
        "  label_smoothing  seeds        mean % (95 %)    difference (95 %)",
        "  ──────────────────────────────────────────────────────────────────────────",
        "  0                    5  92.0 (90.0 to 94.0)                       baseline",
        "  0.4                  5  94.5 (92.3 to 96.7)  +2.5 (+1.9 to +3.1)  ▲ better",
        "  differences are paired by seed",
        "",
        "label_smoothing=0.4 is better than 0 by 2.5 points, 95 % interval 1.9 to 3.1, "
        "2 values compared",
    ]


def test_table_of_missing_seeds(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """How many of how many, no claim, and a note each."""
    columns = smoothing({0.0: [0.5, 0.75], 0.4: [0.5, "failed"], 0.5: ["failed", "failed"]})

    assert table(make_record(columns), 60) == [
        "digits#1: val/accuracy, higher is better, 2 seeds",
        "",
        "  label_smoothing   seeds          mean % (95 %)",
        "  ────────────────────────────────────────────────────────",
        "  0                     2  62.5 (−96.3 to 221.3)  baseline",
        "  0.4              1 of 2  50.0                   no claim",
        "  0.5              0 of 2                         no claim",
        "",
        "nothing is compared: no value beside label_smoothing=0 has",
        "all 2 seeds",
        "- label_smoothing=0.4 has 1 of 2 seeds (1 failed): no claim",
        "  is made about it",
        "- label_smoothing=0.5 has 0 of 2 seeds (2 failed): no claim",
        "  is made about it",
    ]


def test_table_of_one_seed(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Means and differences without intervals, and no verdict."""
    assert table(make_record(smoothing({0.0: [0.5], 0.4: [0.75]}), metric="val/nll")) == [
        "digits#1: val/nll, higher is better, 1 seed",
        "",
        "  label_smoothing  seeds   mean  difference",
        "  ───────────────────────────────────────────────────",
        "  0                    1  0.500              baseline",
        "  0.4                  1  0.750      +0.250  no claim",
        "",
        "no value of label_smoothing can be called better than 0 from 1 seed",
        "- 1 seed: no interval; use search.seeds: 5",
    ]


def test_table_of_one_setting(make_record: MakeRecord) -> None:
    """A single setting has a mean and an interval, and no columns for a comparison."""
    assert table(make_record([({}, BASELINE)], maximize=False)) == [
        "digits#1: val/accuracy, lower is better, 5 seeds",
        "",
        "  setting  seeds        mean % (95 %)",
        "  ───────────────────────────────────",
        "  digits       5  92.0 (90.0 to 94.0)",
        "",
        "val/accuracy is 92.0 %, 95 % interval 90.0 to 94.0, 5 seeds",
    ]


def test_the_method_names_how_many_intervals_hold_at_once(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """One comparison needs no such line, two are both, more are counted."""
    two = table(make_record(smoothing({0.0: BASELINE, 0.2: WORSE, 0.4: BETTER})))
    three = table(make_record(smoothing({0.0: BASELINE, 0.1: WORSE, 0.2: WORSE, 0.4: BETTER})))

    assert "  differences are paired by seed; their intervals hold for both at once" in two
    assert "  differences are paired by seed; their intervals hold for all 3 at once" in three


def test_marks_point_as_the_score_does(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Of a loss the better value lies lower; a difference around zero has no arrow."""
    around = [
        score + d
        for score, d in zip(BASELINE, (0.003, -0.003, 0.003, -0.003, 0.003), strict=True)
    ]
    columns = smoothing({0.0: BASELINE, 0.2: WORSE, 0.4: BETTER, 0.5: around})

    lines = table(make_record(columns, metric="val/nll", maximize=False))

    assert [line.split(")")[-1].strip() for line in lines[5:8]] == [
        "▼ better",
        "▲ worse",
        "· open",
    ]


def test_color_is_given_to_what_differs(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """Green for better, red for worse, nothing else; the text stays the same."""
    record = make_record(smoothing({0.0: BASELINE, 0.2: WORSE, 0.4: BETTER}))

    plain, colored = table(record), table(record, color=True)

    assert [line.replace("\x1b[0m", "")[:5] for line in colored if "\x1b" in line] == [
        "\x1b[31m",
        "\x1b[32m",
    ]
    stripped = "\n".join(colored)
    for code in ("\x1b[31m", "\x1b[32m", "\x1b[0m"):
        stripped = stripped.replace(code, "")
    assert stripped.splitlines() == plain


def test_a_narrow_table_gives_up_the_means_intervals(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """The interval of the difference decides and so stays longest."""
    lines = table(make_record(smoothing({0.0: BASELINE, 0.4: BETTER})), 66)

    assert lines[2:6] == [
        "  label_smoothing  seeds  mean %    difference (95 %)",
        "  ─────────────────────────────────────────────────────────────",
        "  0                    5    92.0                       baseline",
        "  0.4                  5    94.5  +2.5 (+1.9 to +3.1)  ▲ better",
    ]


def test_long_values_are_cut_to_the_width(make_record: MakeRecord) -> None:
    """No line of the table is wider than asked; the sentence keeps the whole names."""
    names = [
        "torchvision:efficientnet_v2_large",
        "my_package.models:residual_attention_network",
    ]
    columns = [
        ({"model.architecture": name}, scores)
        for name, scores in zip(names, (BASELINE, BETTER), strict=True)
    ]

    lines = table(make_record(columns), 70)

    assert max(map(len, lines[:7])) <= 70
    assert "…" in lines[4]
    assert names[1] in " ".join(lines)


def test_a_width_that_no_table_fits_is_overrun(make_record: MakeRecord) -> None:
    """Values keep twelve characters at least; numbers are never cut."""
    columns = [({"lr": f"a-rather-long-value-{i}"}, [0.5, 0.6, 0.8]) for i in range(2)]

    lines = table(make_record(columns), 20)

    assert lines[6].startswith("  a-rat…alue-0  ")


def test_csv_has_raw_numbers(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """One line per setting, keys in full, empty cells where there is nothing."""
    columns = smoothing({0.0: [0.5, 0.5], 0.4: [0.75, "failed"]})

    rows = list(
        csv.DictReader(io.StringIO(summary_to_csv(summarize_search(make_record(columns)))))
    )

    assert rows[1] == {
        "loss.label_smoothing": "0.4",
        "is_baseline": "false",
        "seeds_done": "1",
        "seeds": "2",
        "mean": "0.75",
        "low": "",
        "high": "",
        "sd": "",
        "difference": "",
        "difference_low": "",
        "difference_high": "",
        "verdict": "",
    }
    assert rows[0]["sd"] == "0.0"


def test_csv_of_a_comparison_reads_back_exactly(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """Numbers are written in full, not as the table rounds them."""
    summary = summarize_search(make_record(smoothing({0.0: BASELINE, 0.4: BETTER})))

    row = list(csv.DictReader(io.StringIO(summary_to_csv(summary))))[1]

    assert summary.rows[1].difference_interval == (
        float(row["difference_low"]),
        float(row["difference_high"]),
    )
    assert row["verdict"] == "better"


def test_json_is_plain_and_complete(make_record: MakeRecord, smoothing: Smoothing) -> None:
    """It survives a round trip and holds every score under its seed."""
    summary = summarize_search(make_record(smoothing({0.0: BASELINE, 0.4: BETTER})))

    value = json.loads(json.dumps(summary_to_json(summary)))

    assert value == summary_to_json(summary)
    assert set(value) == {
        "search",
        "metric",
        "maximize",
        "keys",
        "seeds",
        "answer",
        "notes",
        "settings",
    }
    assert value["answer"] == summary.sentence
    assert value["settings"][0]["scores"] == {str(i): s for i, s in enumerate(BASELINE)}
    assert value["settings"][0]["difference_interval"] is None
    assert value["settings"][1]["difference_interval"] == pytest.approx(
        [0.01879, 0.03121], abs=1e-5
    )


def test_json_of_a_single_run_has_no_interval(make_record: MakeRecord) -> None:
    """Null rather than a made-up number."""
    value = summary_to_json(summarize_search(make_record([({}, [0.5])])))

    assert value["settings"][0]["interval"] is None


def test_results_of_other_searches_are_marked(
    make_record: MakeRecord, smoothing: Smoothing
) -> None:
    """A sign at the settings that have some, and what it means."""
    record = make_record(smoothing({0.0: [0.5, 0.5], 0.4: [0.75, 0.75]}), number=3)
    first, *others = record.runs
    taken = replace(first, reused="digits/2/label_smoothing=0,seed=0")
    summary = summarize_search(replace(record, runs=(taken, *others)))

    lines = describe_summary(summary).splitlines()

    assert lines[4:8] == [
        "  0                   2*    50.0              baseline",
        "  0.4                 2     75.0       +25.0  no claim",
        "  * with results that were not trained anew: of digits#2",
        "",
    ]
    assert [row["reused"] for row in summary_to_json(summary)["settings"]] == [["digits#2"], []]
