"""Real-time camera-to-satellite localization for ROS 2."""

__version__ = "0.1.0"
