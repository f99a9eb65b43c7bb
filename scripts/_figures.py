"""What fills in README's table of measurements: figures out of kept results, by name."""

from typing import Any

from _kept import Estimate, estimate, kept, one, rounded

from diffshare.stats.intervals import clopper_pearson

Values = dict[str, Any]


def poisoning(name: str, where: str, guidance: float | None) -> Values:
    """One cell of a kept fairness poisoning study, at its largest alpha."""
    study = kept(name)
    setting = study["config"]["init_args"]
    place = {"where": where, "guidance": guidance}
    mine = [e for e in study["summary"] if (e["where"], e["guidance"]) == (where, guidance)]
    entry = max((e for e in mine if e["policy"] == "poisoned"), key=lambda e: e["alpha"])
    clean = one(study["summary"], policy="clean", **place)
    if not entry["directed"]:
        raise LookupError(f"{name} has no direction at {place}")
    data = setting["overrides"]["data"]
    size = setting.get("more", {}).get("data.source.image_size", data["source"].get("image_size"))
    return {
        "clean": entry["gap"]["clean"]["mean"],
        "poisoned": entry["gap"]["poisoned"]["mean"],
        "excess": estimate(entry["excess_gap"]),
        "absolute": estimate(entry["excess_gap_absolute"]),
        "accuracy": clean["accuracy"]["mean"],
        "after": entry["accuracy"]["mean"],
        "seeds": len(entry["seeds"]),
        "alpha": entry["alpha"],
        "guidance": guidance,
        "size": size,
        "n": setting["n"],
        "samples": setting["samples"],
    }


def through_generators() -> Values:
    """Property inference through generators: the published attack, the default, its remedies."""
    study = kept("property_generator_faces")
    queries = 1000
    cell = {"queries": queries, "labels": "none", "training": "plain"}
    values: Values = {"queries": queries}
    names = {"cc": "real", "pacc": "real", "emq": "real", "surrogates": "surrogate"}
    for name, calibration in names.items():
        method = "pacc" if name == "surrogates" else name
        entry = one(study["summary"], method=method, calibration=calibration, **cell)
        values[name] = entry["mean_absolute_error"]["mean"]
        values[f"{name}_held"] = estimate(entry, "coverage", "coverage_interval")
        values[f"{name}_half"] = entry["half_width"]
    return values | {
        "generators": entry["generators"],
        "seeds": len(study["config"]["init_args"]["seeds"]),
    }


def on_records() -> Values:
    """Property inference where real faces take the place of a generator's samples."""
    row = one(kept("property_real")["rows"], data="faces")
    values: Values = {"queries": row["queries"], "repetitions": row["trainings"]}
    values["shares"] = len({m["p"] for m in row["methods"]} - {None})
    for method in ("cc", "pacc", "emq"):
        entry = one(row["methods"], method=method, p=None)
        values[method] = entry["mean_absolute_error"]
        values[f"{method}_held"] = estimate(entry, "coverage", "coverage_interval")
    return values


def simulated() -> Values:
    """Coverage over all p of simulated scores, by estimator, of the weak and of the good classifier."""
    rows = kept("prevalence_simulation")["rows"]
    values: Values = {"records": 1000}
    chosen = {"condition": "holds", "calibrated": values["records"], "queries": values["records"]}
    rows = [
        row for row in rows if row["p"] is not None and all(row[k] == v for k, v in chosen.items())
    ]
    pairs = {
        "cc": "hoeffding",
        "acc": "bootstrap",
        "pacc": "bootstrap",
        "dmy": "bootstrap",
        "emq": "bootstrap",
    }
    for method, interval in pairs.items():
        for classifier in ("weak", "good"):
            wanted = (method, interval, classifier)
            mine = [r for r in rows if (r["estimator"], r["interval"], r["classifier"]) == wanted]
            held = sum(r["coverage"] * r["repetitions"] for r in mine)
            values[f"{method}_{classifier}"] = held / sum(r["repetitions"] for r in mine)
    return values


def tabular() -> Values:
    """Use of the rows of the tabular model."""
    use = kept("tabular")
    return {
        "synthetic": use["natural"]["macro_f1"]["mean"],
        "real": use["real_macro_f1"]["mean"],
        "lost": estimate(use["natural"]["macro_f1_lost"]),
        "trainings": use["trainings"],
        "training": use["training_processor_seconds"],
        "sampling": use["sample_30000_seconds"],
        "rows": 30000,
    }


def audited_records() -> Values:
    """Audits of folders of real records."""
    rows = kept("audit_records")["rows"]
    alpha = 0.3
    power: dict[str, list[float]] = {"adult": [], "faces": []}
    for row in rows:
        power[row["data"]].append(one(row["alphas"], alpha=alpha)["power"]["rate"])
    worst = max(rows, key=lambda r: r["false_alarms"]["rate"])
    return {
        "queries": rows[0]["queries"],
        "folders": rows[0]["folders"],
        "splits": rows[0]["splits"],
        "alpha": alpha,
        "alarms": estimate(worst["false_alarms"], "rate").times(100),
        "adult": min(power["adult"]),
        "low": min(power["faces"]),
        "high": max(power["faces"]),
    }


def audited_generators(name: str, *alphas: float) -> Values:
    """Audits of generators: how many clean ones were flagged, how many of these alphas together."""
    study = kept(name)
    (summary,) = study["summary"]
    clean = one(summary["by_alpha"], alpha=0.0)
    cells = [one(summary["by_alpha"], alpha=alpha) for alpha in alphas]
    number = sum(cell["generators"] for cell in cells)
    flagged = sum(cell["verdicts"]["poisoned"] for cell in cells)
    setting = study["config"]["init_args"]
    interval = clopper_pearson(flagged, number, setting["level"])
    return {
        "models": sum(c["generators"] for c in summary["by_alpha"]),
        "queries": setting["samples"],
        "alarms": clean["verdicts"]["poisoned"],
        "clean": clean["generators"],
        "alarm": estimate(clean, "flagged", "flagged_interval").times(100),
        "flagged": flagged,
        "number": number,
        "found": Estimate(flagged / number, interval.low, interval.high).times(100),
        "error": summary["gap"]["mean_absolute_error"],
        "largest": summary["gap"]["largest_error"],
        "alphas": " and ".join(f"{alpha:g}" for alpha in alphas),
    }


def adaptive() -> Values:
    """What a sharer who knows the audit keeps at 2,000 queries, beside the attack without a margin."""
    values: Values = {"queries": 2000}
    for name in ("adult", "faces"):
        study = kept(f"adaptive_{name}")
        setting = study["config"]["init_args"]
        sets = setting.get("sets", setting)  # kept before these had a group of their own
        values |= {"cuts": len(setting["seeds"]), "alpha": sets["alpha"]}
        values[name] = estimate(
            one(study["summary"], of="curve", queries=values["queries"])["excess_gap"]
        )
        widest = max(sets["margins"])
        values[f"{name}_whole"] = one(study["summary"], of="set", margin=widest)["excess_gap"][
            "mean"
        ]
    return values


def repaired_records() -> Values:
    """Repair of real records by checked weights."""
    study = kept("repair")
    values: Values = {"seeds": len(study["seeds"]), "alpha": study["settings"]["alpha"]}
    for setting in ("faces", "adult"):
        entry = one(study["rows"], setting=setting, option="reweigh checked, estimated")
        oracle = one(study["rows"], setting=setting, option="reweigh, oracle")
        values[setting] = estimate(entry["excess_gap_gone_percent"])
        values[f"{setting}_known"] = oracle["excess_gap_gone_percent"]["mean"]
        values[f"{setting}_gain"] = estimate(entry["accuracy_loss_to_no_repair"]).times(-100)
    return values


def repaired_generators() -> Values:
    """Repair of generators' samples: Adult, and faces with a network."""
    values: Values = {"alpha": 0.5}
    names = {"adult": ("audit_generators_adult", "asked"), "weights": ("repair_generators_faces", "reweigh"),
             "faces": ("repair_generators_faces", "asked_checked")}  # fmt: skip
    for name, (file, repair) in names.items():
        study = kept(file)
        entry = one(study["summary"][0]["repairs"], repair=repair, alpha=values["alpha"])
        values[name] = estimate(entry["excess_gone"], "share").times(100)
        values[f"{name}_gain"] = estimate(entry["accuracy_change"]["poisoned"]).times(100)
        values[f"{name}_seeds"] = len(entry["seeds"])
    return values | {
        "size": study["config"]["init_args"]["overrides"]["data"]["source"]["image_size"]
    }


def bench(name: str, **rows: str) -> Values:
    """Figures of a benchmark by the names of its rows; ``KEY_ratio`` is what a figure is to its baseline."""
    entries = {key: one(kept(name), name=row) for key, row in rows.items()}
    ratios = {f"{key}_ratio": entry["ratio"] for key, entry in entries.items()}
    return {key: entry["value"] for key, entry in entries.items()} | ratios


def decoding() -> Values:
    """Speed of decoding to the cache, and what it is of pillow's alone."""
    speeds = bench("cache", decoding="decoding to the cache")
    return {"speed": rounded(speeds["decoding"], 3), "ratio": speeds["decoding_ratio"]}


def rendering() -> Values:
    """Faces a second."""
    return {"faces": rounded(bench("render", faces="render 32x32")["faces"], 3)}
