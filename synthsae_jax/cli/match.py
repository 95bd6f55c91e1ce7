"""The command `synthsae match`: its arguments, and what it prints of the record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from synthsae_jax.cli.arguments import File, writable_file
from synthsae_jax.cli.output import say
from synthsae_jax.errors import ConfigError

Files = tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Match:
    """Match the latents of two SAEs or more: all pairs with their credence, and what every
    published protocol says, with its nulls."""

    saes: Positional[Annotated[Files, arg(metavar="SAE SAE [SAE ...]")]]
    """Folders of SAELens, or .npz or .safetensors files of plain arrays (W_dec, W_enc, ...)."""
    acts: Annotated[Files, arg(metavar="A.npy ...")] = ()
    """Model activations [n, D] on paired tokens: one file per SAE, or one for all."""
    codes: Annotated[Files, arg(metavar="A.npz ...")] = ()
    """Latents [n, L] on paired tokens, one file per SAE (scipy.sparse.save_npz, or .npy)."""
    weights_only: bool = False
    """Compare directions alone; the SAEs must read one activation space."""
    out: File = None
    """Write the whole record as JSON to this file."""
    page: File = None
    """Write a page of figures and tables to this file (HTML)."""
    prior: Annotated[str, arg(metavar="P|estimate")] = "estimate"
    """How likely a best partner is the true one before its score is seen: in (0, 1)."""
    protocols: Annotated[str, arg(metavar="NAME,...")] = ""
    """Which protocols to run; all that apply if not given, none for 'none'."""
    draws: int = 99
    """Draws of each null (0: none); fewer where they would take minutes."""
    seed: int = 0
    """Which draws, and which tokens where not all can be used."""
    threshold: float | None = None
    """Pairs that score as much are counted; .7 for cosines if not given."""
    same_space: Literal["auto", "yes", "no"] = "auto"
    """Do the SAEs read one activation space? auto: those that read one file of --acts do."""

    def run(self) -> None:
        for path in (self.out, self.page):
            writable_file(path)
        from synthsae_jax import match

        record = match.match_saes(
            self.saes,
            acts=self.acts,
            codes=self.codes,
            weights_only=self.weights_only,
            prior=_prior(self.prior),
            protocols=_names(self.protocols),
            draws=self.draws,
            seed=self.seed,
            threshold=self.threshold,
            same_space=self.same_space,
            quiet=False,
        )
        if self.out is not None:
            match.write_match(self.out, record)
        if self.page is not None:
            from synthsae_jax.match.page import write_match_page

            write_match_page(self.page, record)
        _show(record)
        for what, path in (("record", self.out), ("page", self.page)):
            if path is not None:
                say(f"The {what}: {path}")


def _prior(word: str) -> float | str:
    if word == "estimate":
        return word
    try:
        return float(word)
    except ValueError:
        raise ConfigError(
            f"--prior takes a number in (0, 1) or 'estimate'; got {word!r}."
        ) from None


def _names(words: str) -> tuple[str, ...] | None:
    if not words:
        return None
    return () if words == "none" else tuple(n for n in words.replace(" ", "").split(",") if n)


def _show(record: Mapping[str, Any]) -> None:
    from rich.console import Console

    from synthsae_jax.report import tables

    console = Console(highlight=False, soft_wrap=False)
    for line in _lines(record):
        say(line)
    for pair in record["pairs"]:
        if pair["summary"]:
            a, b = (record["provenance"]["saes"][pair[side]]["name"] for side in "ab")
            console.print()
            console.print(tables.to_rich(tables.plain(pair["summary"], title=f"{a} and {b}")))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    """What was matched, in a sentence per pair, and what three SAEs say together."""
    names = [sae["name"] for sae in record["provenance"]["saes"]]
    widths = [sae["d_sae"] for sae in record["provenance"]["saes"]]
    for pair in record["pairs"]:
        a, b = pair["a"], pair["b"]
        sentence = (
            f"{names[a]} ({widths[a]} latents) and {names[b]} ({widths[b]}): {pair['matched']} "
            f"pairs by {pair['score'].replace('_', ' ')}"
        )
        if pair["threshold"] is not None:
            sentence += f", {pair['above_threshold']} of them at {pair['threshold']:g} or above"
        n_credible = pair["with_credence"]
        if n_credible:
            sentence += (
                f"; {pair['expected_same']:.1f} of {n_credible} with a credence are expected true"
            )
        yield sentence + "."
        for reason, count in pair["no_credence"].items():
            yield f"  no credence for {count}: {reason}"
    if record["many"] is not None:
        mean = record["many"]["mean"]
        share = mean["cycle_consistency"]
        closed = "no latent goes round" if share is None else f"{share:.2f} of the cycles close"
        yield f"Of {len(names)} SAEs: {closed} (chance {1 / min(widths):.2g} or less)."
