"""The loss of a stage as a picture."""

from __future__ import annotations

from pathlib import Path

from umi_local.training.checkpoint import metrics_of
from umi_local.training.storage import writing


def draw_losses(folder: Path) -> Path:
    """`loss.png` in the stage's folder: each adapter's loss per step (nats per target token) and on held-out runs.

    Raises:
        StorageError: it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    metrics = metrics_of(folder)
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    names = sorted({name for entry in metrics for name in entry["losses"]})
    for name, colour in zip(names, ("#3366aa", "#cc7722", "#338855", "#994488"), strict=False):
        seen = [(entry["step"], entry["losses"][name]) for entry in metrics if name in entry["losses"]]
        axes.plot(*zip(*seen, strict=True), color=colour, linewidth=1, alpha=0.8, label=name)
        held = [(entry["step"], entry["held_out"][name]) for entry in metrics if name in entry["held_out"]]
        if held:
            axes.plot(*zip(*held, strict=True), "o", color=colour, label=f"{name}, held out")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(frameon=False)
    path = folder / "loss.png"
    with writing(path):
        figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
