"""Result files → tables, pages and plots."""

import json
from pathlib import Path

import pytest

from bench import render
from bench.__main__ import SECTIONS
from bench.measure import Case, Measured, bound, ratio
from bench.plan import apart
from bench.readme import ROWS, readme_table
from bench.record import write_case
from bench.tables import by_case, by_side, check_row, machines, notes, number
from weixing.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RECORD = {
    "machine": {
        "processor": "a processor",
        "cores": 2,
        "memory_gb": 8.0,
        "system": "Linux 6.1",
        "load_before": 0.1,
        "busy_before": 0.2,
    },
    "versions": {"python": "3.11.7", "weixing": "0.1.0"},
    "measured_on": "a corpus",
}


def pretraining(shape, ours, theirs):
    """A case of pretraining, with these tokens/s a round."""
    sides = {
        "weixing": Measured(
            "weixing pretrain",
            {"tokens_per_second": ours, "gflops": ours, "vocabulary_trained": [9000] * len(ours)},
        ),
        "UER-py": Measured("", {"tokens_per_second": theirs}) if theirs else Measured(failure="first\nlast line"),
    }
    check = ratio(f"pretrain {shape}, 64 × 128", *sides.values(), "tokens_per_second", at_least=5, peer="UER-py")
    return Case(sides, [check])


@pytest.fixture
def results(tmp_path):
    """A folder of results: two cases of pretraining, one of them failed for UER-py, and one of prepare."""
    file = tmp_path / "pretrain.json"
    write_case(file, "pretrain", "2/128, 64 × 128", pretraining("2/128", [60, 50, 70], [10, 10, 10]), RECORD)
    write_case(file, "pretrain", "4/256, 64 × 128", pretraining("4/256", [4000.0], None), RECORD)
    side = Measured("weixing prepare", {"mb_per_second": [90.0], "peak_memory_mb": [600.0]})
    checks = [bound("peak memory", side, "peak_memory_mb", "MB", at_most=500)]
    prepare = Case({"weixing": side}, checks, {"UER-py": "UER_DIR is not set"})
    write_case(tmp_path / "prepare.json", "prepare", "corpus → shards", prepare, RECORD)
    return tmp_path


def test_measuring_a_case_again_replaces_it_and_keeps_the_others(results):
    file = results / "pretrain.json"
    write_case(file, "pretrain", "2/128, 64 × 128", pretraining("2/128", [99.0], [10.0]), RECORD)
    cases = json.loads(file.read_text())["cases"]
    assert list(cases) == ["2/128, 64 × 128", "4/256, 64 × 128"]
    assert cases["2/128, 64 × 128"]["sides"]["weixing"]["figures"]["tokens_per_second"]["median"] == 99


def test_a_cell_has_median_and_range_and_a_failed_side_says_so(results):
    cases = render.load(results)["pretrain"]
    assert by_case(cases, "tokens_per_second", ",.0f").splitlines() == [
        "|  | weixing | UER-py |",
        "| --- | ---: | ---: |",
        "| 2/128, 64 × 128 | 60 (50–70) | 10 |",
        "| 4/256, 64 × 128 | 4,000 | FAILED |",
    ]


def test_a_table_by_side_leaves_out_figures_that_nobody_has(results):
    columns = [("mb_per_second", "MB/s", ".1f"), ("seconds", "s", ".1f"), ("peak_memory_mb", "MB", ".0f")]
    assert by_side(render.load(results)["prepare"], columns).splitlines() == [
        "|  | MB/s | MB |",
        "| --- | ---: | ---: |",
        "| weixing | 90.0 | 600 |",
    ]


def test_ratios_stand_beside_their_targets(results):
    loaded = render.load(results)
    met = loaded["pretrain"]["2/128, 64 × 128"]["checks"][0]
    missing = loaded["pretrain"]["4/256, 64 × 128"]["checks"][0]
    memory = loaded["prepare"]["corpus → shards"]["checks"][0]
    name = "pretrain 2/128, 64 × 128, against UER-py"
    assert check_row(met) == [name, "6.00×", "5.00–7.00", "at least 5×", "yes"]
    assert check_row(missing)[1:] == ["–", "–", "at least 5×", "–"]
    assert check_row(memory) == ["peak memory", "600 MB", "–", "at most 500 MB", "**no**"]


def test_failures_and_what_was_left_out_are_named(results):
    loaded = render.load(results)
    assert "4/256, 64 × 128: UER-py failed: `last line`" in notes(loaded["pretrain"])
    assert "UER-py left out: UER_DIR is not set" in notes(loaded["prepare"])


def test_one_machine_is_named_once_with_all_its_sections(results):
    text = machines(render.load(results))
    assert text.count("a processor, 2 cores") == 1
    assert text.startswith("- prepare, pretrain (")
    assert "Rounds: 1 to 3." in text  # of the values, whatever was asked for
    assert "busy in the second before: median 0.2, most 0.2." in text


def test_the_readme_names_every_machine_once(results):
    other = {**RECORD, "machine": {**RECORD["machine"], "processor": "another", "cores": 64}}
    write_case(results / "pretrain.json", "pretrain", "8/512, 64 × 128", pretraining("8/512", [9.0], [1.0]), other)
    loaded = render.load(results)
    assert "(a processor, 2 cores; or another, 64 cores)" in readme_table(loaded, "en")
    assert "（a processor，2 核；或 another，64 核）" in readme_table(loaded, "zh")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.000"), (1.4e-6, "1.4e-06"), (0.4818, "0.482"), (5.25, "5.25"), (1234.5, "1,234")],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_the_readme_names_a_ratio_only_where_it_was_measured(results):
    loaded = render.load(results)
    english, chinese = readme_table(loaded, "en"), readme_table(loaded, "zh")
    assert "| pretraining 2/128 · 4/256 · 8/512 · 12/768, rows 64 × 128 | 6.0× · – · – · – |" in english
    assert "6.0× · – · – · –" in chinese
    assert "fill-mask" not in english
    assert "a processor, 2 cores" in english


def test_without_results_the_readme_says_how_to_get_them():
    assert "make bench" in readme_table({}, "en")
    assert "make bench" in readme_table({}, "zh")


def test_filling_replaces_what_is_between_the_marks_alone():
    text = "a\n<!-- bench:x -->\nold\n<!-- bench:end -->\nb\n<!-- bench:y -->\n<!-- bench:end -->\n"
    filled = render.fill(text, {"x": "new\n", "y": "too\n"})
    assert filled == "a\n<!-- bench:x -->\nnew\n<!-- bench:end -->\nb\n<!-- bench:y -->\ntoo\n<!-- bench:end -->\n"
    assert render.fill(filled, {"x": "new\n", "y": "too\n"}) == filled


@pytest.mark.parametrize(
    "text",
    ["<!-- bench:x -->\nno end", "<!-- bench:x -->\n<!-- bench:x -->\n<!-- bench:end -->\n",
     "<!-- bench:z -->\n<!-- bench:end -->\n"],
)  # fmt: skip
def test_wrong_marks_are_refused(text):
    with pytest.raises(UserError, match=r"mark|no part"):
        render.fill(text, {"x": ""})


def test_the_page_and_its_plots_are_written_from_the_files_alone(results):
    render.render(results, None)
    page = (results / "performance.md").read_text(encoding="utf-8")
    assert "|  | weixing | UER-py | entries trained |" in page
    assert "| 2/128, 64 × 128 | 60 (50–70) | 10 | 9,000 |" in page
    assert "Not measured yet." in page  # fine-tuning, for one
    assert (results / "performance-pretrain.png").stat().st_size > 1_000


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match="make bench"):
        render.render(tmp_path, None)


def test_the_pages_and_readmes_of_the_repository_have_marks_for_all_that_is_generated():
    parts = render.parts({})
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in render.PAGES]
    assert {match[2] for page in pages for match in render.MARK.finditer(page)} == set(parts)
    for name in render.READMES:
        assert "<!-- bench:ratios -->" in (ROOT / name).read_text(encoding="utf-8")


def test_the_page_knows_every_section():
    assert set(render.SECTIONS) == set(SECTIONS)
    assert {row.section for row in ROWS} <= set(SECTIONS)


def test_a_plan_is_as_far_from_what_was_measured_in_either_direction():
    for planned, share in ((91.0, 0.09), (120.0, 0.2)):
        case = apart("memory", {"weixing": Measured("", {"planned_mb": [planned], "peak_mb": [100.0]})})
        assert case.checks[0].value == pytest.approx(share)
        assert case.checks[0].met is (share < 0.1)
    assert apart("memory", {"weixing": Measured(failure="why")}).checks[0].met is None
