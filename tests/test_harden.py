"""What ``make harden`` counts is what was done: not what was skipped, and not what did not come to its end."""

from pathlib import Path

from harden import counts_of_sessions, counts_of_tests

REPORT = """<testsuites><testsuite>
<testcase name="a"><properties>
<property name="kills" value="3"/><property name="faults" value="1"/></properties></testcase>
<testcase name="b"><properties><property name="kills" value="4"/></properties></testcase>
<testcase name="c"><properties><property name="faults" value="1"/></properties><skipped message="no disk"/></testcase>
</testsuite></testsuites>"""


def test_what_tests_recorded_is_summed_but_for_those_that_were_skipped(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(REPORT, encoding="utf-8")
    assert counts_of_tests(report) == {"tests": 2, "kills": 7, "faults": 1}


def test_kills_of_sessions_are_counted_with_what_was_lost() -> None:
    said = "200 kills, 126 of the engine: 1 calls unanswered, 2 refused, 3 of 8,182 acknowledged writes lost, 0 left\n"
    assert counts_of_sessions(f"machine\n{said}") == {
        "kills": 200,
        "calls unanswered": 1,
        "calls refused": 2,
        "writes lost": 3,
        "acknowledged writes": 8_182,
    }


def test_sessions_that_did_not_come_to_their_end_count_nothing() -> None:
    assert counts_of_sessions("Traceback (most recent call last):\n") == {}
