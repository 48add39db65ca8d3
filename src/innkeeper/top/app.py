"""`inn top` on a terminal, by textual: a table that is brought up to date each second, and keys that act on the machine under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Label, Static
from textual.worker import get_current_worker

from innkeeper.errors import InnkeeperError
from innkeeper.top.rates import SHUT_OFF, Look, Rates, between
from innkeeper.top.table import BY_WORD, COLUMNS, DEFAULT_SORT, arranged, cells, exits

Act = Callable[[str], object]


class Source(Protocol):
    """Where looks come from; raises `InnkeeperError`."""

    def collect(self) -> list[Look]: ...


class Question(ModalScreen[bool]):
    """Yes or no, before something is lost."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "Yes"), ("n,escape", "answer(False)", "No")]
    DEFAULT_CSS = "Question { align: center middle; } Question Label { border: round $error; padding: 1 3; background: $surface; }"

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        yield Label(f"{self._words}\n\ny: yes   n: no", markup=False)

    def action_answer(self, yes: bool) -> None:  # noqa: FBT001 - what it is about
        self.dismiss(yes)


class Top(App[None]):
    """`acts` are done beside the screen, and `takeovers` instead of it: they have the terminal as long as they last."""

    TITLE = "inn top"
    CSS = """
    #summary { height: 1; background: $primary-background; padding: 0 1; }
    DataTable { height: 1fr; }
    #exits { height: 2; padding: 0 1; color: $text-muted; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "act('start')", "Start"),
        Binding("p", "act('shutdown')", "Shut down"),
        Binding("d", "destroy", "Destroy"),
        Binding("c", "take('console')", "Console"),
        Binding("v", "take('view')", "View"),
        Binding("o", "sort", "Sort"),
        Binding("r", "turn", "Reverse"),
        Binding("a", "idle", "All"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "unfilter", show=False),
        Binding("q", "quit", "Quit"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        source: Source,
        acts: Mapping[str, Act],
        takeovers: Mapping[str, Act],
        *,
        delay_s: float = 1.0,
        sort: str = DEFAULT_SORT,
        words: str = "",
    ) -> None:
        super().__init__()
        self._source, self._acts, self._takeovers = source, acts, takeovers
        self._delay_s, self._words = delay_s, words
        self._column, self._upwards, self._idle = BY_WORD[sort], False, True
        self._looks: list[Look] = []
        self._rates: list[Rates] = []
        self._trouble, self._looking = "", False
        self.table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=True)
        self._summary, self._exits = Static(id="summary", markup=False), Static(id="exits", markup=False)
        self._input = Input(value=words, placeholder="part of a name; Enter keeps it, Esc ends it")
        self._filter = Horizontal(id="filter")

    def compose(self) -> ComposeResult:
        yield self._summary
        yield self.table
        yield self._exits
        with self._filter:
            yield self._input
        yield Footer()

    def on_mount(self) -> None:
        for column in COLUMNS:
            self.table.add_column(column.head, key=column.head)
        self.table.focus()
        self.look()
        self.set_interval(self._delay_s, self.look)

    # ---- looking --------------------------------------------------------------------------------

    def look(self) -> None:
        """Unless the last look still goes on: then figures come later, not twice."""
        if not self._looking:
            self._looking = True
            self.collect()

    @work(thread=True, group="look")
    def collect(self) -> None:
        try:
            looks, trouble = self._source.collect(), ""
        except InnkeeperError as error:
            looks, trouble = [], str(error)
        finally:
            self._looking = False
        if not get_current_worker().is_cancelled:
            self.call_from_thread(self.learn, looks, trouble)

    def learn(self, looks: Sequence[Look], trouble: str = "") -> None:
        if not self.table.is_attached:
            return  # this is the end
        self._rates = between(self._looks, looks)
        self._looks, self._trouble = list(looks), trouble
        self.draw()

    def draw(self) -> None:
        shown = arranged(self._rates, self._column, words=self._words, upwards=self._upwards, idle=self._idle)
        chosen, table = self.chosen(), self.table
        names = [one.name for one in shown]
        if names != [str(key.value) for key in table.rows]:
            table.clear()
            for one in shown:
                table.add_row(*styled(one), key=one.name)
            if chosen in names:
                table.move_cursor(row=names.index(chosen))
        else:
            for one in shown:
                for column, cell in zip(COLUMNS, styled(one), strict=True):
                    if table.get_cell(one.name, column.head) != cell:
                        table.update_cell(one.name, column.head, cell, update_width=True)
        self._summary.update(self.summary())
        self.describe()

    def summary(self) -> str:
        if self._trouble:
            return self._trouble
        active = [one for one in self._rates if one.state != SHUT_OFF]
        order = f"by {COLUMNS[self._column].head}{' reversed' if self._upwards else ''}"
        words = f", named *{self._words}*" if self._words else ""
        cpu = sum(one.cpu_percent for one in active)
        return f"{len(self._rates)} machines, {len(active)} running, {cpu:.1f} % of a CPU; {order}{words}"

    def describe(self) -> None:
        name = self.chosen()
        one = next((one for one in self._rates if one.name == name), None)
        words = f"{one.name}: exits/s by kind: {exits(one)}" if one is not None and one.state != SHUT_OFF else ""
        self._exits.update(words)

    def on_data_table_row_highlighted(self) -> None:
        self.describe()

    def chosen(self) -> str | None:
        table = self.table
        if not table.is_valid_row_index(table.cursor_row):
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    # ---- keys -----------------------------------------------------------------------------------

    def action_act(self, what: str) -> None:
        if (name := self.chosen()) is not None:
            self.act(what, name)

    @work(thread=True, group="act")
    def act(self, what: str, name: str) -> None:
        try:
            self._acts[what](name)
        except InnkeeperError as error:
            self.call_from_thread(self.notify, str(error), severity="error", markup=False)
        else:
            self.call_from_thread(self.notify, f"{what} {name}", markup=False)

    def action_destroy(self) -> None:
        if (name := self.chosen()) is None:
            return

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - what it is about
            if yes:
                self.act("destroy", name)

        self.push_screen(Question(f"Pull the plug of {name}?"), answered)

    def action_take(self, what: str) -> None:
        if (name := self.chosen()) is None:
            return
        try:
            with self.suspend():
                self._takeovers[what](name)
        except InnkeeperError as error:
            self.notify(str(error), severity="error", markup=False)
        self.refresh(layout=True)

    def action_sort(self) -> None:
        order = list(BY_WORD.values())
        self._column = order[(order.index(self._column) + 1) % len(order)]
        self.draw()

    def action_turn(self) -> None:
        self._upwards = not self._upwards
        self.draw()

    def action_idle(self) -> None:
        self._idle = not self._idle
        self.draw()

    def action_filter(self) -> None:
        self._filter.add_class("shown")
        self._input.focus()

    def action_unfilter(self) -> None:
        self._input.value = ""
        self.hide_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value
        self.draw()

    def on_input_submitted(self) -> None:
        self.hide_filter()

    def hide_filter(self) -> None:
        self._filter.remove_class("shown")
        self.table.focus()


def styled(one: Rates) -> list[Text]:
    """Names as they are, whatever they look like; what does not run steps back."""
    style = "dim" if one.state == SHUT_OFF else ""
    return [
        Text(cell, style=style, justify="right" if column.is_number else "left")
        for cell, column in zip(cells(one), COLUMNS, strict=True)
    ]
