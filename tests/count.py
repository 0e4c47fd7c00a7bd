#!/usr/bin/python3
"""Prints "PASSED FAILED": the test cases in meson's testlog.json. A Criterion binary counts its cases, which its
closing line tells; any other test is one case."""
import json
import re
import sys

SYNTHESIS = re.compile(r"Tested: *(\d+).*?Passing: *(\d+).*?Failing: *(\d+).*?Crashing: *(\d+)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

passed = failed = 0
with open(sys.argv[1]) as f:
    for line in f:
        t = json.loads(line)
        good = t["result"] in ("OK", "EXPECTEDFAIL")
        if t["result"] == "SKIP":
            continue
        found = SYNTHESIS.search(COLOUR.sub("", (t.get("stdout") or "") + (t.get("stderr") or "")))
        ran, ok, bad, crashed = map(int, found.groups()) if found else (1, int(good), int(not good), 0)
        passed += ok
        failed += bad + crashed
        if not good and bad + crashed == 0:
            failed += 1
print(passed, failed)
