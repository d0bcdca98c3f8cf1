"""`umi-local convert alpha-umi`: the paper's own checkpoints as a pack."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import Annotated

import typer

_REPOSITORY = "hf:shenwzh3/alpha-umi-{role}-{size}"
_ROLES = ("planner", "caller", "summarizer")


class Size(StrEnum):
    small = "7b"
    large = "13b"


def alpha_umi(
    size: Annotated[Size, typer.Argument(metavar="7b|13b", help="Which of the paper's models.")] = Size.small,
    quant: Annotated[str, typer.Option("--quant", metavar="TYPE", help="The quantisation of all three.")] = "Q4_K_M",
    revision: Annotated[str, typer.Option("--revision", metavar="NAME", help="Of all three repositories.")] = "main",
) -> None:
    """\b
    Examples:
      umi-local convert alpha-umi 7b
      umi-local convert alpha-umi 13b --quant Q5_K_M

    Fetch the paper's planner, caller and summarizer (LLaMA-2, 13 or 26 GB each), convert them one after the other and
    make the pack alpha-umi-7b or alpha-umi-13b of them, in the paper's own prompt style.
    """
    from umi_local.backends.llama_cpp.quantise import checked
    from umi_local.cli.convert_run import Wish, converted
    from umi_local.convert.vet import vet_gguf
    from umi_local.own_packs import OwnModel, add_to_pack, check_name
    from umi_local.paths import models_dir, private_dir

    name = f"alpha-umi-{size}"
    check_name(name)
    form = quant.lower() if quant.lower() in ("f16", "bf16", "q8_0") else checked(quant, False)
    folder = private_dir(models_dir() / "own" / name)
    # What is here of one revision must not be taken for another's.
    tag = "" if revision == "main" else f"-{re.sub(r'[^0-9A-Za-z]+', '_', revision)}"
    for role in _ROLES:
        path = folder / f"{role}{tag}-{form}.gguf"
        if not path.is_file():
            print(f"{role}:", file=sys.stderr)
            source = f"{_REPOSITORY.format(role=role, size=size)}@{revision}"
            converted(Wish(source, path, form, None, "", (), "", False, ""))
        add_to_pack(name, OwnModel(path, vet_gguf(path).context_length), (role,), "alpha-umi")
    print(f'The pack {name} is ready: umi-local ask --pack {name} "..."', file=sys.stderr)
