"""Videos to sequences: frames, clips, backbones, trajectories."""
