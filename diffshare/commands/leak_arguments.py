"""The arguments of ``audit --as sharer``, and those that it has no use for."""

from jsonargparse import ArgumentParser, Namespace

from diffshare.errors import UserError

OF_RECEIVER = (
    "sensitive",
    "candidates",
    "clusters",
    "margin",
    "margin_from",
    "sequential",
    "declared",
    "downstream",
    "withhold",
    "out",
)


def add_leak(parser: ArgumentParser) -> None:
    """Add what the sharer's audit has beyond the receiver's."""
    add = parser.add_argument
    kinds = "NAME, or NAME:CLASS"
    add("--properties", type=str, nargs="+", default=[], help=f"Sharer: attributes to attack, {kinds}; all by default.")
    add("--write-card", action="store_true", help="Sharer: put what can be read, without the values, into README.md.")


def check_leak(config: Namespace) -> None:
    """Refuse what does not go together with the role.

    Raises:
        UserError: an argument of the other role, or none that says what to attack with.
    """
    if config["as"] == "receiver":
        if config.properties or config.write_card:
            flag = "properties" if config.properties else "write-card"
            raise UserError(f"--{flag} is for a sharer who audits the own release: add --as sharer, or leave it out")
        return
    if given := [name for name in OF_RECEIVER if config[name]]:
        flag = given[0].replace("_", "-")
        raise UserError(f"--{flag} is for a receiver's audit, --as sharer has no use for it: leave it out")
    if config.reference is None:
        raise UserError("--as sharer attacks with labelled records that were not trained on: add --reference FILE")
    if config.write_card and config.model is None:
        raise UserError("--write-card writes into a release: name it with --model instead of --samples")
