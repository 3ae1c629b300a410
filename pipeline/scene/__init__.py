"""The truth a simulated pass is made of, shared by all instruments."""

from pipeline.scene.scene import QuietScene, Scene, make_quiet_scene, make_scene

__all__ = ["QuietScene", "Scene", "make_quiet_scene", "make_scene"]
