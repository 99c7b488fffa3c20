"""Lightning callbacks that observe a run: pictures, scores, checkpoints, and the watchdog of two-player training.

Callbacks test a model for capabilities (``types.py``), never for its name.
"""
