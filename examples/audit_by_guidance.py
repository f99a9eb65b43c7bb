"""How does the association of a model's samples change with guidance? An audit for each scale.

python examples/audit_by_guidance.py RELEASE
"""

import sys

import diffshare as ds
from diffshare.classifiers.recipes import KernelRecipe
from diffshare.data.rendered import RenderedFaces

if len(sys.argv) != 2:
    sys.exit(__doc__)
box = ds.open_model(sys.argv[1])
faces = RenderedFaces(count=3000, image_size=box.card.image_size)
own = ds.Records.from_source(faces, target="Smiling", sensitive=["Male"], part="all")
for guidance in (1.0, 1.5, 2.0):
    samples = box.draw("balanced", count=200, guidance=guidance)
    audit = ds.audit(
        samples, own, guidance=guidance, classifier=KernelRecipe(), folds=2, gap_repeats=0
    )
    print(f"guidance {guidance:g}: {audit}")
