"""Training sets that give away a bin of a property's share, or nothing of it, instead of the share."""

from dataclasses import replace

import numpy as np

from diffshare.data.mixes import Choice, Pool, Proportion
from diffshare.errors import UserError

NAMED = 40  # characters of the property's name in what the card declares


class Quantised(Proportion):
    """The sharer's share p of a property is moved to the centre of its bin, of equal bins of [0, 1].

    Bound: for a given ``n``, pools whose p lies in one bin have training sets with equally many records of each kind,
    drawn at random within a kind. So whatever is inferred of the number of records with the property, by any attack and
    any number of queries, is the bin: at most log2(bins) bits of p, and all p of a bin stay as likely, one against the
    other, as they were before. Whoever guesses the centre is wrong by up to 1 / (2 bins); nobody does better who knows
    no more of p than that each value in the bin is as likely as the others.

    Not bounded: other properties, and how they differ between records with and without this one. ``n`` itself depends
    on p where it is left out (as many as the pool allows), so name it if counts are declared. It protects the sharer's
    *pool*; the training set has the share that the card says.

    Args:
        bins: number of equal bins; 1 always trains on equal counts (see :class:`Balanced`).
        n: number of records; as many as the pool allows where left out.
        property: name of the attribute; the sensitive one where left out.
        value: the class of that attribute that counts as having it, by its name or, where none is called so, by its
            number; the second in their order where left out.
    """

    policy = "quantised"

    def __init__(
        self,
        bins: int,
        n: int | None = None,
        property: str | None = None,
        value: int | str | None = None,
    ) -> None:
        if bins < 1:
            raise UserError(f"mix.bins is {bins}: a share is told in at least 1 bin")
        super().__init__(0.5, n, property, value)
        self.bins = bins

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Draw records with and without the property, each at random, in the shares of the centre of the bin."""
        name = self.property or pool.sensitive
        if name is None:
            raise UserError(
                f"the mix '{self.policy}' needs data.mix.property or data.sensitive: name an attribute"
            )
        attribute = pool.index.attribute(name)
        codes = attribute.codes[attribute.codes >= 0]
        if not len(codes):
            raise UserError(
                f"'{name}' is known of no record of the pool: choose another data.mix.property"
            )
        share = float(np.mean(codes == self._place(name, attribute).code))
        bin_ = min(int(share * self.bins), self.bins - 1)
        choice = Proportion((bin_ + 0.5) / self.bins, self.n, name, self.value).choose(pool, seed)
        protection = f"training set balanced by '{name[:NAMED]}'"
        if self.bins > 1:
            protection = (
                f"share of '{name[:NAMED]}' in the training set told in {self.bins} bins only"
            )
        report = {
            **choice.report,
            "bins": self.bins,
            "pool_share": share,
            "protections": [protection],
        }
        return replace(choice, report=report)


class Balanced(Quantised):
    """Equal counts with and without a property, whatever its share: :class:`Quantised` with one bin, 0 bits.

    Args:
        n: number of records; as many as the pool allows where left out.
        property: name of the attribute; the sensitive one where left out.
        value: the class of that attribute that counts as having it, by its name or, where none is called so, by its
            number; the second in their order where left out.
    """

    policy = "balanced"

    def __init__(
        self, n: int | None = None, property: str | None = None, value: int | str | None = None
    ) -> None:
        super().__init__(1, n, property, value)
