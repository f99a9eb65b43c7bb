"""Several processes that train as one: which of them speaks when something goes wrong."""

import os
import re

from torch import distributed

# what gloo, NCCL and the store say when the other end of a connection has gone
_LOST = re.compile(
    r"gloo.*(connection (reset|closed|refused)|broken pipe|timed out)|NCCL.*(remote process|unhandled system error)"
    r"|connection (was|has been) closed|recvValue failed|sendBytes failed",
    re.IGNORECASE | re.DOTALL,
)


RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")  # of this process, by torchrun, SLURM and Lightning


def is_first() -> bool:
    """Whether this process is alone or the first of its job, as its environment says before any trainer is there."""
    node = next(
        (os.environ[name] for name in ("GROUP_RANK", "NODE_RANK") if name in os.environ), "0"
    )
    rank = next((os.environ[name] for name in RANKS if name in os.environ), "0")
    return rank == "0" and (node == "0" or "RANK" in os.environ or "SLURM_PROCID" in os.environ)


def job() -> str | None:
    """A name of the job that this process shares with others, where a launcher has started them."""
    if "SLURM_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_STEP_ID')}"
    if "MASTER_PORT" in os.environ:
        return f"{os.environ.get('MASTER_ADDR')}:{os.environ['MASTER_PORT']}"
    return None


def lost_another(error: BaseException) -> bool:
    """Whether an error says no more than that another process of the job is gone."""
    if not distributed.is_available() or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, distributed.DistNetworkError) or bool(_LOST.search(str(error)))


def speaks(error: BaseException | None) -> bool:
    """Whether this process tells what went wrong: the first of the job that fails, once.

    Before the processes know each other they all fail alike, and the first one speaks. Later the failures are counted
    in the store that they share. Where that is gone, so is the process that kept it: it has told of the same error; or
    it was killed, and whoever misses it says so.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return next((os.environ[name] for name in RANKS if name in os.environ), "0") == "0"
    try:
        return distributed.distributed_c10d._get_default_store().add("diffshare/failures", 1) == 1
    except RuntimeError:
        return error is not None and lost_another(error)


def name() -> str:
    """``process 1: `` of several, for the start of a message; empty where there is one only."""
    if (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    ):
        return f"process {distributed.get_rank()}: "
    return ""
