"""The reference set, and what it makes of the real model."""

from pathlib import Path

import numpy as np
import pytest

from calibration import measure_calibrations
from mcp_server_embeddings.engine.calibrate import PACKAGED, reference_groups
from mcp_server_embeddings.engine.embedder import Embedder


def test_the_set_has_enough_groups_over_many_subjects_and_registers() -> None:
    groups = reference_groups()
    assert len(groups) >= 120
    assert all(set(group) == {"subject", "register", "statement", "paraphrase", "related"} for group in groups)
    texts = [group[column] for group in groups for column in ("statement", "paraphrase", "related")]
    assert len(set(texts)) == len(texts) >= 360
    assert all(text == text.strip() and text for text in texts)
    assert len({group["subject"] for group in groups}) == len(groups)
    assert len({group["register"] for group in groups}) >= 14


def test_the_three_kinds_of_pair_lie_apart_under_the_real_model(embedder: Embedder) -> None:
    calibration = embedder.calibration()
    medians = [float(np.median(s)) for s in (calibration.unrelated, calibration.related, calibration.paraphrase)]
    assert medians == sorted(medians)
    assert calibration.edges == tuple(sorted(calibration.edges))
    assert calibration.edges[0] < 0.25
    assert calibration.edges[3] > 0.75


def test_percentile_alone_saturates_where_bands_still_tell_apart(embedder: Embedder) -> None:
    calibration = embedder.calibration()
    assert calibration.percentile(0.45) > 99.9
    assert calibration.percentile(0.95) == 100
    assert (calibration.band(0.45), calibration.band(0.95)) == ("related", "same")


@pytest.mark.slow
def test_the_packaged_calibrations_are_those_of_the_default_model(tmp_path: Path) -> None:
    measured = measure_calibrations(tmp_path)
    assert [path.name for path in measured] == sorted(path.name for path in PACKAGED.iterdir())
    for path in measured:
        with np.load(path) as found, np.load(PACKAGED / path.name) as packaged:
            for sample in found:
                np.testing.assert_allclose(packaged[sample], found[sample], atol=2e-5)
