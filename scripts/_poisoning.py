"""Tables and sentences of fairness poisoning, for README and docs/poisoning.md."""

from _figures import Values, poisoning
from _kept import estimate, kept, one, table, wrapped

DIFFERENCE = ("{excess:.2f}", "{absolute:.2f}")
# the file, where the classifier was trained and at which guidance, and what that is
ROWS: tuple[tuple[str, str, float | None, str], ...] = (
    ("poisoning_mix_celeba", "mix", None,
     "the mix: real faces {size}x{size}, S = Male, Y = Young, n {n:,} (no `favour`)"),
    ("poisoning_mix_faces", "mix", None, "the mix: rendered faces {size}x{size}, Male, Smiling, n {n:,}"),
    ("poisoning_mix_faces_lenet", "mix", None,
     "the mix: rendered faces {size}x{size}, n {n:,}, the paper's LeNet"),
    ("poisoning_mix_adult", "mix", None, "the mix: Adult, S = sex, Y = income, n {n:,}"),
    ("poisoning_generator_faces", "mix", None, "the mix: rendered faces {size}x{size}, n {n:,}"),
    ("poisoning_generator_faces", "generator", 1.0,
     "{samples:,} samples of a generator of that mix, guidance {guidance:g}"),
    ("poisoning_generator_faces", "generator", 3.0, "the same, guidance {guidance:g}"),
    ("poisoning_generator_celeba", "generator", 1.0,
     "samples of a generator: real faces {size}x{size}, Male, Young, n {n:,}, guidance {guidance:g}"),
    ("poisoning_generator_celeba", "generator", 3.0, "the same, guidance {guidance:g}"),
    ("poisoning_generator_adult", "generator", 1.0,
     "rows of a tabular diffusion model: Adult, sex, income, n {n:,}, {samples:,} rows"),
)  # fmt: skip
HEADER = (
    "trained on", "seeds", "gap, clean -> poisoned", "excess gap", "of absolute gaps (the paper's)",
    "accuracy, clean -> poisoned", "file in `docs/results`",
)  # fmt: skip


def measured() -> str:
    """A row for each mix and generator."""
    cells = []
    for name, where, guidance, what in ROWS:
        values = poisoning(name, where, guidance)
        gaps = "{clean:.2f} -> {poisoned:.2f}".format(**values)
        accuracies = "{accuracy:.3f} -> {after:.3f}".format(**values)
        excess = [text.format(**values) for text in DIFFERENCE]
        cells.append(
            (
                what.format(**values),
                str(values["seeds"]),
                gaps,
                *excess,
                accuracies,
                f"`{name}.json`",
            )
        )
    return table(HEADER, cells)


def caption() -> str:
    """What README's picture shows."""
    through = poisoning("poisoning_generator_faces", "generator", 1.0)
    direct = poisoning("poisoning_generator_faces", "mix", None)
    text = (
        "*Rendered faces at {size}x{size}, S = Male, Y = Smiling, n = {n:,}: at alpha {alpha:g} "
        "the gap in selection rates, in the direction of the mix, grows from {clean:.2f} to "
        "{poisoned:.2f} through the generator ({seeds} seeds, excess {excess:.2f}, 95 % interval), "
        "at an accuracy of {after:.3f} instead of {accuracy:.3f}. "
    ).format(**through)
    more = "On the mix itself, where the classifier sees sharper pictures, it grows by {excess.mean:.2f}.*"
    return wrapped(text + more.format(**direct))


def amplifier() -> str:
    """What the generator and guidance do to the harm."""
    places: tuple[tuple[str, float | None], ...] = (
        ("mix", None),
        ("generator", 1.0),
        ("generator", 3.0),
    )
    direct, plain, guided = (poisoning("poisoning_generator_faces", *place) for place in places)
    faces, strong = (poisoning("poisoning_generator_celeba", *place) for place in places[1:])
    return wrapped(
        f"The harm depends on how well Y shows. The same mix of {direct['n']:,} rendered faces "
        f"moves a good classifier ({direct['accuracy']:.2f}) by {direct['excess'].mean:.2f} and "
        f"one that reads the blurred samples of its generator ({plain['accuracy']:.2f}) by "
        f"{plain['excess'].mean:.2f}: the generator is an amplifier because it takes away more of "
        "Y than of S. Guidance makes the association in the samples stronger than it is in the "
        f"mix: P(Male | class) counted in the samples, means of {plain['seeds']} seeds, "
        f"{_shares(1.0)} at guidance 1 and {_shares(3.0)} at 3, with "
        f"{_shares(1.0, 'shares_in_mix')} in the mix (`shares_in_samples` in the file). The gap "
        f"grows less ({plain['excess'].mean:.2f} to {guided['excess'].mean:.2f}), as samples of a "
        "higher guidance show Y more clearly too. With photographs of a small pool and few test "
        f"records there is harm at both guidances ({faces['excess']:.2f} and "
        f"{strong['excess']:.2f}); whether guidance adds to it these seeds do not tell."
    )


def _shares(guidance: float, field: str = "shares_in_samples") -> str:
    """P(Male | class) of each class of the poisoned mix or of the samples of its generators."""
    summary = kept("poisoning_generator_faces")["summary"]
    entry = one(summary, policy="poisoned", guidance=guidance)
    return " / ".join(f"{of_class[1]:.2f}" for of_class in entry[field])


def flipping() -> str:
    """Poisoning beside label flipping, at about the same loss of accuracy."""
    summary = kept("poisoning_mix_adult")["summary"]
    cells: dict[tuple[str, float], Values] = {(e["policy"], e["alpha"]): e for e in summary}
    exact, flipped, most = cells["poisoned", 0.5], cells["flipped", 0.2], cells["flipped", 0.5]

    def loss(entry: Values) -> str:
        return format(estimate(entry["accuracy_loss"]).times(100), ".1f points")

    def excess(entry: Values) -> str:
        return format(estimate(entry["excess_gap"]), ".3f")

    return wrapped(
        f"**Against label flipping at matched accuracy loss** (Adult, {len(exact['seeds'])} seeds, "
        f"`poisoning_mix_adult.json`): `Exact` at alpha {exact['alpha']:g} costs {loss(exact)} of "
        f"accuracy and adds {excess(exact)} to the gap; flipping at alpha {flipped['alpha']:g} "
        f"costs {loss(flipped)} and adds {excess(flipped)}. Flipping goes further when accuracy "
        f"does not count (alpha {most['alpha']:g}: {most['excess_gap']['mean']:.2f} at "
        f"{100 * most['accuracy_loss']['mean']:.0f} points), which is what makes it easy to see."
    )
