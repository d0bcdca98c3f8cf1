"""`umi-local convert`: a Hugging Face checkpoint or a PEFT adapter as GGUF."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from umi_local.cli.convert_alpha_umi import alpha_umi


class _Sources(TyperGroup):
    """`convert SOURCE` is short for `convert file SOURCE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["file", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Sources,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""\b
    Examples:
      umi-local convert my-model --out my-model.gguf
      umi-local convert hf:Qwen/Qwen2.5-0.5B-Instruct@main --quant Q4_K_M --pack mine
      umi-local convert my-planner --quant q8_0 --pack mine --role planner
      umi-local convert my-lora --base my-model.gguf --out my-lora.gguf
      umi-local convert merge my-lora --base my-model.gguf --out merged.gguf
      umi-local convert alpha-umi 7b

    Turn a Hugging Face checkpoint (a folder, or hf:OWNER/NAME@REVISION) or a PEFT adapter into GGUF. Weights are
    read from safetensors only; no pickle is opened, no code of the model and no template is run.
    """,
)


@app.callback()
def _ends_tidily() -> None:
    # Without this, `kill` would leave half a file behind; Ctrl+C is an exception by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class PlayedRole(StrEnum):
    planner = "planner"
    caller = "caller"
    summarizer = "summarizer"
    single = "single"


Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The GGUF to write; it must not be there yet.")]
Base = Annotated[Path | None, typer.Option("--base", metavar="GGUF", help="The model that an adapter goes with.")]
Quant = Annotated[
    str, typer.Option("--quant", metavar="TYPE", help="f32, f16, bf16, q8_0, or any of llama.cpp's, such as Q4_K_M.")
]


@app.command("file", short_help="Convert a checkpoint or an adapter.")
def file(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, or hf:OWNER/NAME@REVISION.")],
    out: Out = None,
    quant: Quant = "f16",
    base: Base = None,
    pack: Annotated[
        str, typer.Option("--pack", metavar="NAME", help="Make or change a pack of your own with it.")
    ] = "",
    role: Annotated[
        list[PlayedRole] | None, typer.Option("--role", help="Which roles of the pack it plays; else all.")
    ] = None,
    imatrix: Annotated[
        str,
        typer.Option("--imatrix", metavar="FILE|sessions", help="A text, an imatrix of llama.cpp's, or your own runs."),
    ] = "",
    report: Annotated[bool, typer.Option("--report", help="Measure per role what the quantisation cost.")] = False,
    pre: Annotated[
        str, typer.Option("--pre", metavar="NAME", help="llama.cpp's name for how the tokenizer cuts text, if unknown.")
    ] = "",
) -> None:
    """\b
    Examples:
      umi-local convert my-model --out my-model.gguf
      umi-local convert my-model --quant Q4_K_M --imatrix sessions --report --out small.gguf
      umi-local convert my-planner --quant q8_0 --pack mine --role planner

    Convert one source and print the file that was written.
    """
    from umi_local.cli.convert_run import Wish, converted

    roles = tuple(role.value for role in role or ())
    typer.echo(str(converted(Wish(source, out, quant, base, pack, roles, imatrix, report, pre))))


@app.command(short_help="Fold an adapter into its base.")
def merge(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="The folder of a PEFT adapter.")],
    base: Annotated[Path, typer.Option("--base", metavar="GGUF|FOLDER", help="The model that it goes with.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The GGUF to write; it must not be there yet.")],
    quant: Quant = "f16",
) -> None:
    """\b
    Examples:
      umi-local convert merge my-lora --base my-model.gguf --out merged.gguf
      umi-local convert merge my-lora --base my-checkpoint --quant q8_0 --out merged.gguf

    Add an adapter to its base's weights. In a GGUF base only the weights that change are written as --quant.
    """
    from umi_local.cli.convert_run import merged

    typer.echo(str(merged(adapter, base, out, quant)))


app.command("alpha-umi", short_help="Set up the paper's three checkpoints as a pack.")(alpha_umi)
