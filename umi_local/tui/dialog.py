"""What opens over the transcript stands in a box that always shows all of its parts."""

from __future__ import annotations

from textual.containers import Vertical
from textual.screen import ModalScreen, ScreenResultType

_SMALL = (70, 24)  # columns and rows below which everything but what is asked makes way
_SHARE = 0.85  # of the rows, for a box on a screen that is not small
_FEWEST = 3  # rows of what scrolls, however small the screen is


class Dialog(Vertical):
    """A box whose `.fills` part takes what the others leave, and scrolls."""

    def fit(self) -> None:
        """Give that part its rows: no rule of a style sheet knows how many the others take."""
        rows = self.screen.size.height * (1 if self.screen.has_class("small") else _SHARE)
        others = [child for child in self.children if child.display and not child.has_class("fills")]
        taken = sum(child.outer_size.height + child.styles.margin.height for child in others)
        for part in self.query_children(".fills"):
            left = int(rows) - self.gutter.height - taken - part.styles.margin.height
            part.styles.max_height = max(_FEWEST, left)

    def on_resize(self) -> None:
        self.fit()


class DialogScreen(ModalScreen[ScreenResultType]):
    """A screen with one `Dialog` on it."""

    def on_resize(self) -> None:
        self.set_class(self.size.width < _SMALL[0] or self.size.height < _SMALL[1], "small")
        self.call_after_refresh(self.fit)

    def fit(self) -> None:
        """Lay the box out anew, once the sizes of its parts are known."""
        for dialog in self.query(Dialog):
            dialog.fit()
