"""Fields by which the file of a result is told from others, so that one is replaced by its like alone."""

AUDIT = ("verdict", "association", "predicted_gap", "samples_sha256")
LEAK = ("role", "half_width", "disclosed", "properties")
