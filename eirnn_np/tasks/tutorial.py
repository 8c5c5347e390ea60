"""The tutorial's task, its dt and timing in ms, and who may draw a batch; imports nothing, for the command's help."""

SOURCES = ("auto", "compiled", "neurogym")
TUTORIAL_TASK = "PerceptualDecisionMaking-v0"
TUTORIAL_DT = 20  # that of ModelConfig, too
TUTORIAL_TIMING = {"fixation": ("choice", (50, 100, 200, 400)), "stimulus": ("choice", (100, 200, 400, 800))}
EVALUATION_TIMING = {"fixation": ("constant", 500), "stimulus": ("constant", 500)}
