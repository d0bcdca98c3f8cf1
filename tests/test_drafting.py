"""Text that is copied from the prompt is proposed and verified, and nothing else changes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from umi_local.backends.llama_cpp.client import LlamaCppBackend
from umi_local.backends.llama_cpp.drafting import Lookup, Payoff
from umi_local.backends.llama_cpp.spec import Features, ModelSpec
from umi_local.messages import Completion, Constraint, Prompt, Role, Sampling, Segment

Write = Callable[..., Completion]


def after(*tokens: int) -> list[int]:
    lookup = Lookup()
    lookup.extend(tokens)
    return lookup.propose()


def test_what_followed_the_last_tokens_before_is_proposed() -> None:
    assert after(1, 2, 3, 4, 5, 9, 1, 2) == [3, 4, 5, 9, 1, 2]
    assert after(1, 2, 3, 4, 5) == []
    assert after() == []


def test_the_longest_match_is_believed_and_of_equal_ones_the_last() -> None:
    assert after(7, 1, 2, 50, 8, 1, 2, 60, 7, 1, 2)[0] == 50
    assert after(1, 2, 50, 1, 2, 60, 1, 2)[0] == 60


def test_a_draft_is_bounded() -> None:
    assert len(after(*range(100), 0, 1)) <= 8


def test_drafts_that_do_not_pay_are_given_up_and_tried_again_later() -> None:
    payoff = Payoff()
    for _ in range(3):
        assert payoff.worth_it
        payoff.drafted(proposed=4, accepted=1)
    assert not payoff.worth_it
    for _ in range(30):
        payoff.stepped()
    assert payoff.worth_it


def test_drafts_that_pay_go_on() -> None:
    payoff = Payoff()
    for _ in range(10):
        payoff.drafted(proposed=4, accepted=3)
    assert payoff.worth_it


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def written_with(model: Path) -> Iterator[Callable[[Features], Write]]:
    """Writes behind a text with some features on; one process for each combination."""
    backends: dict[Features, LlamaCppBackend] = {}

    def using(features: Features) -> Write:
        if features not in backends:
            backends[features] = LlamaCppBackend({Role.CALLER: ModelSpec(str(model), threads=1)}, features=features)

        def write(text: str, grammar: str = "", **sampling: float) -> Completion:
            prompt = Prompt((Segment(text, False),), (Segment("<|im_start|>", True),))
            constraint = Constraint(grammar) if grammar else None
            return backends[features].complete(Role.CALLER, prompt, constraint, Sampling(**sampling))  # type: ignore[arg-type]

        return write

    yield using
    for backend in backends.values():
        backend.close()


TEXT = "The harbour lies north of the town. The harbour lies north of the hill. "
COPY = 'start: ("The harbour " | "lies north " | "of the " | /[a-z]{2,6} /){4,12} "."\n'


@pytest.mark.parametrize("grammar", ["", COPY])
@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.9, "seed": 3}], ids=["likeliest", "sampled"])
@pytest.mark.parametrize("limit", [1, 7, 60])
def test_the_text_is_the_same_with_and_without_drafts(
    written_with: Callable[[Features], Write], grammar: str, sampling: dict[str, float], limit: int
) -> None:
    for text in (TEXT, TEXT * 3, "xy" * 40):
        plain = written_with(Features(drafting=False))(text, grammar, max_tokens=limit, **sampling)
        drafted = written_with(Features())(text, grammar, max_tokens=limit, **sampling)
        assert drafted.text == plain.text
        assert drafted.finished == plain.finished
        assert drafted.usage.sampled + drafted.usage.forced == plain.usage.sampled + plain.usage.forced
        assert plain.usage.drafted == 0
        assert drafted.usage.accepted <= drafted.usage.drafted


def test_a_text_that_repeats_itself_is_written_in_fewer_steps(written_with: Callable[[Features], Write]) -> None:
    # Nothing is forced here, so that the model itself has to agree.
    grammar = 'start: "go: " /(The harbour lies north of the (town|hill)\\. ){3}/\n'
    usage = written_with(Features(forcing=False))(TEXT * 4, grammar).usage
    assert usage.accepted > 10


@pytest.mark.parametrize("off", ["forcing", "sharing", "drafting"])
def test_each_feature_can_be_switched_off_without_changing_the_text(
    written_with: Callable[[Features], Write], off: str
) -> None:
    everything, without = written_with(Features()), written_with(Features(**{off: False}))
    everything(TEXT, COPY)
    without(TEXT, COPY)
    one, other = everything(TEXT, COPY), without(TEXT, COPY)
    assert one.text == other.text
    assert (other.usage.reused == 0) == (off == "sharing")
    assert (other.usage.forced == 0) == (off == "forcing")
    assert one.usage.forced > 0
