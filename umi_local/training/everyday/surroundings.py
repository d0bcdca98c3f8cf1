"""What else lies in the workspace: files that the request is not about."""

from __future__ import annotations

from umi_local.training.everyday.notes import prefill_notes
from umi_local.training.everyday.scene import Scene
from umi_local.training.everyday.table_files import add_table
from umi_local.training.everyday.texts import add_text


def surround(scene: Scene) -> None:
    """Two to ten files, some of them tables, some in folders."""
    rng = scene.rng
    for _ in range(rng.randint(2, 8)):
        add_text(scene)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        add_table(scene, kind="csv")
    prefill_notes(scene)
