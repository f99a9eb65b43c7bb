"""diffshare: the risks of sharing generative models and synthetic data, measured and defended.

The names below are the face of the library; each is imported when it is used.

    import diffshare as ds

    own = ds.Records(x, y, s=s)                  # labelled records of your own
    audit = ds.audit(ds.Samples(new_x, new_y), own)
    share = ds.infer_property(ds.Samples(new_x), own, "s")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PLACES = {
    "Pool": "data.mixes",
    "Records": "receiver.records",
    "Samples": "receiver.samples",
    "UserError": "errors",
    "audit": "audits.poisoning.audit",
    "infer_property": "receiver.property.infer",
    "leak": "audits.leak.audit",
    "open_model": "receiver.box",
    "protect": "audits.protect",
    "repair": "audits.repair.repair",
}
_MODULES = {"mixes": "sharer.poisoning.mixes", "prevalence": "stats.prevalence"}
__all__ = [*sorted(_PLACES), *sorted(_MODULES), "__version__"]

if TYPE_CHECKING:
    from diffshare.audits.leak.audit import leak as leak
    from diffshare.audits.poisoning.audit import audit as audit
    from diffshare.audits.protect import protect as protect
    from diffshare.audits.repair.repair import repair as repair
    from diffshare.data.mixes import Pool as Pool
    from diffshare.errors import UserError as UserError
    from diffshare.receiver.box import open_model as open_model
    from diffshare.receiver.property.infer import infer_property as infer_property
    from diffshare.receiver.records import Records as Records
    from diffshare.receiver.samples import Samples as Samples


def __getattr__(name: str) -> Any:
    """Import a name of the face at its first use (PEP 562)."""
    if name in _MODULES:
        value = import_module(f"diffshare.{_MODULES[name]}")
    elif name in _PLACES:
        value = getattr(import_module(f"diffshare.{_PLACES[name]}"), name)
    else:
        raise AttributeError(f"module 'diffshare' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
