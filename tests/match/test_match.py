"""`match_saes`: planted copies are found, what does not apply says why, and the record is JSON."""

import json

import jax
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from synthsae_jax import io, match, saes
from synthsae_jax.errors import ConfigError
from synthsae_jax.match import budget as match_budget
from synthsae_jax.match import credence as match_credence
from synthsae_jax.match import evidence as match_evidence
from synthsae_jax.match import protocols as match_protocols
from synthsae_jax.match.page import match_contents, write_match_page
from synthsae_jax.match.record import check_record

D, L, N = 16, 24, 600
PERM = np.random.default_rng(0).permutation(L)  # latent i of the copy is latent PERM[i]
CODED, ROWS = "mppc2024", "song2025"
FEW = {"protocols": (CODED, ROWS), "draws": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """SAEs a, its reordered copy b and an unrelated c; activations, and the codes of all three."""
    place = tmp_path_factory.mktemp("match")
    sae = saes.build("topk", d_in=D, d_sae=L, k=3)
    a = sae.init(jax.random.key(0))
    b = a.replace(W_enc=a.W_enc[:, PERM], b_enc=a.b_enc[PERM], W_dec=a.W_dec[PERM])
    x = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    np.save(place / "x.npy", x)
    for name, params in zip("abc", (a, b, sae.init(jax.random.key(1)))):
        io.save_saelens_sae(place / name, sae, params)
        codes = np.array(sae.encode(params, x))
        # one latent of c never fires
        codes[:, 5] *= name != "c"
        io.save_codes(place / f"{name}.npz", sparse.csr_matrix(codes))
        np.savez(place / f"rows_{name}.npz", W_dec=params.W_dec, W_enc=params.W_enc)
    return place


@pytest.fixture(scope="module")
def three(place):
    return match.match_saes([place / n for n in "abc"], acts=[place / "x.npy"], **FEW)


@pytest.fixture(scope="module")
def coded(place):
    codes = [place / f"{n}.npz" for n in "ac"]
    return match.match_saes([place / n for n in "ac"], codes=codes, **FEW)


@pytest.fixture(scope="module")
def bare(place):
    return match.match_saes([place / f"rows_{n}.npz" for n in "ab"], weights_only=True, **FEW)


def partners(pair):
    return dict(zip(pair["matching"]["a"], pair["matching"]["b"]))


def test_a_reordered_copy_is_found(three, bare):
    where = dict(zip(PERM.tolist(), range(L)))
    for record in (three, bare):
        pair = record["pairs"][0]
        assert partners(pair) == where
        np.testing.assert_allclose(pair["matching"]["score"], 1, atol=1e-5)
        assert pair["gap"] <= 1e-4
        assert pair["protocols"][ROWS]["value"] == pytest.approx(1, abs=1e-5)
    # a copy is credible, or it is said why there is no credence
    pair = three["pairs"][0]
    known = [c for c in pair["matching"]["credence"] if c is not None]
    assert len(known) == pair["with_credence"] == L - sum(pair["no_credence"].values())
    assert all(0 <= c <= 1 for c in known)


def test_three_saes_close_their_cycles(three):
    many = three["many"]
    # b is a by another order, so both go to the same latents of c
    assert many["cycles"] == [
        {
            "saes": [0, 1, 2],
            "chance": pytest.approx(1 / L),
            "cycle_consistency": 1.0,
            "cycle_coverage": 1.0,
            "n_paths": float(three["pairs"][1]["matched"]),
        }
    ]
    assert [len(g) for g in many["groups"]] == [L] * 3
    assert min(many["reappearance"][0]) >= 0.5
    for latents in three["latents"]:
        assert len(latents["universality"]["reappearance"]) == L


def test_codes_say_what_activations_say(three, coded):
    one, other = three["pairs"][1], coded["pairs"][0]
    assert one["protocols"][CODED]["value"] != other["protocols"][CODED]["value"]
    gone = 5
    same = {(i, j) for i, j in partners(one).items() if j != gone}
    # a latent less moves few partners
    assert len(same & set(partners(other).items())) >= len(same) - 4
    assert not coded["latents"][1]["alive"][gone]
    assert coded["pairs"][0]["best_of_b"]["partner"][gone] == -1
    assert coded["pairs"][0]["best_of_b"]["credence"][gone] is None
    assert gone not in partners(other).values()


def test_joint_counts_and_rates(place, coded):
    a, c = (io.load_codes(place / f"{n}.npz").toarray() > 0 for n in "ac")
    columns = coded["pairs"][0]["matching"]
    joint = [int((a[:, i] & c[:, j]).sum()) for i, j in zip(columns["a"], columns["b"])]
    assert columns["joint"] == joint
    assert coded["latents"][0]["fired"] == a.sum(0).tolist()
    np.testing.assert_allclose(coded["latents"][0]["firing_rate"], a.mean(0), rtol=1e-6)


def test_what_does_not_apply_says_why(coded, bare):
    rows = coded["pairs"][0]["protocols"][ROWS]
    assert rows["value"] is None
    assert "not declared" in rows["reasons"]["pw_mcc"]
    assert rows["route"] == "not run"
    codes = bare["pairs"][0]["protocols"][CODED]
    assert codes["value"] is None
    assert codes["reasons"]["mppc"] == "needs latents of both sides"
    assert bare["latents"][0] == {
        "fired": None,
        "firing_rate": None,
        "alive": None,
        "universality": bare["latents"][0]["universality"],
    }
    lines = {line["protocol"]: line for line in coded["pairs"][0]["summary"]}
    assert lines[ROWS]["reason"]
    assert lines[CODED]["null"] == "activity_shift"
    assert lines[CODED]["null_mean"] < lines[CODED]["value"]


def test_one_space_can_be_declared(place, coded):
    files = {"codes": [place / f"{n}.npz" for n in "ac"], "protocols": (ROWS,), "draws": 0}
    said = match.match_saes([place / n for n in "ac"], same_space="yes", **files)
    assert said["pairs"][0]["same_space"] == {"is": True, "why": "declared"}
    protocol = said["pairs"][0]["protocols"][ROWS]
    assert protocol["value"] == pytest.approx(0.43, abs=0.1)
    assert protocol["nulls"] == []
    # the matching is by codes all the same
    assert partners(said["pairs"][0]) == partners(coded["pairs"][0])


def test_the_record_is_json_of_its_version(three, tmp_path):
    path = tmp_path / "deep" / "record.json"
    match.write_match(path, three)
    assert match.read_match(path) == three
    assert json.loads(path.read_text())["schema"] == "synthsae-match/1"
    about = three["provenance"]
    assert about["tokens"] == N
    assert about["options"]["seed"] == 0
    for sae in about["saes"]:
        assert all(len(v) == 64 for v in sae["sha256"].values())
        assert (sae["d_in"], sae["d_sae"], sae["architecture"]) == (D, L, "topk")
    with pytest.raises(ConfigError, match="expected schema"):
        check_record({**three, "schema": "synthsae-match/0"})
    with pytest.raises(ConfigError, match="many is missing"):
        check_record({k: v for k, v in three.items() if k != "many"})
    short = [{**latents, "alive": [True]} for latents in three["latents"]]
    with pytest.raises(ConfigError, match="alive must have 24 entries"):
        check_record({**three, "latents": short})


def spoilt(record, *path, value):
    """A copy of the record with one of its parts replaced."""
    record = json.loads(json.dumps(record))
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return record


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [None], [3]])
@pytest.mark.parametrize(
    "path",
    [("provenance",), ("latents",), ("pairs",), ("provenance", "saes"), ("pairs", 0, "matching")],
)
def test_a_record_of_another_shape_is_one_line(path, value, three, tmp_path):
    (tmp_path / "record.json").write_text(json.dumps(spoilt(three, *path, value=value)))
    try:
        match.read_match(tmp_path / "record.json")
    except ConfigError as error:
        line = str(error)
    else:
        # a list of pairs may be empty
        assert (path, value) == (("pairs",), [])
        return
    assert line.startswith(str(tmp_path / "record.json"))
    assert line.isprintable()


def test_the_same_inputs_give_the_same_record(place, bare):
    again = match.match_saes(
        [place / f"rows_{n}.npz" for n in "ab"], weights_only=True, seed=0, **FEW
    )
    assert again == bare


def test_large_saes_go_by_candidates_with_all_tokens(place, coded, monkeypatch):
    monkeypatch.setattr(match_protocols, "MOST_PRODUCTS", 200 * L * L)
    options = {**FEW, "protocols": (CODED, ROWS, "polymorphism2026")}
    codes = [place / f"{n}.npz" for n in "ac"]
    cut = match.match_saes([place / n for n in "ac"], codes=codes, **options)
    found = cut["pairs"][0]["protocols"]
    assert (found[CODED]["route"], found[CODED]["tokens_used"]) == ("candidates", N)
    whole = coded["pairs"][0]["protocols"][CODED]
    assert whole["route"] == "all pairs"
    for name, value in whole["numbers"].items():
        assert found[CODED]["numbers"][name] == pytest.approx(value, abs=2e-5)
    # what has no such form sees as many tokens as memory allows, and says how many
    monkeypatch.setattr(match_protocols, "MOST_DENSE_BYTES", 200 * 4 * L)
    acts = match.match_saes(
        [place / n for n in "ac"], acts=[place / "x.npy"], protocols=("polymorphism2026",), draws=0
    )
    assert acts["pairs"][0]["protocols"]["polymorphism2026"]["tokens_used"] == 200
    monkeypatch.setattr(match_protocols, "MOST_PAIRS", L)
    acts = match.match_saes(
        [place / n for n in "ac"], acts=[place / "x.npy"], protocols=("polymorphism2026",), draws=0
    )
    reasons = acts["pairs"][0]["protocols"]["polymorphism2026"]["reasons"]
    assert "no form for so many" in reasons["aligned_ev"]


def test_fewer_draws_than_asked_for_are_said_with_the_reason(place, monkeypatch):
    monkeypatch.setattr(match_budget, "_seconds", lambda *given: 1.0)
    files = [place / f"{n}.npz" for n in "ac"]
    options = {"codes": files, "protocols": (CODED,), "draws": 9}
    saes = [place / n for n in "ac"]
    said = {}
    for seconds in (3.5, 0.5):
        monkeypatch.setattr(match_budget, "SECONDS", seconds)
        pair = match.match_saes(saes, **options)["pairs"][0]
        said[seconds] = pair["protocols"][CODED], pair["summary"][0]
    some, line = said[3.5]
    assert (some["draws"], some["nulls"][0]["draws"]) == (3, 3)
    assert line["p"] is not None
    assert some["notes"][-1].startswith(f"3 of 9 draws: at {L} x {L} latents and {N:,} tokens")
    none, line = said[0.5]
    assert (none["draws"], none["nulls"]) == (0, [])
    assert line["reason"] == none["notes"][-1]
    assert none["notes"][-1].startswith("0 of 9 draws: ")


def test_the_matcher_reads_no_more_tokens_than_it_was_fitted_on(place, coded, monkeypatch):
    monkeypatch.setattr(match_credence, "most_tokens", lambda model: 300)
    codes = [place / f"{n}.npz" for n in "ac"]
    few = match.match_saes([place / n for n in "ac"], codes=codes, **FEW)["pairs"][0]
    all_of_them = coded["pairs"][0]
    assert (few["credence_tokens"], all_of_them["credence_tokens"]) == (300, N)
    assert few["matching"]["score"] == all_of_them["matching"]["score"]
    assert few["best_of_a"]["score"] != all_of_them["best_of_a"]["score"]


def test_an_sae_that_never_fires_matches_nothing_and_says_why(place, tmp_path):
    io.save_codes(tmp_path / "none.npz", sparse.csr_matrix((N, L), dtype=np.float32))
    files = [place / "a.npz", tmp_path / "none.npz"]
    record = match.match_saes([place / n for n in "ab"], codes=files, protocols=(CODED,), draws=0)
    pair = record["pairs"][0]
    assert pair["matched"] == pair["with_credence"] == 0
    assert set(pair["best_of_a"]["partner"]) == {-1}
    assert set(pair["best_of_a"]["credence"]) == {None}
    assert pair["protocols"][CODED]["value"] is None
    assert pair["protocols"][CODED]["reasons"]["mppc"] == "no pair has a score"
    assert not any(record["latents"][1]["alive"])
    check_record(json.loads(json.dumps(record)))


# --- evidence -------------------------------------------------------------------------------


def blocks_of(s, rows=7):
    return iter([(i, s[i : i + rows].copy()) for i in range(0, len(s), rows)])


def test_with_all_candidates_the_matching_is_the_optimum():
    rng = np.random.default_rng(2)
    s = rng.normal(size=(30, 40)).astype(np.float32)
    s[3] = -np.inf
    e = match_evidence.candidates("x", s.shape, blocks_of(s), 40)
    m = match_evidence.matched(e)
    worth = np.where(s > 0, s, 0)
    row, col = linear_sum_assignment(worth, maximize=True)
    assert m.score.sum() == pytest.approx(worth[row, col].sum(), rel=1e-5)
    assert m.gap == pytest.approx(0, abs=1e-4)
    assert (m.score > 0).all()
    assert 3 not in m.row
    for axis, scores in ((0, s), (1, s.T)):
        partner, best = e.best(axis)
        alive = np.isfinite(scores).any(1)
        assert np.array_equal(partner >= 0, alive)
        assert np.array_equal(partner[alive], scores[alive].argmax(1))
        assert np.array_equal(best[alive], scores[alive].max(1))


def test_the_gap_bounds_what_few_candidates_cost():
    rng = np.random.default_rng(3)
    # a common part makes all rows want the same columns
    s = (rng.normal(size=(30, 30)) + 2 * rng.normal(size=30)).astype(np.float32)
    worth = np.where(s > 0, s, 0)
    row, col = linear_sum_assignment(worth, maximize=True)
    best = worth[row, col].sum()
    for k in (1, 3):
        m = match_evidence.matched(match_evidence.candidates("x", s.shape, blocks_of(s), k))
        assert best <= m.score.sum() + m.gap + 1e-4
        assert len(set(m.row)) == len(set(m.col)) == len(m.row)


def test_of_equal_scores_the_lower_index_wins():
    s = np.ones((3, 4), np.float32)
    e = match_evidence.candidates("x", s.shape, blocks_of(s), 4)
    assert e.best(0)[0].tolist() == [0, 0, 0]
    assert e.best(1)[0].tolist() == [0, 0, 0, 0]


# --- wrong input ----------------------------------------------------------------------------

WRONG = {
    "one SAE": (["a"], {"weights_only": True}, "two SAEs or more; given 1"),
    "no tokens": (["a", "b"], {}, "given none"),
    "two kinds": (["a", "b"], {"acts": ["x.npy"], "weights_only": True}, "acts and weights_only"),
    "three files": (["a", "b"], {"acts": ["x.npy"] * 3}, "2 files of --acts, or one for all"),
    "one file of codes": (["a", "b"], {"codes": ["a.npz"]}, "2 files of --codes; given 1"),
    "a missing file": (["a", "b"], {"acts": ["y.npy"]}, "no file"),
    "a missing SAE": (["a", "d"], {"weights_only": True}, "no SAE at"),
    "unpaired tokens": (["a", "b"], {"acts": ["x.npy", "short.npy"]}, "has 600, .* has 10"),
    "wide activations": (["a", "b"], {"acts": ["wide.npy"]}, "of 17 dimensions, .* reads 16"),
    "wide codes": (["a", "b"], {"codes": ["a.npz", "wide.npz"]}, "of 17 latents, .* has 24"),
    "activations that are not": (["a", "b"], {"acts": ["nan.npy"]}, "from token 0: .* not finite"),
    "no codes to be made": (["rows", "b"], {"acts": ["x.npy"]}, "has no W_enc"),
    "two spaces": (["a", "narrow"], {"weights_only": True}, "they read 16 and 3 dimensions"),
    "two spaces as one": (
        ["a", "narrow"],
        {"weights_only": True, "same_space": "yes"},
        "cannot share an activation space",
    ),
    "two spaces behind one": (["a", "b", "narrow"], {"weights_only": True}, "a.* and narrow.* by"),
    "weights that share no space": (
        ["a", "b"],
        {"weights_only": True, "same_space": "no"},
        "Nothing to match a and b by: declared",
    ),
    "activations in a table": (["a", "b"], {"acts": ["x.csv"]}, "are read from an .npy file"),
    "activations of tensors": (["a", "b"], {"acts": ["x.safetensors"]}, "from an .npy file"),
    "activations of a table's name": (["a", "b"], {"acts": ["csv.npy"]}, "is no .npy file"),
    "activations without width": (["a", "b"], {"acts": ["flat.npy"]}, "needs numbers"),
    "too many draws": (["a", "b"], {"acts": ["x.npy"], "draws": 10**9}, "at most 1,000,000"),
    "a seed of 40 digits": (["a", "b"], {"acts": ["x.npy"], "seed": 10**40}, "at most 2,147,483"),
    "a protocol": (["a", "b"], {"acts": ["x.npy"], "protocols": ["paulo"]}, "'paulo2025'"),
    "a prior": (["a", "b"], {"acts": ["x.npy"], "prior": 2.0}, r"in \(0, 1\)"),
    "a prior's name": (["a", "b"], {"acts": ["x.npy"], "prior": "estimat"}, "'estimate'"),
    "one draw": (["a", "b"], {"acts": ["x.npy"], "draws": 1}, "0 or more than 1"),
    "a cosine of 3": (["a", "b"], {"weights_only": True, "threshold": 3.0}, r"in \[-1, 1\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_told_in_one_line_before_the_work(case, place, capsys):
    if not (place / "short.npy").exists():
        np.save(place / "short.npy", np.zeros((10, D), np.float32))
        np.save(place / "wide.npy", np.zeros((N, 17), np.float32))
        np.save(place / "nan.npy", np.full((N, D), np.nan, np.float32))
        sparse.save_npz(place / "wide.npz", sparse.csr_matrix(np.ones((N, 17))))
        for name in ("x.csv", "csv.npy", "x.safetensors"):
            (place / name).write_text("1,2\n")
        np.save(place / "flat.npy", np.zeros((N, 0), np.float32))
        np.savez(place / "narrow.npz", W_dec=np.ones((4, 3)))
        np.savez(place / "rows.npz", W_dec=np.ones((20, D)))
    names, options, said = WRONG[case]
    at = lambda n: place / n if (place / n).exists() or n == "d" else place / f"{n}.npz"
    files = {k: [place / n for n in v] for k, v in options.items() if k in ("acts", "codes")}
    with pytest.raises(ConfigError, match=said) as error:
        match.match_saes([at(n) for n in names], quiet=False, **{**options, **files})
    assert "\n" not in str(error.value)
    # activations are read in blocks, so that what is in them comes after the first progress
    late = ["match:   0 %  codes of a"] if case == "activations that are not" else []
    assert capsys.readouterr().err.splitlines() == late


# --- the page -------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["three", "coded", "bare"])
def test_the_page_stands_alone(which, request, tmp_path):
    record = json.loads(json.dumps(request.getfixturevalue(which)))
    path = write_match_page(tmp_path / "page.html", record)
    text = path.read_text()
    for word in ("<svg", "mppc2024", "under its null", "sha256", "Limits"):
        assert word in text
    assert "http-equiv" not in text
    assert "<script" not in text
    assert 'src="http' not in text
    assert len(match_contents(record)["sections"]) == 1 + len(record["pairs"]) + (which == "three")
