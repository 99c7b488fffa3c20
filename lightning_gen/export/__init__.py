"""Exporting a trained model: weights, configuration, ONNX, samples, score cards and a model card in one folder."""
