"""Faults that the tests must catch: small slips in all rooms of the package, each with the tests that cover it.

Each is one that somebody could make: a sign, a neighbour's index, the wrong axis, a seed that is dropped, a bound that
is not checked, an option that is not passed on, a file that stays.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """One slip.

    Attributes:
        name: what is wrong, in words.
        file: below ``diffshare/``.
        text: what is there, exactly once.
        slip: what stands there in its place.
        tests: the files below ``tests/``, or single tests in them, that cover it, parted by blanks.
    """

    name: str
    file: str
    text: str
    slip: str
    tests: str


FAULTS = (
    # --- stats -------------------------------------------------------------------------------------------------------
    Fault(
        "the smaller of the two gaps is taken for equalised odds",
        "stats/fairness.py",
        "np.where(np.abs(signed[0]) >= np.abs(signed[1])",
        "np.where(np.abs(signed[0]) <= np.abs(signed[1])",
        "stats/test_fairness.py",
    ),
    Fault(
        "the false positive rate is divided by the positives",
        "stats/fairness.py",
        "_ratio(chosen.sum(-1) - chosen[..., positive], n - of_positive)",
        "_ratio(chosen.sum(-1) - chosen[..., positive], of_positive)",
        "stats/test_fairness.py",
    ),
    Fault(
        "Holm's factors start at n - 1",
        "stats/detection.py",
        "(len(p) - np.arange(len(p)))",
        "(len(p) - 1 - np.arange(len(p)))",
        "stats/test_detection.py",
    ),
    Fault(
        "the poison goes into cells of one class",
        "stats/detection.py",
        "candidate[other, another] += alpha * (1 - split)",
        "candidate[other, y] += alpha * (1 - split)",
        "stats/test_detection.py",
    ),
    Fault(
        "a clean verdict needs no power",
        "stats/detection.py",
        "within = powered and abs(",
        "within = abs(",
        "stats/test_detection.py",
    ),
    Fault(
        "a one-sided interval where a two-sided one is said",
        "stats/association.py",
        "z = float(ndtri((1 + level) / 2))",
        "z = float(ndtri(level))",
        "stats/test_association.py",
    ),
    Fault(
        "the error of the classifier's specificity has the wrong sign in the interval's middle",
        "stats/intervals.py",
        "2 * z**2 * (p * of_se - (1 - p) * of_sp)",
        "2 * z**2 * (p * of_se + (1 - p) * of_sp)",
        "stats/test_intervals.py",
    ),
    Fault(
        "a score of exactly 1/2 is of class 0",
        "stats/prevalence.py",
        "(scores[..., 1] >= 0.5)",
        "(scores[..., 1] > 0.5)",
        "stats/test_prevalence.py stats/test_prevalence_quapy.py",
    ),
    Fault(
        "the prior of the calibration records is left out of EMQ",
        "stats/prevalence.py",
        "most_likely(weights, (points / prior).T[None])",
        "most_likely(weights, points.T[None])",
        "stats/test_prevalence.py stats/test_prevalence_quapy.py",
    ),
    Fault(
        "the diagonal counts in a distance that is said to be unbiased",
        "stats/kid.py",
        "float(kernel.sum() - np.trace(kernel)) / (n * (n - 1))",
        "float(kernel.sum()) / (n * n)",
        "stats/test_kid.py",
    ),
    Fault(
        "a standard deviation with n in its denominator",
        "stats/summary.py",
        "defined.std(ddof=1) / np.sqrt(n))",
        "defined.std() / np.sqrt(n))",
        "stats/test_summary.py",
    ),
    Fault(
        "the threshold is judged on the losses that it was chosen by",
        "stats/membership.py",
        "halves[kind][1 - half] <= threshold",
        "halves[kind][half] <= threshold",
        "stats/test_membership.py",
    ),
    Fault(
        "records of an unknown class are counted with the last group",
        "stats/information.py",
        "labelled = (sensitive >= 0) & (target >= 0)",
        "labelled = sensitive >= 0",
        "stats/test_information.py",
    ),
    Fault(
        "weights by mean posteriors of the columns, not of the rows",
        "stats/reweighing.py",
        "np.linalg.solve(means, wanted / shares)",
        "np.linalg.solve(means.T, wanted / shares)",
        "stats/test_reweighing.py",
    ),
    # --- nets --------------------------------------------------------------------------------------------------------
    Fault(
        "a set is read from its first member",
        "nets/sets.py",
        "mean = embedded.mean(1)",
        "mean = embedded[:, 0]",
        "nets/test_sets.py",
    ),
    Fault(
        "each network reads the times of the first records",
        "nets/classwise.py",
        "network(sample[rows], times[rows])",
        "network(sample[rows], times[: len(rows)])",
        "nets/test_classwise.py",
    ),
    # --- release -----------------------------------------------------------------------------------------------------
    Fault(
        "weights that are not finite are loaded",
        "release/weights.py",
        "if not bool(torch.isfinite(tensor).all()):",
        "if bool(torch.isnan(tensor).all()):",
        "release/test_weights.py",
    ),
    Fault(
        "a network may have any number of parameters",
        "release/weights.py",
        "if total > max_parameters:",
        "if total > MAX_TOTAL:",
        "release/test_weights.py",
    ),
    Fault(
        "an archive may unpack to any size",
        "release/npz.py",
        "    if total > most:",
        "    if total > most * most:",
        "release/test_samples_folder.py",
    ),
    Fault(
        "a negative weight is taken",
        "release/samples.py",
        "or not np.isfinite(weight).all() or weight.min() < 0",
        "or not np.isfinite(weight).all()",
        "release/test_samples_folder.py",
    ),
    # --- data --------------------------------------------------------------------------------------------------------
    Fault(
        "records of an unknown group count as lacking the property",
        "data/mixes.py",
        "(attribute.codes != code) & (attribute.codes >= 0)",
        "attribute.codes != code",
        "data/test_mixes.py",
    ),
    Fault(
        "the seed of a balanced pool is dropped",
        "data/mixes.py",
        "np.random.default_rng([seed, BALANCE])",
        "np.random.default_rng([0, BALANCE])",
        "data/test_mixes.py data/test_module.py",
    ),
    Fault(
        "the next pass reads the order of this one",
        "data/order.py",
        "self._pass(done + 1)[:first]",
        "self._pass(done)[:first]",
        "data/test_order.py",
    ),
    Fault(
        "every process reads the first shard",
        "data/order.py",
        "self.batch_size)[:, self.rank]",
        "self.batch_size)[:, 0]",
        "data/test_order.py",
    ),
    Fault(
        "a label past the last class is taken",
        "data/idx.py",
        "if labels.max() >= len(self.classes):",
        "if labels.max() > len(self.classes):",
        "data/test_idx.py",
    ),
    Fault(
        "a category that the other table lacks gets the code of its first one",
        "data/recoding.py",
        "codes.get(text, np.nan)",
        "codes.get(text, 0)",
        "data/test_table.py receiver/meta/test_table_shadows.py data/test_written_and_read.py",
    ),
    # --- training ----------------------------------------------------------------------------------------------------
    Fault(
        "the noise of the first epoch comes again in the second",
        "training/seeding.py",
        "seed_of(self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)",
        "seed_of(self.seed, trainer.fit_loop.batch_idx, trainer.global_rank)",
        "training/test_seeding.py",
    ),
    Fault(
        "the average's decay warms up from the wrong step",
        "training/averaging.py",
        "min(self.decay, (2 + step) / (11 + step))",
        "min(self.decay, (1 + step) / (10 + step))",
        "training/test_averaging.py",
    ),
    # --- classifiers -------------------------------------------------------------------------------------------------
    Fault(
        "records are scored by a model that was trained on them",
        "classifiers/property.py",
        "rng.permutation(np.flatnonzero(groups != fold))",
        "rng.permutation(np.arange(len(x)))",
        "classifiers/test_property.py",
    ),
    Fault(
        "the kept scaling is learnt from the records that the model was trained on",
        "classifiers/property.py",
        "fit_platt(scorer(x[kept]).astype(np.float64), labels[kept])",
        "fit_platt(scorer(x[fitted]).astype(np.float64), labels[fitted])",
        "classifiers/test_property.py",
    ),
    # --- generators --------------------------------------------------------------------------------------------------
    Fault(
        "the path of a flow runs the other way",
        "generators/losses.py",
        "(output - (noise - x)).square()",
        "(output - (x - noise)).square()",
        "generators/test_losses.py generators/test_flow.py",
    ),
    Fault(
        "Min-SNR of noise divides by what belongs to velocity",
        "generators/losses.py",
        "(snr + 1 if velocity else snr)",
        "(snr if velocity else snr + 1)",
        "generators/test_diffusion.py",
    ),
    Fault(
        "a posterior's variance where its logarithm belongs",
        "generators/losses.py",
        "(mean.square() + logvar.exp() - 1 - logvar)",
        "(mean.square() + logvar - 1 - logvar.exp())",
        "generators/test_losses.py generators/test_vae.py",
    ),
    Fault(
        "Heun's second slope is taken at the first time",
        "generators/samplers.py",
        "(here + slope(there, then)) if then",
        "(here + slope(there, now)) if then",
        "generators/test_samplers.py",
    ),
    Fault(
        "Langevin's noise is not scaled by the step",
        "generators/samplers.py",
        "math.sqrt(2 * step) * sigma * normal()",
        "math.sqrt(step) * sigma * normal()",
        "generators/test_samplers.py",
    ),
    Fault(
        "a level's time is off by one",
        "generators/processes.py",
        ".abs().argmin(-1)",
        ".abs().argmin(-1).clamp(max=len(self.table) - 2)",
        "generators/test_processes.py",
    ),
    Fault(
        "samples of all seeds are alike",
        "generators/diffusion.py",
        "torch.Generator().manual_seed(seed_of(seed, int(i)))",
        "torch.Generator().manual_seed(seed_of(0, int(i)))",
        "generators/test_diffusion.py",
    ),
    # --- sharer ------------------------------------------------------------------------------------------------------
    Fault(
        "the worst table comes first",
        "sharer/poisoning/allocation.py",
        'order = np.argsort(-information, kind="stable")',
        'order = np.argsort(information, kind="stable")',
        "sharer/poisoning/test_exact.py",
    ),
    Fault(
        "an exchange goes in the direction away from the aim",
        "sharer/poisoning/exact.py",
        "effect = np.sign(missing) * bound.marginal()",
        "effect = -np.sign(missing) * bound.marginal()",
        "sharer/poisoning/test_exact.py",
    ),
    Fault(
        "greedy takes the record that violates the constraint most",
        "sharer/poisoning/greedy.py",
        "if distance < best[0] - SAME:",
        "if best[0] == np.inf or distance > best[0] + SAME:",
        "sharer/poisoning/test_greedy.py",
    ),
    Fault(
        "a share goes to the nearest edge of the bins",
        "sharer/protection/mixes.py",
        "bin_ = min(int(share * self.bins), self.bins - 1)",
        "bin_ = min(round(share * self.bins), self.bins - 1)",
        "sharer/protection/test_protected_mixes.py",
    ),
    Fault(
        "a released sampling rate below the true one",
        "sharer/protection/dp.py",
        "np.ceil(rate / unit - 1e-9)",
        "np.floor(rate / unit + 1e-9)",
        "sharer/protection/test_dp.py",
    ),
    Fault(
        "the frequencies of the classes are declared beside a privacy bound",
        "sharer/protection/dp.py",
        "frequencies = (not private) if declare_labels is None else declare_labels",
        "frequencies = True if declare_labels is None else declare_labels",
        "sharer/protection/test_dp.py",
    ),
    # --- receiver ----------------------------------------------------------------------------------------------------
    Fault(
        "residuals of a shadow by a model that has seen it",
        "receiver/meta/crossfit.py",
        "make, x[groups != fold], p[groups != fold], steps",
        "make, x, p, steps",
        "receiver/meta/test_crossfit.py",
    ),
    Fault(
        "the upper end of a CV+ interval is one rank too low",
        "receiver/meta/crossfit.py",
        "axis=0)[count - rank]",
        "axis=0)[count - rank - 1]",
        "receiver/meta/test_crossfit.py",
    ),
    Fault(
        "labels that were not filled in count as 0",
        "receiver/labelling.py",
        "for place, label in rows.items() if label}",
        "for place, label in rows.items()}",
        "receiver/test_labelling.py",
    ),
    Fault(
        "pictures are not brought to the deviation that the model was trained with",
        "receiver/zeroshot.py",
        "return (image - self._mean) / self._std",
        "return image - self._mean",
        "receiver/test_zeroshot.py",
    ),
    # --- audits ------------------------------------------------------------------------------------------------------
    Fault(
        "group and class change places in the table of decisions",
        "audits/poisoning/gap.py",
        "cells = (s * classes + y) * classes + scores.argmax(1)",
        "cells = (y * groups + s) * classes + scores.argmax(1)",
        "audits/test_gap.py",
    ),
    Fault(
        "the training that is predicted adds no variance",
        "audits/poisoning/gap.py",
        "np.sqrt(2 * of_training + of_reference)",
        "np.sqrt(of_training + of_reference)",
        "audits/test_gap.py",
    ),
    Fault(
        "a repair to 'independent' makes the groups equal",
        "audits/repair/weights.py",
        "np.tile(table.sum(1) / table.sum(), (table.shape[1], 1))",
        "np.full(table.T.shape, 1 / len(table))",
        "audits/test_repair_checked.py",
    ),
    Fault(
        "weights are the inverse of what they should be",
        "audits/repair/weights.py",
        "targets = wanted / before",
        "targets = before / wanted",
        "audits/test_repair.py",
    ),
    Fault(
        "the noise of the last level is taken at all",
        "audits/leak/membership.py",
        "at = times[number // noises]",
        "at = times[-1]",
        "audits/test_member_losses.py",
    ),
    # --- studies -----------------------------------------------------------------------------------------------------
    Fault(
        "a step's identity forgets what it builds on",
        "study/engine/step.py",
        '"needs": {name: needs[name] for name in self.needs}',
        '"needs": {name: "" for name in self.needs}',
        "study/test_runner.py",
    ),
    Fault(
        "a step that failed is taken for done",
        "study/engine/local.py",
        "if isinstance(reply, Reply) and reply.status == 0:",
        "if isinstance(reply, Reply):",
        "study/test_runner.py",
    ),
    # --- commands ----------------------------------------------------------------------------------------------------
    Fault(
        "a study whose step failed ends with status 0",
        "commands/study.py",
        "return 1 if result.failures else 0",
        "return 0",
        "study/test_study_command.py",
    ),
    # --- the ground floor --------------------------------------------------------------------------------------------
    Fault(
        "a write that failed leaves its temporary file",
        "storage.py",
        "temporary.unlink(missing_ok=True)",
        "pass",
        "test_storage.py",
    ),
    Fault(
        "a folder that holds something is replaced unasked",
        "storage.py",
        "        if not overwrite:\n",
        "        if overwrite is None:\n",
        "test_storage.py",
    ),
    Fault(
        "a lock's file stays",
        "locks.py",
        "os.unlink(path)",
        "pass",
        "test_storage.py",
    ),
    Fault(
        "a key may stand twice in received JSON",
        "received.py",
        "if len(dict(items)) != len(items):",
        "if len(dict(items)) > len(items):",
        "test_received.py",
    ),
    Fault(
        "a class that the other side lacks becomes its last one",
        "classes.py",
        "if len(wrong := np.flatnonzero((codes < 0) & (y >= 0))):",
        "if len(wrong := np.flatnonzero((codes < -1) & (y >= 0))):",
        "test_classes.py",
    ),
    Fault(
        "a mistake of the user ends with status 1",
        "cli.py",
        "1 if lost(error) else 2, error)",
        "1, error)",
        "test_overwrite.py",
    ),
)
