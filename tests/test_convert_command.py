"""`umi-local convert`, driven as a user does: quantising, reports, packs, hubs, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import numpy as np
import pytest
from tiny_checkpoints import WORDS, save_model, save_tokenizer
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from umi_local.backends.llama_cpp import worker
from umi_local.backends.llama_cpp.imatrix import write_imatrix
from umi_local.cli import convert_run, convert_texts
from umi_local.cli.convert import app
from umi_local.convert.vet import vet_gguf
from umi_local.errors import ModelCorrupt, ModelFailed, ModelMissing, OutOfMemory, UsageError
from umi_local.messages import Role
from umi_local.packs import load_pack
from umi_local.pull import ensure_verified
from umi_local.pull.progress import Progress, Stage
from umi_local.pull.repository import Repository, fetch
from umi_local.records import parse_record


def run(*arguments: object) -> tuple[str, str]:
    """What the command writes to stdout and stderr; what it raises is raised."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip(), result.stderr


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for llama.cpp's quantisations, whose blocks have 256 numbers."""
    folder = tmp_path_factory.mktemp("checkpoint") / "wide"
    save_model(folder, "qwen2", hidden_size=256, intermediate_size=256, num_hidden_layers=2)
    save_tokenizer(folder)
    return folder


def types(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


def kinds(path: Path) -> set[str]:
    return set(types(path).values())


def test_the_file_is_written_and_named(checkpoint: Path, tmp_path: Path) -> None:
    out, _ = run(checkpoint, "--out", tmp_path / "model.gguf")
    assert out == str(tmp_path / "model.gguf")
    assert kinds(tmp_path / "model.gguf") == {"F16", "F32"}


@pytest.mark.parametrize("quant", ["Q4_K_M", "q5_k_m", "IQ4_XS"])
def test_llama_cpps_own_quantisations_are_made(quant: str, checkpoint: Path, tmp_path: Path) -> None:
    run(checkpoint, "--quant", quant, "--out", tmp_path / "model.gguf")
    assert kinds(tmp_path / "model.gguf") & {"Q4_K", "Q5_K", "IQ4_XS"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    assert "umi_local.convert.source" in vet_gguf(tmp_path / "model.gguf").metadata


@pytest.mark.parametrize("name", ["qwen2", "qwen3-moe"])
def test_an_importance_matrix_of_a_text_changes_what_is_kept(name: str, tmp_path: Path) -> None:
    save_model(tmp_path / "model", name, hidden_size=256, intermediate_size=256, num_hidden_layers=2)
    save_tokenizer(tmp_path / "model")
    (tmp_path / "text.txt").write_text("".join(WORDS) * 20)
    for file, more in (("without.gguf", ()), ("with.gguf", ("--imatrix", tmp_path / "text.txt"))):
        run(tmp_path / "model", "--quant", "q4_k_m", "--out", tmp_path / file, *more)
    one, other = (gguf.GGUFReader(tmp_path / file).tensors for file in ("without.gguf", "with.gguf"))
    assert {tensor.name for tensor in one} == {tensor.name for tensor in other}
    different = [a.name for a, b in zip(one, other, strict=True) if a.data.tobytes() != b.data.tobytes()]
    assert {"blk.0.ffn_down.weight", "blk.0.ffn_down_exps.weight"} & set(different)


def test_a_report_tells_per_role_what_the_quantisation_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A stored run that makes no sample: its tool is not listed.
    step = {"tool": "gone", "arguments": {}, "observation": "1"}
    line = {"id": "r", "source": "s", "tools": [], "history": [], "query": "q", "steps": [step], "answer": "1"}
    monkeypatch.setattr(convert_texts, "own_runs", lambda: [parse_record(json.dumps(line))])
    save_model(tmp_path / "model", "qwen2", hidden_size=256, intermediate_size=256, max_position_embeddings=8192)
    save_tokenizer(tmp_path / "model")
    _, told = run(tmp_path / "model", "--quant", "q4_k_m", "--report", "--out", tmp_path / "model.gguf")
    rows = {row.split()[0]: row.split() for row in told.splitlines() if row.startswith(("planner", "caller", "summ"))}
    assert set(rows) == {"planner", "caller", "summarizer"}
    for row in rows.values():
        assert int(row[1].replace(",", "")) > 50
        assert 0 < float(row[4]) < 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".gguf"] == ["model.gguf"]


def test_the_warnings_are_those_of_what_is_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import LoraConfig, get_peft_model
    from safetensors.numpy import load_file, save_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "lora")
    large = Path(shutil.copytree(checkpoint, tmp_path / "large"))
    tensors = load_file(large / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6  # more than float16 holds
    save_file(tensors, large / "model.safetensors")
    monkeypatch.setattr(convert_run, "_report", lambda *_: None)
    for arguments in (
        (large, "--quant", "f16", "--report", "--out", tmp_path / "model.gguf"),
        ("merge", tmp_path / "lora", "--base", large, "--out", tmp_path / "merged.gguf"),
    ):
        _, told = run(*arguments)
        assert told.count("1 tensors hold numbers too large for the type, as 'blk.0.ffn_up.weight'") == 1


def test_a_pack_of_ones_own_grows_role_by_role(checkpoint: Path, tmp_path: Path) -> None:
    _, told = run(checkpoint, "--quant", "q8_0", "--pack", "mine")
    assert "umi-local ask --pack mine" in told
    run(checkpoint, "--quant", "f16", "--pack", "mine", "--role", "planner", "--out", tmp_path / "planner.gguf")
    pack = load_pack("mine")
    assert ensure_verified(pack.model(Role.PLANNER)) == tmp_path / "planner.gguf"
    assert ensure_verified(pack.model(Role.CALLER)).name == "wide-q8_0.gguf"
    assert pack.context == 512
    (tmp_path / "planner.gguf").unlink()
    with pytest.raises(ModelMissing):
        ensure_verified(pack.model(Role.PLANNER))


def test_an_adapter_becomes_a_pack_on_its_base(checkpoint: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "lora")
    run(checkpoint, "--out", tmp_path / "base.gguf")
    run(tmp_path / "lora", "--base", tmp_path / "base.gguf", "--pack", "tuned", "--out", tmp_path / "lora.gguf")
    pack = load_pack("tuned")
    for name in ("config.json", "tokenizer.json"):  # as trainers leave them beside an adapter
        shutil.copy(checkpoint / name, tmp_path / "lora" / name)
    run(tmp_path / "lora", "--base", tmp_path / "base.gguf", "--out", tmp_path / "again.gguf")
    adapter = pack.adapter(Role.CALLER)
    assert adapter is not None
    assert ensure_verified(adapter) == tmp_path / "lora.gguf"
    out, _ = run("merge", tmp_path / "lora", "--base", checkpoint, "--quant", "q8_0", "--out", tmp_path / "merged.gguf")
    run(checkpoint, "--quant", "q8_0", "--out", tmp_path / "q8.gguf")
    assert types(Path(out)) == types(tmp_path / "q8.gguf")
    hashed = gguf.GGUFReader(out).get_field("umi_local.convert.sha256")
    assert hashed is not None
    names = {line.split("  ")[1] for line in hashed.contents()}
    assert {"adapter_model.safetensors", "model.safetensors", "config.json"} <= names


def test_a_conversion_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    save_model(tmp_path / "model", "llama", num_hidden_layers=2, intermediate_size=187_500)
    save_tokenizer(tmp_path / "model")
    (tmp_path / "out").mkdir()
    command = (
        sys.executable,
        "-P",
        "-m",
        "umi_local",
        "convert",
        tmp_path / "model",
        "--out",
        tmp_path / "out/model.gguf",
    )
    with subprocess.Popen([*map(str, command), "--quant", "q8_0"]) as process:
        while not any((tmp_path / "out").iterdir()):
            assert process.poll() is None
            time.sleep(0.005)
        process.terminate()
        assert process.wait(60) == 128 + 15
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{m}",), "--out FILE"),
        (("{m}", "--quant", "Q9", "--out", "x.gguf"), "no quantisation 'Q9'"),
        (("{m}", "--quant", "IQ2_XS", "--out", "x.gguf"), "--imatrix"),
        (("{m}", "--quant", "q8_0", "--imatrix", "a.txt", "--out", "x.gguf"), "no importance matrix"),
        (("{m}", "--quant", "q4_k_m", "--imatrix", "a.txt", "--out", "x.gguf"), "no file a.txt"),
        (("{m}", "--role", "planner", "--out", "x.gguf"), "--pack NAME"),
        (("{m}", "--pack", "qwen2.5-coder-0.5b"), "comes with umi-local"),
        (("{m}", "--pack", "../x"), "cannot be called"),
        (("{m}", "--base", "x.gguf", "--out", "x.gguf"), "for adapters"),
        (("hf:nothing", "--out", "x.gguf"), "hf:OWNER/NAME"),
    ],
)
def test_what_makes_no_sense_is_said_before_any_work(
    arguments: tuple[str, ...], words: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        run(*(argument.format(m=checkpoint) for argument in arguments))
    assert not (tmp_path / "x.gguf").exists()


@pytest.mark.parametrize("counts", [[], [[1.0], [2.0]]], ids=["no matrix", "counts that do not fit"])
def test_a_wrong_importance_matrix_is_told_before_any_work(
    counts: list[list[float]], checkpoint: Path, tmp_path: Path
) -> None:
    matrix = tmp_path / "matrix.gguf"
    if counts:
        sums = {"blk.0.ffn_down.weight": np.ones((1, 3), np.float32)}
        write_imatrix(matrix, sums, {name: np.array(counts, np.float32) for name in sums}, "text", 1, 512)
    else:
        write_tiny_model(matrix)
    with pytest.raises(ModelCorrupt, match=r"do not fit each other" if counts else r"is no importance matrix"):
        run(checkpoint, "--quant", "q4_k_m", "--imatrix", matrix, "--out", tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_a_worker_that_is_killed_or_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def child(program: str) -> None:
        monkeypatch.setattr(worker, "argv_of", lambda *_: [sys.executable, "-c", program])

    child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(OutOfMemory, match=r"It cannot be done: the process was killed.*Close other programs"):
        list(worker.lines_of("It cannot be done", "any"))
    child("print(1); raise ValueError('why')")
    with pytest.raises(ModelFailed, match="It cannot be done: ValueError: why"):
        list(worker.lines_of("It cannot be done", "any"))
    file = tmp_path / "late"
    child(f"import time; print(1, flush=True); time.sleep(3); open({str(file)!r}, 'w')")
    lines = worker.lines_of("It cannot be done", "any")
    assert next(lines).strip() == b"1"
    began = time.monotonic()
    lines.close()  # as Ctrl-C does
    assert time.monotonic() - began < 2
    assert not file.exists()


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as a fetch uses, over the files of one folder."""

    folder: Path
    large = ("model.safetensors",)
    spoilt = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/someone/model/revision/"):
            self._send(json.dumps({"sha": "0123abcd" * 5, "siblings": [*map(self._listed, self._files())]}).encode())
        elif path.startswith(f"/someone/model/resolve/{'0123abcd' * 5}/"):
            name = path.rpartition("/")[2]
            data = (self.folder / name).read_bytes()
            self._send(data[:-1] + b"!" if name == self.spoilt else data)
        else:
            self.send_error(404)

    def _files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def _listed(self, path: Path) -> dict[str, object]:
        data = path.read_bytes()
        found: dict[str, object] = {"rfilename": path.name, "size": len(data)}
        if path.name in self.large:
            found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest()}
        found["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return found

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    kind = type("Hub", (_Hub,), {"folder": checkpoint})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield kind
    server.shutdown()


def test_a_repository_is_fetched_checked_and_converted(hub: type[_Hub], tmp_path: Path) -> None:
    out, _ = run("hf:someone/model@main", "--out", tmp_path / "model.gguf")
    metadata = vet_gguf(Path(out)).metadata
    assert metadata["umi_local.convert.source"] == "hf:someone/model"
    assert metadata["umi_local.convert.revision"] == "0123abcd" * 5


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_promised_are_not_kept(name: str, hub: type[_Hub], tmp_path: Path) -> None:
    from umi_local.errors import ModelCorrupt

    hub.spoilt = name
    with pytest.raises(ModelCorrupt, match=name):
        run("hf:someone/model", "--out", tmp_path / "model.gguf")
    hub.spoilt = ""
    run("hf:someone/model", "--out", tmp_path / "model.gguf")


def test_weights_that_a_repository_holds_twice_are_fetched_once(
    hub: type[_Hub], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = tmp_path / "twice"
    shutil.copytree(checkpoint, twice)
    shutil.copy(twice / "model.safetensors", twice / "consolidated.safetensors")
    hub.folder = twice
    monkeypatch.setenv("UMI_LOCAL_HOME", str(tmp_path / "home"))
    run("hf:someone/model", "--out", tmp_path / "model.gguf")
    fetched = {path.name for path in (tmp_path / "home").rglob("*.safetensors")}
    assert fetched == {"model.safetensors"}


def test_of_two_fetches_at_once_one_waits_for_the_other(
    hub: type[_Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMI_LOCAL_HOME", str(tmp_path / "home"))
    asked, let_go = threading.Event(), threading.Event()
    weights: list[str] = []
    answer = hub.do_GET

    def slow(self: _Hub) -> None:
        if "/resolve/" in self.path:
            asked.set()
            let_go.wait(30)
            weights.extend(["fetched"] if "model.safetensors" in self.path else [])
        answer(self)

    monkeypatch.setattr(hub, "do_GET", slow)
    stages: list[Stage] = []

    def told(progress: Progress) -> None:
        stages.append(progress.stage)
        if progress.stage is Stage.WAITING:
            let_go.set()

    repository = Repository.named("hf:someone/model")
    found: list[Path] = []
    first = threading.Thread(target=lambda: found.append(fetch(repository, lambda _: None)[0]))
    first.start()
    assert asked.wait(30)
    found.append(fetch(repository, told)[0])
    first.join(30)
    assert found[0] == found[1]
    assert Stage.WAITING in stages
    assert weights == ["fetched"]  # the second found what the first had fetched


def test_a_repository_that_is_not_there_is_said(hub: type[_Hub], tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no someone/else"):
        run("hf:someone/else", "--out", tmp_path / "model.gguf")


def test_the_papers_checkpoints_become_a_pack(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    from umi_local.cli import convert_alpha_umi

    monkeypatch.setattr(convert_alpha_umi, "_REPOSITORY", "hf:someone/model")
    run("alpha-umi", "7b", "--quant", "q8_0")
    pack = load_pack("alpha-umi-7b")
    assert pack.style == "alpha-umi"
    assert {ensure_verified(pack.model(role)).name for role in (Role.PLANNER, Role.CALLER, Role.SUMMARIZER)} == {
        "planner-q8_0.gguf",
        "caller-q8_0.gguf",
        "summarizer-q8_0.gguf",
    }
