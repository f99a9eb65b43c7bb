"""Turns what went wrong into one line for a person, where it is a mistake that the person can mend."""

import errno
import re
import sys

from diffshare.commands.flags import in_flags
from diffshare.errors import UserError
from diffshare.storage import no_room


def explain(error: BaseException) -> str | None:
    """One line that says what was wrong and how to mend it, with flags; None for a fault of the program itself."""
    from jsonargparse import ArgumentError

    for cause in _chain(error):
        if isinstance(cause, UserError):
            # what other libraries put in backticks is no flag
            return in_flags(_one_line(str(cause)))
    if isinstance(error, ArgumentError):
        return _parser_message(str(error))
    if _is_a(error, "lightning.fabric.utilities.exceptions", "MisconfigurationException"):
        return _one_line(
            f"{str(error).strip().rstrip('.!')}: mend that setting of the trainer (fit --help lists them)"
        )
    # a constructor refused its arguments, by whatever error
    if str(error).startswith("Does not validate"):
        cause = _chain(error)[-1]
        reason = str(cause).rstrip(".") or type(cause).__name__
        return _one_line(f"this configuration cannot be built: {reason}; mend that setting")
    if isinstance(error, RuntimeError) and "loading state_dict" in str(error):
        reason = "".join(str(error).splitlines()[1:2]).strip()[:200]
        return _one_line(
            f"the checkpoint does not fit the model: {reason}...; use the config of the run that wrote it"
        )
    if lost(error):
        return (
            "another process of this job is gone: it was killed or ended with a message of its own; when that is "
            "mended, go on with fit --run-dir FOLDER --resume"
        )
    if isinstance(error, MemoryError):
        return f"{_one_line(str(error)) or 'not enough memory'}; ask for less at once (records, samples, a batch)"
    if isinstance(error, OSError) and error.errno in _PLACES:
        name = str(error.filename or "a file")
        name = name if len(name) <= 300 else f"{name[:300]}..."
        return f"{name}: {error.strerror}; choose a place that exists, is writable and has room"
    if full := no_room(error):
        return f"a file cannot be written: {full}; make room there, or choose another place"
    return None


def lost(error: BaseException) -> bool:
    """Whether an error says no more than that another process of the job is gone."""
    # which alone raises such an error; a refusal does not wait for its import
    if "torch" not in sys.modules:
        return False
    from diffshare.training.processes import lost_another

    return lost_another(error)


def _is_a(error: BaseException, module: str, name: str) -> bool:
    """Whether an error is of a class of a module, which is not imported: where it was not, no such error exists."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(error, kind)


_PLACES = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOENT, errno.ENOTDIR,
    errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO,
)  # fmt: skip


def _chain(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _parser_message(text: str) -> str:
    """One line of jsonargparse's nested message: the dotted key and the innermost reason.

    The parser reports every member of a union in turn; that a value is not None is no news, and the first reason that
    is left belongs to the class that was named.
    """
    keys = re.findall(r'Parser key "([^"]+)"', text)
    reasons = [line.strip().removeprefix("- ") for line in text.splitlines()]
    reasons = [
        line
        for line in reasons
        if line and not line.startswith(SCAFFOLDING) and "NoneType" not in line
    ]
    if not reasons:
        return _one_line(text)
    reason = EXPECTED.sub(r"expected \1\2", reasons[0])
    members = [EXPECTED.fullmatch(line) for line in reasons]
    if len(members) > 1 and all(members):  # of a union of plain types
        types = dict.fromkeys(match[1] or match[2] for match in members if match)
        reason = f"expected {' or '.join(types)}"
    reason = re.sub(r"Expected a path but (.+) either not accessible or invalid", NO_NAME, reason)
    # a whole block of the config is no news
    given = re.search(r"Given value: (?!NestedArg|Namespace|[{\[])(.+)", text)
    if given and given[1] not in reason:
        reason += f", got {given[1]}"
    where = ".".join(key for i, key in enumerate(keys) if key not in keys[:i])
    remedy = next((remedy for sign, remedy in REMEDIES if re.search(sign, reason)), "")
    return _one_line((f"{where}: " if where else "") + reason + remedy)


EXPECTED = re.compile(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])")
REMEDIES = (
    (r"not accept|unrecognized arguments", "; mend the name (--help lists what there is)"),
    (r"has no attribute|No module named", "; mend the class_path"),
    (r"required: .*\bdata\b", "; name a --config FILE that has them"),
    (r"required: ", "; add them (--help explains each)"),
)
NO_NAME = r"\1 is neither a class that can be imported nor a file; mend the name"
SCAFFOLDING = (
    "Parser key",
    "Problem with given class_path",
    "Does not validate",
    "Subtypes",
    "Errors:",
    "Given value",
)
