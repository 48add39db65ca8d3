"""The disk benchmark's reading of fio, and its table."""

from benches.disk.disk import JOBS, READ_IOPS, WRITE_IOPS, page, parse


def terse(job: int, read: int, write: int) -> str:
    fields = ["3", "fio-3.33", f"job{job}"] + ["0"] * 100
    fields[READ_IOPS], fields[WRITE_IOPS] = str(read), str(write)
    return ";".join(fields)


def test_each_job_is_read_by_its_direction() -> None:
    said = f"[ 1.0] noise\n{terse(0, 100, 1)}\r\n{terse(2, 1, 200)}\n"

    assert parse(said) == {JOBS[0].name: 100.0, JOBS[2].name: 200.0}


def test_a_row_below_the_aim_is_missed() -> None:
    row = ("raw", JOBS[0].name)
    text = page({row: [10, 30, 20]}, {row: [10, 10, 40]}, 3)
    assert "| 20 | 10 | 2.00 × | met |" in text
    assert "| 14 | 10 | 1.40 × | missed |" in page({row: [14]}, {row: [10]}, 1)
