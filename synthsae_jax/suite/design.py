"""An experiment as data: its arms, what it trains and measures, its numbers, claims and page."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from synthsae_jax.errors import require, unknown_name
from synthsae_jax.io.rows import Row, column
from synthsae_jax.registry import Explanation
from synthsae_jax.suite.base import Benchmark, Cell, Tick, benchmarks
from synthsae_jax.suite.claims import Claim
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import Training, cost_of
from synthsae_jax.suite.needs import Name, Where
from synthsae_jax.suite.observation import DIVERGED, Number, Observation, Side, rows_of
from synthsae_jax.suite.quantity import Quantity
from synthsae_jax.suite.quantity import reads as reads_of
from synthsae_jax.suite.scale import Scale
from synthsae_jax.suite.seeds import world_seed

# the name of the row that says of a run that it diverged, whatever else was observed of it
LOST = ("trained", "run")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One setting of an experiment; subclass it for typed settings."""

    name: str

    def columns(self) -> dict[str, Any]:
        """Columns (or factors) that every row of the arm carries."""
        return {"arm": self.name}

    def levels(self, scale: Scale) -> Mapping[str, Sequence[Any]]:
        """Columns of which its rows have several values, where these are not those of all arms."""
        return {}

    def spec(self) -> dict[str, Any]:
        """What of it the numbers depend on, as JSON-able values."""
        return dataclasses.asdict(self)


class Page(Protocol):
    """What a design's page must tell of itself (`report.design_page.Page`)."""

    def quantities(self) -> Sequence[Quantity]:
        """Everything that it prints."""
        ...


@dataclasses.dataclass(frozen=True)
class Design:
    """A registered experiment.

    A cell is one world and one arm; cells of different worlds take turns, so that any prefix is
    balanced. `train(context)` says what a cell will train, which is its cost; `measure(context,
    arm)` trains it (`context.train`) and yields the observations. Rows are stored of those numbers
    that a quantity reads: one of `quantities` (the first is the primary number), of a claim or of
    the page.
    """

    id: str  # "drivers@1": whatever could move its numbers moves the version
    title: str
    question: str
    explanation: Explanation
    scales: Mapping[str, Scale]
    arms: Callable[[Scale], Sequence[Arm]]  # all arms of a scale; `Scale.arms` selects of them
    train: Callable[[Context], Sequence[Training]]
    measure: Callable[[Context, Any], Iterable[Observation]]
    quantities: tuple[Quantity, ...]
    claims: tuple[Claim, ...] = ()
    page: Page | None = None
    # values that columns of rows may take besides those of arms; they tell a misspelt one
    levels: Callable[[Scale], Mapping[str, Sequence[Any]]] = lambda scale: {}
    # per arm: the sizes it runs at, where these are not the scale's (another preset, ...)
    sizes: Callable[[Any, Any], Scale] = lambda scale, arm: scale
    # per arm: what its training changes of the scale's (samples, learning rate, snapshots, ...)
    config: Callable[[Scale, Any], Mapping[str, Any]] = lambda scale, arm: {}
    pairs: Callable[[Context], int] = lambda context: 1  # pairs of SAEs that a cell scores
    measured_with: tuple[str, ...] = ("reading", "sampling")  # programs besides the trainings

    @property
    def primary(self) -> Quantity:
        """The one number that stands for the benchmark."""
        return self.quantities[0]

    def all_quantities(self) -> tuple[Quantity, ...]:
        """Its own, those of its claims and those of its page."""
        of_claims = tuple(q for claim in self.claims for q in claim.quantities())
        of_page = tuple(self.page.quantities()) if self.page else ()
        return (*self.quantities, *of_claims, *of_page)

    @functools.cached_property
    def reads(self) -> dict[Name, tuple[Where, ...]]:
        """(metric, variant) of every row that is stored, and who reads it."""
        return {**reads_of(self.all_quantities()), LOST: ((),)}

    def arms_of(self, scale: Scale) -> tuple[Arm, ...]:
        """The arms that run at a scale, in order. Raises for a name that no arm has."""
        every = {arm.name: arm for arm in self.arms(scale)}
        wanted = tuple(every) if scale.arms is None else scale.arms
        for name in wanted:
            if name not in every:
                raise unknown_name(f"arm of {self.id}", name, every)
        return tuple(every[name] for name in wanted)

    def contexts(self, scale: str, salt: str) -> list[Context]:
        """The cells' contexts, worlds taking turns."""
        size = self.scales[scale]
        arms = self.arms_of(size)
        return [
            Context(
                design=self.id,
                scale=self.sizes(size, arm),
                arm=arm,
                world_seed=world_seed(self.id, salt, world),
                world_index=world,
                cell=world * len(arms) + i,
                config=self.sizes(size, arm).train_config(**self.config(size, arm)),
            )
            for i, arm in enumerate(arms)
            for world in range(size.worlds)
        ]

    def cells(self, scale: str, salt: str) -> list[Cell]:
        """The work of a scale."""
        return [self._cell(context) for context in self.contexts(scale, salt)]

    def rows(self, context: Context, unread: set[Name] | None = None) -> list[Row]:
        """All rows of a cell: one loop for every experiment.

        Names of numbers that are measured and that nobody reads are added to `unread`.
        """
        shared = {**context.shared.columns(), **self._columns(context.arm)}
        rows: list[Row] = []
        seen: set[str] = set()
        for observation in self.measure(context, context.arm):
            if not observation.group:
                seen |= {side.columns["run_id"] for side in observation.sides}
            rows += rows_of(observation, shared, self.reads, unread)
        # a diverged run is never silent, whatever the experiment did with it
        for side in context.ledger.sides:
            if side.status != "ok" and side.columns["run_id"] not in seen:
                rows += rows_of(_lost(side), shared, self.reads)
        return rows

    def benchmark(self) -> Benchmark:
        """The design as what `suite.run` runs."""
        return Benchmark(
            id=self.id,
            title=self.title,
            question=self.question,
            primary=self.primary.title,
            sizes={name: dataclasses.asdict(scale) for name, scale in self.scales.items()},
            cells=self.cells,
            claims=self.claims,
            design=self,
        )

    def _columns(self, arm: Arm) -> dict[str, Any]:
        return {column(name): value for name, value in arm.columns().items()}

    def _cell(self, context: Context) -> Cell:
        trainings = self.train(context)
        cost = cost_of(trainings)

        def compute(tick: Tick) -> list[Row]:
            # each attempt keeps its own books
            fresh = dataclasses.replace(context, tick=tick, ledger=type(context.ledger)())
            return self.rows(fresh)

        return Cell(
            name=f"world{context.world_index}/{context.arm.name}",
            spec={
                **context.scale.spec(),
                "arm": context.arm.spec(),
                "world_seed": context.world_seed,
                "seeds": {"world": context.world_seed},
            },
            compute=compute,
            runs=cost.saes,
            samples=round(cost.samples / cost.saes) if cost.saes else 0,
            flops=cost.flops,
            memory=cost.memory,
            programs=(*(f"{name}: training" for name in cost.programs), *self.measured_with),
            pairs=self.pairs(context),
        )


def register(design: Design) -> Design:
    """Make an experiment known to `suite.run`, `list`, `explain` and the command line."""
    require(bool(design.quantities), f"{design.id}: a design needs a primary number.")
    benchmarks.register(design.id, design.explanation)(design.benchmark())
    return design


def _lost(side: Side) -> Observation:
    metric, variant = LOST
    return Observation((side,), lambda: [Number(variant, metric, float("nan"), DIVERGED)])
