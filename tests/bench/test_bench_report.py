"""What `make bench` concludes from given points. Run by test_bench_report.sh."""

import unittest

import bench_report
import bench_targets
from bench_sets import classify, undisturbed


def point(name, us, state="near", condition="shm-2", collective="all_reduce", size=1 << 20, wrong=0):
    return bench_report.Point(condition, collective, size, name, (55.0, 55.0), state, [us * 1e3] * 5, wrong)


class ReportTest(unittest.TestCase):
    def test_state_needs_both_probes(self):
        self.assertEqual(classify(55, 60), "near")
        self.assertEqual(classify(230, 250), "far")
        self.assertIsNone(classify(55, 230))
        self.assertIsNone(classify(130, 130))

    def test_preempted_iterations_do_not_count(self):
        self.assertEqual(undisturbed([5, -90, 6, 7], 2, 2), ([5, 6, 7], True))
        self.assertEqual(undisturbed([5, -90, -91, -92, -93], 2, 2), ([5, 90, 91, 92, 93], False))
        self.assertEqual(undisturbed([5, -90], 4, 2), ([5, 90], True))

    def test_ratio_is_best_peer_over_c4(self):
        points = [point("c4", us) for us in (60, 50, 70)] + [point("a", 180), point("b", 150)]
        cell, = bench_report.cells_make(points, {}, True)
        self.assertEqual((cell["best_peer"], cell["ratio"], cell["c4"]["trials"]), ("b", 2.5, 3))
        self.assertEqual((cell["c4"]["low_us"], cell["c4"]["high_us"]), (50, 70))
        self.assertIs(cell["reached"], True)

    def test_states_do_not_mix(self):
        points = [point("c4", 50), point("a", 100), point("c4", 80, "far"), point("a", 500, "far"),
                  point("a", 1, None)]
        ratios = {cell["state"]: cell["ratio"] for cell in bench_report.cells_make(points, {}, True)}
        self.assertEqual(ratios, {"near": 2.0, "far": 6.25})

    def test_no_ratio_when_a_peer_lacks_this_state(self):
        points = [point("c4", 50), point("a", 100), point("b", 40, "far")]
        near = [cell for cell in bench_report.cells_make(points, {}, True) if cell["state"] == "near"][0]
        self.assertIsNone(near["ratio"])
        self.assertIsNone(near["reached"])
        self.assertIn("1 of 2 peers", bench_report.best_text(near))

    def test_cells_of_ucc_are_marked_without_it(self):
        points = [point("c4", 50), point("a", 150)]
        self.assertIn("[UCC 117]", bench_report.text_table(bench_report.cells_make(points, {}, False)))
        self.assertNotIn("[UCC", bench_report.text_table(bench_report.cells_make(points, {}, True)))

    def test_bound_of_mapped_buffers(self):
        size = 16 << 20
        limits = {("stream", size, "near"): 900.0}
        points = [point("c4", 1200, condition="shm-2-mapped", size=size),
                  point("a", 6000, condition="shm-2-mapped", size=size)]
        cell, = bench_report.cells_make(points, limits, True)
        self.assertEqual((cell["bound_percent"], cell["target_bound_percent"]), (75.0, 90.0))
        self.assertIs(cell["reached"], False)

    def test_tcp_is_judged_within_the_spread_above_4_mib(self):
        def cell_of(size, c4_us):
            points = [point("c4", us, condition="tcp-2", size=size) for us in c4_us]
            points += [point("a", us, condition="tcp-2", size=size) for us in (100, 104)]
            return bench_report.cells_make(points, {}, True)[0]["reached"]
        self.assertTrue(cell_of(16 << 20, (103, 105)))
        self.assertFalse(cell_of(16 << 20, (110, 112)))
        self.assertFalse(cell_of(1 << 20, (103, 105)))

    def test_targets(self):
        self.assertEqual(bench_targets.target_ratio("shm-2", "all_reduce", 8, "far"), 1.2)
        self.assertEqual(bench_targets.target_ratio("shm-2", "all_reduce", 512, "far"), 1.5)
        self.assertEqual(bench_targets.target_ratio("shm-2", "all_reduce", 4 << 20, "near"), 1.7)
        self.assertEqual(bench_targets.target_ratio("shm-2", "all_reduce", 16 << 10, "near"), 2.0)
        self.assertEqual(bench_targets.target_ratio("shm-2", "broadcast", 16 << 10, "near"), 1.0)
        self.assertEqual(bench_targets.target_ratio("shm-8", "barrier", 0, "near"), 1.7)

    def test_markdown_has_both_states_in_a_row(self):
        points = [point("c4", 50), point("a", 60), point("c4", 80, "far"), point("a", 500, "far")]
        table = bench_report.markdown_table(bench_report.cells_make(points, {}, True), "a machine", ["a note"])
        self.assertIn("| all_reduce | 1 MiB | 50.0 | 60.0 a | **1.20** |  | 80.0 | 500 a | 6.25 |  |", table)


if __name__ == "__main__":
    unittest.main()
