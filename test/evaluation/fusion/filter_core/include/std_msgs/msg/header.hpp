#pragma once

#include <cstdint>

namespace std_msgs::msg {
struct Header {
  struct _stamp_type {
    std::int32_t sec;
    std::uint32_t nanosec;
  };
};
}  // namespace std_msgs::msg
