"""Cells and picture of `make bench-start` from made-up runs; one real run of a program that is no library at all."""

import os
import stat
import tempfile
import unittest
import xml.etree.ElementTree as xml

import start
import start_plot


def made_up(library, nranks, trial, seconds):
    return {"library": library, "nranks": nranks, "trial": trial, "first_result_s": seconds, "init_ms": 1.0,
            "first_call_ms": 1.0, "own_kib_median": 100 * nranks, "own_kib_most": 2000, "shared_kib_median": 70,
            "wall_s": 2 * seconds, "cpu_s": seconds}


RUNS = [made_up("C4", 2, 0, 0.1), made_up("C4", 2, 1, 0.3), made_up("C4", 2, 2, 0.2), made_up("C4", 512, 0, 5.0),
        made_up("MPICH", 2, 0, 0.4), {"library": "MPICH", "nranks": 512, "trial": 0, "failed": "not <done> after 60 s"}]


class Cells(unittest.TestCase):
    def test_median_and_spread(self):
        cell = next(cell for cell in start.cells_make(RUNS) if (cell["library"], cell["nranks"]) == ("C4", 2))
        self.assertEqual((cell["trials"], cell["first_result_s"], cell["first_result_low_s"],
                          cell["first_result_high_s"]), (3, 0.2, 0.1, 0.3))

    def test_failure_is_a_cell(self):
        cell = next(cell for cell in start.cells_make(RUNS) if (cell["library"], cell["nranks"]) == ("MPICH", 512))
        self.assertEqual((cell["trials"], cell["failed"]), (0, ["not <done> after 60 s"]))


class Picture(unittest.TestCase):
    def test_well_formed(self):
        root = xml.fromstring(start_plot.picture(start.cells_make(RUNS), "a & b", 3.2))
        words = [element.text for element in root.iter() if element.tag.endswith("text")]
        self.assertIn("512", words)
        self.assertIn("MPICH: not <done> after 60 s", words)
        self.assertTrue(any("not idle (load 3)" in word for word in words))
        circles = [element for element in root.iter() if element.tag.endswith("circle")]
        self.assertEqual(len(circles), 3 * 3)  # three cells with numbers: a time, and memory without and with shared
        for circle in circles:
            self.assertTrue(0 < float(circle.get("cx")) < start_plot.WIDTH)
            self.assertTrue(start_plot.TOP <= float(circle.get("cy")) <= start_plot.BOTTOM)


class Run(unittest.TestCase):
    def script(self, text):
        file = tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False)
        with file:
            file.write("#!/bin/sh\n" + text)
        os.chmod(file.name, stat.S_IRWXU)
        self.addCleanup(os.unlink, file.name)
        return start.Library("C4", file.name, ["/bin/sh"], {})

    def test_lines_are_ranks(self):
        result = start.run(self.script("echo start 0 1 9000000000000 2.5 0.5 700 10\n"
                                       "echo start 1 1 9000000000001 3.5 0.4 900 30\n"), 2, 30)
        self.assertEqual((result["init_ms"], result["own_kib_median"], result["own_kib_most"],
                          result["shared_kib_median"]), (3.5, 800, 900, 20))

    def test_wrong_result_and_missing_rank(self):
        for lines in ("echo start 0 0 1 1 1 1 1; echo start 1 1 1 1 1 1 1\n", "echo start 0 1 1 1 1 1 1\n",
                      "echo why not >&2; exit 3\n"):
            self.assertIn("failed", start.run(self.script(lines), 2, 30))
        self.assertIn("exit status 3, 0 of 2 ranks: why not", start.run(self.script("echo why not >&2; exit 3\n"), 2,
                                                                        30)["failed"])

    def test_ended_at_the_limit(self):
        self.assertEqual(start.run(self.script("sleep 100 & wait\n"), 2, 0.2), {"failed": "not done after 0 s"})


if __name__ == "__main__":
    unittest.main()
