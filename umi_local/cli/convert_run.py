"""What `convert` does, one step after the other: fetch, write, quantise, compare, add to a pack."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from umi_local import plain
from umi_local.cli.progress import steps_of
from umi_local.convert.checkpoint import Checkpoint, weights_of
from umi_local.convert.checkpoint_to_gguf import convert_checkpoint
from umi_local.convert.output import Source, partial
from umi_local.convert.weights import WRITTEN
from umi_local.errors import StorageError, UsageError

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `convert file`."""

    source: str
    out: Path | None
    quant: str
    base: Path | None
    pack: str
    roles: tuple[str, ...]
    imatrix: str
    report: bool
    pre: str

    @property
    def at_once(self) -> bool:
        """Whether the file is written in its last form right away."""
        return self.quant.lower() in WRITTEN

    @property
    def form(self) -> str:
        return self.quant.lower() if self.at_once else self.quant.upper()


def converted(wish: Wish) -> Path:
    """Do it; gives the file that was written."""
    from umi_local.backends.llama_cpp.quantise import checked

    if not wish.at_once:
        checked(wish.quant, bool(wish.imatrix))
    _check(wish)
    folder, source = _fetched(wish.source)
    is_adapter = (folder / "adapter_config.json").is_file() and not weights_of(folder)
    out = wish.out or _place(wish, source, "adapter" if is_adapter else wish.form)
    _check_out(out)
    if is_adapter:
        _write_adapter(wish, folder, source, out)
    else:
        _write_model(replace(wish, out=out), folder, source, out)
    return out


def merged(adapter: str, base: Path, out: Path, quant: str) -> Path:
    """Fold an adapter into a GGUF or a checkpoint; gives the file that was written."""
    from umi_local.convert.merge import merge

    form = quant.lower()
    if form not in WRITTEN:
        raise UsageError(f"A merged file is written as {', '.join(WRITTEN)} and not as {quant!r}.")
    folder, source = _fetched(adapter)
    _check_out(out)
    with partial_base(base, form, out.parent) as (gguf, made_of, warnings), steps_of("merging") as step:
        written = merge(folder, gguf, out, form, source, step, made_of)
    _tell([*warnings, *written.warnings])
    return out


@contextmanager
def partial_base(base: Path, form: str, room: Path) -> Iterator[tuple[Path, list[Path], list[str]]]:
    """The base as GGUF: itself, or a checkpoint converted for the time being, with the files that it is made of and the
    warnings of its conversion."""
    if not base.is_dir():
        yield base, [], []
        return
    with (
        tempfile.TemporaryDirectory(prefix=".umi-convert-", dir=room) as folder,
        steps_of(f"converting {base.name}") as step,
    ):
        path = Path(folder) / f"{base.name}.gguf"
        exact = form if form != "q8_0" else "f32"
        written = convert_checkpoint(base, path, exact, Source(str(base.resolve())), step)
        yield path, Checkpoint.open(base).files, written.warnings


def _check(wish: Wish) -> None:
    """What can be said before hours of work."""
    if wish.roles and not wish.pack:
        raise UsageError("--role says who of a pack plays it.", "Name the pack with --pack NAME.")
    if not wish.out and not wish.pack:
        raise UsageError("There is no file to write to.", "Name it with --out FILE, or a pack with --pack NAME.")
    if wish.pack:
        from umi_local.own_packs import check_name

        check_name(wish.pack)
    if wish.out:
        _check_out(wish.out)  # also before anything is fetched
    if wish.imatrix and wish.at_once:
        raise UsageError(f"{wish.form} needs no importance matrix.", "Leave --imatrix out, or take another --quant.")
    if wish.imatrix and wish.imatrix != "sessions" and not Path(wish.imatrix).is_file():
        raise UsageError(f"There is no file {wish.imatrix}.", "--imatrix takes a text, an imatrix file, or: sessions")
    if wish.imatrix and wish.imatrix != "sessions" and _is_gguf(Path(wish.imatrix)):
        from umi_local.backends.llama_cpp.imatrix import read_imatrix

        read_imatrix(Path(wish.imatrix))


def _check_out(out: Path) -> None:
    """What would go wrong with the last step is said before the first."""
    if out.exists():
        raise UsageError(f"{out} is there already.", "Name another file with --out, or remove it first.")
    if not out.parent.is_dir():
        raise UsageError(f"There is no folder {out.parent}.", "Make it first.")
    if not os.access(out.parent, os.W_OK):
        raise StorageError(f"{out.parent} cannot be written.", "Choose another folder with --out.")


def _fetched(named: str) -> tuple[Path, Source]:
    """The source's folder, fetched where it is on a hub, and how the file is to call it."""
    if not named.startswith("hf:"):
        return Path(named), Source(Path(named).resolve().name)
    from umi_local.cli.progress import download_progress
    from umi_local.pull.repository import Repository, fetch

    repository = Repository.named(named)
    with download_progress() as on_progress:
        folder, commit = fetch(repository, on_progress)
    return folder, Source(f"hf:{repository.name}", commit)


def _place(wish: Wish, source: Source, form: str) -> Path:
    from umi_local.paths import models_dir, private_dir

    stem = source.name.rpartition("/")[2].rpartition(":")[2]
    return private_dir(models_dir() / "own" / wish.pack) / f"{stem}-{form}.gguf"


def _write_adapter(wish: Wish, folder: Path, source: Source, out: Path) -> None:
    from umi_local.convert.peft_adapter import convert_adapter

    if wish.base is None:
        raise UsageError(f"{wish.source} is an adapter.", "Name the model that it goes with: --base FILE.gguf")
    if wish.imatrix or wish.report:
        raise UsageError("--imatrix and --report are for models, and this is an adapter.")
    _tell(convert_adapter(folder, wish.base, out, wish.form, source).warnings)
    _add_to_pack(wish, out, is_adapter=True)


def _write_model(wish: Wish, folder: Path, source: Source, out: Path) -> None:
    if wish.base is not None:
        raise UsageError("--base is for adapters, and this is a whole model.", "Leave it out.")
    if wish.at_once and not wish.report:
        with steps_of(f"writing {out.name}") as step:
            _tell(convert_checkpoint(folder, out, wish.form, source, step, wish.pre).warnings)
        _add_to_pack(wish, out, is_adapter=False)
        return
    exact = "f32" if wish.at_once else _exact(folder)
    # Beside the result, where there is room for it or nowhere.
    with tempfile.TemporaryDirectory(prefix=f".{out.stem}-", dir=out.parent) as place:
        full = Path(place) / f"{out.stem}.{exact}.gguf"
        with steps_of(f"writing {exact}") as step:
            written = convert_checkpoint(folder, full, exact, source, step, wish.pre)
        if wish.at_once:
            with steps_of(f"writing {out.name}") as step:
                written = convert_checkpoint(folder, out, wish.form, source, step, wish.pre)
        _tell(written.warnings)
        if not wish.at_once:
            _quantise(wish, full, out, Path(place))
        _add_to_pack(wish, out, is_adapter=False)  # whatever becomes of the report
        if wish.report:
            _report(full, out)


def _exact(folder: Path) -> str:
    """The type that loses nothing of what a checkpoint stores."""
    kinds = {tensor.kind for tensor in Checkpoint.open(folder).tensors.values() if tensor.is_float}
    return {frozenset({"BF16"}): "bf16", frozenset({"F16"}): "f16"}.get(frozenset(kinds), "f32")


def _quantise(wish: Wish, full: Path, out: Path, place: Path) -> None:
    from umi_local.backends.llama_cpp.quantise import quantise
    from umi_local.convert.vet import vet_gguf

    matrix = _matrix(wish.imatrix, full, place) if wish.imatrix else None
    with partial(out) as path, steps_of(f"quantising to {wish.form}") as step:
        quantise(full, path, wish.form, step, matrix)
        vet_gguf(path)


def _matrix(named: str, model: Path, place: Path) -> Path:
    """An importance matrix: one that is there, or made of a text or of the user's own runs."""
    from umi_local.backends.llama_cpp.imatrix import compute
    from umi_local.cli.convert_texts import own_text

    given = Path(named)
    if given.is_file() and _is_gguf(given):
        return given
    if named == "sessions":
        text = place / "sessions.txt"
        text.write_text(own_text(), encoding="utf-8")
    else:
        text = given
        if b"\0" in given.read_bytes()[:1_000_000]:
            raise UsageError(f"{named} is no text.", "--imatrix takes a text, an imatrix file (GGUF), or: sessions")
    matrix = place / "imatrix.gguf"
    with steps_of("reading for the importance matrix") as step:
        compute(model, text, matrix, step)
    return matrix


def _is_gguf(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"GGUF"


def _report(before: Path, after: Path) -> None:
    from umi_local.backends.llama_cpp.compare import compare
    from umi_local.cli.convert_texts import passages

    texts = passages(before)
    with steps_of("comparing") as step:
        costs = compare(before, after, texts, step)
    print(
        f"{'role':<12}{'tokens':>8}{'perplexity before':>19}{'after':>9}{'KL, nats':>11}{'same choice':>13}",
        file=sys.stderr,
    )
    for cost in costs:
        row = f"{cost.kind:<12}{cost.tokens:>8,}{cost.perplexity_before:>19.3f}{cost.perplexity_after:>9.3f}"
        print(f"{row}{cost.divergence:>11.5f}{100 * cost.same_choice:>11.1f} %", file=sys.stderr)


def _tell(warnings: Sequence[str]) -> None:
    for warning in dict.fromkeys(warnings):  # of two steps that say the same, once
        print(f"warning: {plain.printable(warning)}", file=sys.stderr)


def _add_to_pack(wish: Wish, out: Path, is_adapter: bool) -> None:
    from umi_local.convert.vet import vet_gguf
    from umi_local.own_packs import OwnModel, add_to_pack

    if not wish.pack:
        return
    model = wish.base if is_adapter and wish.base else out
    own = OwnModel(model, vet_gguf(model).context_length, out if is_adapter else None)
    add_to_pack(wish.pack, own, wish.roles)
    print(f'The pack {wish.pack} is ready: umi-local ask --pack {wish.pack} "..."', file=sys.stderr)
