"""The ROS 2 edge: node, parameters, messages, images, diagnostics. No room to its left knows ROS."""
