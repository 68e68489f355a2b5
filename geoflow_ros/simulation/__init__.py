"""A simulated vehicle on real ROS topics, a recorder, and the demo that drives them."""
