"""Everything behind scripts/train_models.py: scenes, networks, fitting, export, measurement and the model card."""
