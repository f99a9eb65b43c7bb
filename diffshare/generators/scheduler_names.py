"""Names of schedulers that a model of the DDPM kind can be sampled with."""

# Of diffusers' schedulers, those that take the noise levels of a DDPM and need one network call a step.
SAMPLERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "UniPCMultistepScheduler",
)
