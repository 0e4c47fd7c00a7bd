"""check.py FOLDER [--write]: the table in README.md lists every case of every script, and nothing else.
--write makes it so."""
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
readme = folder / "README.md"
rows, bad = [], []
for path in sorted(folder.glob("*.txt")):
    cases = [line[5:].strip() for line in path.read_text().splitlines() if line.startswith("case ")]
    if not cases:
        bad.append(f"{path.name}: no case")
    for case in cases:
        where, _, rule = case.partition(": ")
        if not where.startswith("RFC ") or not rule:
            bad.append(f"{path.name}: \"{case}\": want RFC NUMBER SECTION [RULE]: what it shows")
        rows.append(f"| `{path.name}` | {where[4:]} | {rule} |")
text = readme.read_text()
head, mark, rest = text.partition("<!-- table -->\n")
want = "| script | RFC, section, rule | what it shows |\n|---|---|---|\n" + "\n".join(rows) + "\n"
if "--write" in sys.argv:
    readme.write_text(head + mark + want)
elif rest != want:
    bad.append("README.md: the table is not that of the scripts: run check.py FOLDER --write")
print("\n".join(bad) if bad else f"{len(rows)} cases")
sys.exit(bool(bad))
