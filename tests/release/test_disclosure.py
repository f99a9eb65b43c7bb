"""What a table's schema tells whoever reads it, measured: shares and numbers of records by the best reader there is."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from diffshare.data.table import Column
from diffshare.receiver.property.told import infer_told, read_records, read_threshold, threshold
from diffshare.release.disclosure import LEAST, MOST, fit_schema, rarest, secret_of
from diffshare.release.table import TableSchema, parse_schema

COLUMNS = (
    Column("age", "numeric", integer=True),
    Column("income", "numeric"),
    Column("flag", "numeric", integer=True),
    Column("ward", "categorical", ("a", "b", "c", "rare", "?")),
    Column("ill", "categorical", ("no", "yes")),
)
LIMIT = 50.0  # of age and income: the share above it is the secret


def table(p: float, n: int, seed: int) -> np.ndarray:
    """Records of which a share p is above the limit in both numbers, has the flag, and is in ward b."""
    rng = np.random.default_rng(seed)
    above = rng.permutation(n) < round(p * n)
    age = np.where(above, rng.integers(51, 90, n), rng.integers(18, 51, n))
    income = np.where(above, LIMIT * (1 + rng.exponential(0.3, n)), LIMIT * rng.random(n))
    ward = np.where(above, 1, np.where(rng.random(n) < 0.5, 0, 2))
    return np.stack([age, income, above, ward, rng.integers(0, 2, n)], 1).astype(np.float32)


def fitted(x: np.ndarray) -> TableSchema:
    return fit_schema(x, COLUMNS, "ill", "?")


def quantiles(x: np.ndarray) -> TableSchema:
    """The schema of format 1 of the same records: a quantile for 30 records, at least 10."""
    ranks = np.linspace(0, 1, max(10, len(x) // 30))
    columns = [
        {"name": c.name, "kind": "numeric", "integer": c.integer, "missing": False,
         "quantiles": np.quantile(x[:, i].astype(np.float64), ranks).tolist()}
        if c.kind == "numeric" else {"name": c.name, "kind": "categorical", "categories": list(c.categories)}
        for i, c in enumerate(COLUMNS)
    ]  # fmt: skip
    return parse_schema({"target": "ill", "mark": "?", "columns": columns}, form=1)


def features(schema: TableSchema) -> list[float]:
    """All that the schema says, as numbers."""
    numbers: list[float] = []
    for column in schema.columns:
        if column.kind == "numeric":
            low, high = column.bounds
            numbers += [
                np.cbrt(low),
                np.log10(high - low),
                column.integer,
                column.missing,
                column.zero,
            ]
        else:
            numbers += [
                text in column.categories for text in (*COLUMNS[3].categories, "other", "no", "yes")
            ]
    return numbers


def reader_error(secrets: np.ndarray, schemas: list[TableSchema]) -> float:
    """Mean error of a reader who has learned from half of the tables what schemas they make, on the other half.

    Boosted trees with the absolute error: the median of the secret given the schema is the best one
    can say.
    """
    x, half = np.array([features(schema) for schema in schemas]), len(schemas) // 2
    model = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=60, min_samples_leaf=15, random_state=0
    )
    model.fit(x[:half], secrets[:half])
    return float(np.abs(model.predict(x[half:]) - secrets[half:]).mean())


@pytest.mark.parametrize("n", [500, 3000])
def test_the_best_reader_of_a_schema_hardly_knows_more_of_a_share_than_before(n: int) -> None:
    """Of shares spread evenly from 0.03 to 0.97, who says 0.5 is off by 0.235 on average; with the schema by 0.2."""
    shares = np.random.default_rng(0).uniform(0.03, 0.97, 800)
    schemas = [fitted(table(p, n, seed)) for seed, p in enumerate(shares)]
    assert reader_error(shares, schemas) > 0.2
    for name in ("age>50", "income>50", "flag>=1"):
        asked = threshold(name)
        assert asked is not None
        assert not any(read_threshold(schema, asked).tells for schema in schemas)
        for seed, p in enumerate(shares[:20]):  # the same reader, of format 1
            old = read_threshold(quantiles(table(p, n, seed)), asked)
            assert old.low - 1 / n <= p <= old.high + 1 / n
            assert abs((old.low + old.high) / 2 - p) < 1 / max(9, n // 30 - 1)


def test_the_best_reader_does_not_know_the_number_of_records() -> None:
    """Of tables from 300 to 30,000 records, in powers of 2: without a schema a reader is off by 1.66 on average."""
    sizes = np.geomspace(300, 30_000, 600)
    sizes = np.random.default_rng(0).permutation(sizes).round().astype(int)
    tables = [table(0.4, n, seed) for seed, n in enumerate(sizes)]
    assert reader_error(np.log2(sizes), [fitted(x) for x in tables]) > 1.4
    for n, x in zip(sizes[:40], tables[:40], strict=True):
        assert read_records(fitted(x)) is None
        told = read_records(quantiles(x))  # the same reader, of format 1
        assert told is not None
        assert told[0] <= n <= (told[1] or np.inf)
        assert told[1] is None or told[1] - told[0] < 30 or n < 330


def test_who_knows_all_shares_of_a_population_knows_the_records_by_the_rare_categories_up_to_a_factor() -> (
    None
):
    """The worst case: 60 categories whose shares fall by a fifth each, known to the reader with certainty."""
    shares = 0.8 ** np.arange(60)
    shares /= shares.sum()
    column = (Column("code", "categorical", tuple(map(str, range(60)))), COLUMNS[-1])
    errors = []
    for seed, n in enumerate(np.geomspace(600, 6000, 60).round().astype(int)):
        rng = np.random.default_rng(seed)
        x = np.stack([rng.choice(60, n, p=shares), rng.integers(0, 2, n)], 1).astype(np.float32)
        named = fit_schema(x, column, "ill", "?").columns[0].categories
        # has about as many as it takes to be named
        least = min(shares[int(text)] for text in named if text != "other")
        errors.append(np.log2((LEAST * MOST) ** 0.5 / least / n))
    # powers of 2: a factor of 1.5 on average, of 2 for one in six
    assert np.mean(np.abs(errors)) > 0.5
    assert np.mean(np.abs(errors) > 1) > 0.15


def test_what_is_drawn_is_a_secret_of_the_records_and_the_same_for_the_same() -> None:
    drawn = [rarest(1000, secret_of(table(0.5, 1000, seed))) for seed in range(60)]
    assert LEAST <= min(drawn) < LEAST + 2
    assert MOST - 2 < max(drawn) <= MOST
    assert len(set(drawn)) > 10
    again = table(0.5, 1000, 0)
    assert fitted(again) == fitted(again.copy())
    again[0, 0] += 1
    assert secret_of(again).random() != secret_of(table(0.5, 1000, 0)).random()
    assert rarest(40_000, secret_of(again)) == 40  # one in a thousand
    assert rarest(60, secret_of(again)) == LEAST


def told(x: np.ndarray) -> TableSchema:
    """With draws that do not depend on the records."""
    return fit_schema(x, COLUMNS, "ill", "?", np.random.default_rng(0))


def test_few_records_change_nothing() -> None:
    """Four are fewer than it ever takes: an extreme, a category, a zero, a missing cell, a fraction."""
    x = table(0.4, 2000, 0)
    few = x.copy()
    few[0:4, 1], few[4:8, 3], few[8:12, 0], few[12:16, 1], few[20:24, 3] = 1e7, 3, 0, np.nan, 4
    few[16:20, 0] += 0.5
    assert told(few) == told(x)
    many = x.copy()
    many[0:30, 1], many[30:60, 3], many[60:90, 0], many[90:120, 1] = 1e7, 3, 0, np.nan
    schema = told(many)
    assert schema.columns[1].bounds[1] >= 1e7
    assert "rare" in schema.columns[3].categories
    assert schema.columns[0].zero
    assert schema.columns[1].missing


def test_no_number_of_the_records_stands_in_the_schema() -> None:
    rng = np.random.default_rng(0)
    x = np.stack(
        [rng.integers(18, 90, 900), rng.normal(3.3, 7.7, 900), rng.integers(0, 2, 900)], 1
    ).astype(np.float32)
    for i, column in enumerate(
        fit_schema(x, (COLUMNS[0], COLUMNS[1], COLUMNS[4]), "ill", "?").columns[:2]
    ):
        low, high = column.bounds
        # bounds are multiples of no finer power of ten
        step = 10 ** np.floor(np.log10(np.ptp(x[:, i])))
        assert low / step == pytest.approx(round(low / step))
        assert high / step == pytest.approx(round(high / step))
        assert not np.isin([low, high], x[:, i]).any()


def test_rare_categories_are_put_together() -> None:
    rng = np.random.default_rng(0)
    code = np.where(rng.random(2000) < 0.2, rng.integers(0, 900, 2000), 900)
    x = np.stack([code, rng.integers(0, 2, 2000)], 1).astype(np.float32)
    names = (*map(str, range(900)), "frequent")
    named = (
        fit_schema(x, (Column("zip", "categorical", names), COLUMNS[-1]), "ill", "?")
        .columns[0]
        .categories
    )
    assert named == ("frequent", "other")
    x[::10, 0] = 901  # a tenth is missing: there the rare ones go
    column = Column("zip", "categorical", (*names, "?"))
    assert fit_schema(x, (column, COLUMNS[-1]), "ill", "?").columns[0].categories == (
        "frequent",
        "?",
    )


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("age>=40", 0.0, 1.0), ("age>1e6", 0.0, 0.02), ("age<0", 0.0, 0.02), ("age<=1e6", 0.98, 1.0),
        ("income > 1e9", 0.0, 0.02), ("ward", 0.0, 0.02),
    ],
)  # fmt: skip
def test_the_reader_says_what_little_there_is(name: str, low: float, high: float) -> None:
    result = infer_told(fitted(table(0.4, 2000, 0)), name, "rare" if name == "ward" else None, 0.95)
    assert (result.low, result.high) == pytest.approx((low, high))
    assert result.low <= result.estimate <= result.high
    assert (result.queries, result.method) == (0, "schema")
    assert result.to_json(0.0)["hoeffding"] is None


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("age>=40", 0.98, 1.0), ("age>40", 0.0, 0.02), ("age<40", 0.0, 0.02), ("income>=1", 0.0, 1.0)],
)
def test_the_reader_says_what_constant_columns_tell(name: str, low: float, high: float) -> None:
    x = table(0.4, 2000, 0)
    x[:, 0], x[:, 1] = 40, np.nan
    result = infer_told(fitted(x), name, None, 0.95)
    assert (result.low, result.high) == pytest.approx((low, high))
