"""`python -m experiments.fuzz --documents 10000 --seed N [--only I]`; exit code 1 on any traceback or hang."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from rich.progress import Progress

from experiments.fuzz.run import document, outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.fuzz", description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="replay one document and show it")
    arguments = parser.parse_args()
    if arguments.only is not None:
        print(document(arguments.seed, arguments.only).encode("utf-8", "backslashreplace").decode())
        result = outcome(arguments.seed, arguments.only)
        print(f"# {result.verdict} {result.detail}")
        return int(result.verdict in ("traceback", "hang"))
    count: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    with Progress(disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("fuzz", total=arguments.documents)
        for index in range(arguments.documents):
            result = outcome(arguments.seed, index)
            count[result.verdict] += 1
            if result.verdict == "refused":
                codes[result.detail] += 1
            elif result.verdict != "valid":
                print(f"document {index}: {result.verdict}\n{result.detail}", file=sys.stderr)
                print(f"replay: python -m experiments.fuzz --seed {arguments.seed} --only {index}", file=sys.stderr)
            progress.advance(task)
    print("first problem of the refused: " + ", ".join(f"{code} {n}" for code, n in codes.most_common()))
    print(
        f"documents={arguments.documents} valid={count['valid']} refused={count['refused']} "
        f"tracebacks={count['traceback']} hangs={count['hang']}"
    )
    return int(bool(count["traceback"] or count["hang"]))


if __name__ == "__main__":
    sys.exit(main())
