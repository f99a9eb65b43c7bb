"""Steps of a study that repair poisoned samples and train the same classifier on what is left of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffshare.audits.repair.weights import To, Weights
from diffshare.errors import UserError
from diffshare.study.engine.checks import check_names
from diffshare.study.engine.step import Place, Step, with_places
from diffshare.study.steps.pipeline import VERBS


@dataclass(frozen=True)
class RepairOptions:
    """How samples are repaired: options of the verb ``repair``.

    Attributes:
        method: ``reweigh`` for images, ``resample`` for either kind.
        to: which shares P(s|y) are aimed at.
        weights: in which sense.
        ask_model: ask the generator for more, until there are as many as before (``resample``).
    """

    method: Literal["reweigh", "resample"]
    to: To = "reference"
    weights: Weights = "density"
    ask_model: bool = False


def check_repairs(
    repairs: Mapping[str, RepairOptions], seeds: Sequence[int], clean_seeds: Collection[int]
) -> None:
    """Refuse repairs whose steps could not run, or whose effect could not be told.

    Raises:
        UserError: a name that can be no folder, a model that nothing is asked of, a seed without a clean set.
    """
    check_names("study.repairs", repairs)
    for name, options in repairs.items():
        if options.ask_model and options.method == "reweigh":
            raise UserError(
                f"study.repairs.{name}: reweigh asks a model for nothing; use resample, or no ask_model"
            )
    if repairs and (alone := [seed for seed in seeds if seed not in clean_seeds]):
        raise UserError(
            f"study.repairs needs the clean set of each poisoned seed, to say what the excess was: add {alone[0]} to "
            "study.clean_seeds"
        )


def repair_steps(
    name: str, options: RepairOptions, end: str, classifier: Step, *, release: Place, seed: int
) -> tuple[Step, Step]:
    """Repair a samples folder after its audit; train and test its classifier again, on the repaired one.

    Args:
        name: of the repair.
        options: of the repair.
        end: of the names of the steps that made, audited and classified the samples.
        classifier: the step that trains on the samples as they were drawn.
        release: of the generator.
        seed: of the choice.
    """
    samples, repaired = Place(f"sample-{end}", "samples"), Place(f"repair-{name}-{end}", "samples")
    arguments: dict[str, Any] = {
        "samples": samples,
        "audit": Place(f"audit-{end}", "audit.json"),
        "method": options.method,
    }
    arguments |= {"to": options.to, "weights": options.weights, "seed": seed, "out": repaired}
    if options.ask_model:
        arguments["model"] = release
    again = f"repaired-{name}-{end}"

    def moved(place: Place) -> Place:
        if place == samples:
            return repaired
        return Place(again, place.path) if place.step == classifier.name else place

    classified = replace(classifier, name=again, arguments=with_places(classifier.arguments, moved))
    return Step(repaired.step, f"{VERBS}:repair", arguments), classified
