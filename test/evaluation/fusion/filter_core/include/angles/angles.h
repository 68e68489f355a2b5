#pragma once

#include <cmath>

namespace angles {
inline double normalize_angle(double angle) { return std::remainder(angle, 2.0 * M_PI); }
}  // namespace angles
