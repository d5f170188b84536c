"""Versions with their SHA-256: python pin.py < REPORT > requirements.txt

REPORT is what `pip install --dry-run --ignore-installed --report` writes; README.md has the whole line.
"""

import json
import sys

HEAD = """\
# All that requirements.in needs, with SHA-256, for Linux on x86-64 with Python 3.11. Not to be edited:
# README.md, "Versions", says how it is made.
"""


def main() -> None:
    pins = []
    for part in json.load(sys.stdin)["install"]:
        sha256 = part["download_info"]["archive_info"]["hashes"]["sha256"]
        pins.append(f"{part['metadata']['name'].lower()}=={part['metadata']['version']} --hash=sha256:{sha256}")
    print(HEAD + "\n".join(sorted(pins)))


if __name__ == "__main__":
    main()
