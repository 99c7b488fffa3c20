"""What watches a run: pictures, fidelity, checkpoints. They ask a model for capabilities, never for its name."""
