"""The ROS 2 side: nodes, parameters, messages, images, diagnostics. Nothing outside this package knows ROS."""
