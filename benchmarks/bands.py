"""Compare the bands with human judgements: a CSV file of text, text, human similarity from 0 to 5.

    python benchmarks/bands.py PATH [MODEL]

The STSBenchmark development split has this form. Targets: of the pairs judged below 1, at least 90 % are ``unrelated``
or ``weak``; of the pairs judged 4 or more, at least 97 % are ``related`` or closer.
"""

import csv
import sys
from collections import Counter
from pathlib import Path

from mcp_server_embeddings import Engine, Settings
from mcp_server_embeddings.config import DEFAULT_MODEL
from mcp_server_embeddings.vectors.calibration import BANDS
from mcp_server_embeddings.vectors.scores import unit_rows

STEPS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5.01))


def main() -> None:
    """Print the share of each band by human similarity."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with Engine(Settings(model=sys.argv[2] if len(sys.argv) > 2 else DEFAULT_MODEL)) as engine:
        embedder = engine.embedder()
        left, right = (unit_rows(embedder.embed([row[side] for row in rows]).vectors) for side in (0, 1))
        calibration = embedder.calibration()
        print(f"{embedder.identity().short}, {len(rows)} pairs, edges {[round(e, 4) for e in calibration.edges]}")
    bands = [calibration.band(float(cosine)) for cosine in (left * right).sum(axis=1)]
    print("judged   pairs  " + "  ".join(f"{band:>9}" for band in BANDS))
    shares = {}
    for low, high in STEPS:
        inside = [band for band, row in zip(bands, rows, strict=True) if low <= float(row[2]) < high]
        counts = Counter(inside)
        shares[low] = {band: counts[band] / len(inside) for band in BANDS}
        print(f"{low}-{min(high, 5):g}    {len(inside):6d}  " + "  ".join(f"{shares[low][b]:9.1%}" for b in BANDS))
    print(f"below 1: unrelated or weak {shares[0]['unrelated'] + shares[0]['weak']:.1%} (wanted 90 %)")
    print(f"4 or more: related or closer {1 - shares[4]['unrelated'] - shares[4]['weak']:.1%} (wanted 97 %)")


if __name__ == "__main__":
    main()
