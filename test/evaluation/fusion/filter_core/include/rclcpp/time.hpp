// The little of rclcpp that robot_localization's filter needs: stamps and spans of time in nanoseconds.
#pragma once

#include <cmath>
#include <compare>
#include <cstdint>
#include <iomanip>  // rclcpp brings it along, and the filter counts on it

using rcl_time_point_value_t = std::int64_t;
enum rcl_clock_type_t { RCL_ROS_TIME = 1 };

namespace rclcpp {

class Duration {
 public:
  Duration(std::int32_t seconds, std::uint32_t nanoseconds) : ns_(seconds * 1'000'000'000LL + nanoseconds) {}
  static Duration from_nanoseconds(std::int64_t ns) {
    Duration made(0, 0u);
    made.ns_ = ns;
    return made;
  }
  static Duration from_seconds(double seconds) { return from_nanoseconds(std::llround(seconds * 1e9)); }
  std::int64_t nanoseconds() const { return ns_; }
  auto operator<=>(const Duration&) const = default;

 private:
  std::int64_t ns_;
};

class Time {
 public:
  Time(std::int64_t ns = 0) : ns_(ns) {}
  Time(std::int32_t seconds, std::uint32_t nanoseconds, rcl_clock_type_t) : ns_(seconds * 1'000'000'000LL + nanoseconds) {}
  std::int64_t nanoseconds() const { return ns_; }
  auto operator<=>(const Time&) const = default;
  Duration operator-(const Time& other) const { return Duration::from_nanoseconds(ns_ - other.ns_); }

 private:
  std::int64_t ns_;
};

}  // namespace rclcpp
