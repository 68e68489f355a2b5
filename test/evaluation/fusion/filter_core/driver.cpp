// Feeds robot_localization's own extended Kalman filter with measurements, in the order of their arrival, and prints what
// it answers. The filter (ekf.cpp, filter_base.cpp, filter_utilities.cpp) is compiled from a checkout of
// robot_localization; what its node does around it for measurements that need no TF is here: flat worlds (two_d_mode) and
// late measurements (smooth_lagged_data, history_length).
//
// In, one line each:
//   noise      15 numbers                    diagonal of process_noise_covariance
//   initial    15 numbers                    diagonal of initial_estimate_covariance
//   flat       0 or 1                        two_d_mode
//   smooth     seconds                       smooth_lagged_data with this history_length
//   measure    STAMP_NS KIND N, N indices of the state, N values, N x N covariance
//   ask        NOW_NS                        update as the node does, at its frequency
// Out:
//   state      STAMP_NS, 15 values, x x, x y, y y, yaw yaw of the covariance
//   innovation STAMP_NS KIND N, squared distance of (x, y) from what the filter expected, by what both say of themselves

#include <Eigen/Dense>

#include <cstdio>
#include <deque>
#include <iostream>
#include <memory>
#include <queue>
#include <sstream>
#include <string>
#include <vector>

#include "robot_localization/ekf.hpp"
#include "robot_localization/filter_common.hpp"
#include "robot_localization/filter_state.hpp"
#include "robot_localization/measurement.hpp"

using namespace robot_localization;

namespace {

constexpr double kFlatVariance = 1e-6;
constexpr StateMembers kFlat[] = {StateMemberZ,     StateMemberRoll,   StateMemberPitch, StateMemberVz,
                                  StateMemberVroll, StateMemberVpitch, StateMemberAz};

class Node {
 public:
  bool flat = false;
  bool smooth = false;
  rclcpp::Duration history = rclcpp::Duration(0, 0u);
  Ekf filter;

  void take(std::istream& line) {
    auto taken = std::make_shared<Measurement>();
    std::int64_t stamp_ns;
    int count;
    line >> stamp_ns >> taken->topic_name_ >> count;
    taken->time_ = rclcpp::Time(stamp_ns);
    taken->measurement_ = Eigen::VectorXd::Zero(STATE_SIZE);
    taken->covariance_ = Eigen::MatrixXd::Zero(STATE_SIZE, STATE_SIZE);
    taken->update_vector_.assign(STATE_SIZE, false);
    std::vector<int> indices(count);
    for (int& index : indices) line >> index;
    for (int index : indices) {
      line >> taken->measurement_(index);
      taken->update_vector_[index] = true;
    }
    for (int row : indices)
      for (int column : indices) line >> taken->covariance_(row, column);
    if (flat)
      for (StateMembers member : kFlat) {
        taken->measurement_(member) = 0.0;
        taken->covariance_(member, member) = kFlatVariance;
        taken->update_vector_[member] = true;
      }
    waiting_.push(taken);
  }

  void update(rclcpp::Time now) {
    if (smooth && !waiting_.empty() && waiting_.top()->time_ < filter.getLastMeasurementTime())
      go_back_before(waiting_.top()->time_);
    while (!waiting_.empty() && waiting_.top()->time_ <= now) {
      MeasurementPtr next = waiting_.top();
      waiting_.pop();
      say_innovation(*next);
      filter.processMeasurement(*next);
      if (!smooth) continue;
      done_.push_back(next);
      if (waiting_.empty() || waiting_.top()->time_ != filter.getLastMeasurementTime()) remember();
    }
    while (!done_.empty() && filter.getLastMeasurementTime() - done_.front()->time_ > history) done_.pop_front();
    while (!states_.empty() && filter.getLastMeasurementTime() - states_.front().last_measurement_time_ > history)
      states_.pop_front();
  }

  void say_state() {
    if (!filter.getInitializedStatus()) return;
    const Eigen::MatrixXd& of = filter.getEstimateErrorCovariance();
    std::printf("state %lld", static_cast<long long>(filter.getLastMeasurementTime().nanoseconds()));
    for (int i = 0; i < STATE_SIZE; ++i) std::printf(" %.9g", filter.getState()(i));
    std::printf(" %.9g %.9g %.9g %.9g\n", of(0, 0), of(0, 1), of(1, 1), of(StateMemberYaw, StateMemberYaw));
  }

 private:
  std::priority_queue<MeasurementPtr, std::vector<MeasurementPtr>, Measurement> waiting_;
  std::deque<MeasurementPtr> done_;
  std::deque<FilterState> states_;

  void remember() {
    FilterState state;
    state.state_ = filter.getState();
    state.estimate_error_covariance_ = filter.getEstimateErrorCovariance();
    state.last_measurement_time_ = filter.getLastMeasurementTime();
    states_.push_back(state);
  }

  void go_back_before(rclcpp::Time late) {
    FilterState state;
    while (!states_.empty()) {
      state = states_.back();
      if (state.last_measurement_time_ < late) break;
      states_.pop_back();
    }
    if (state.state_.size() == 0) return;
    filter.setState(state.state_);
    filter.setEstimateErrorCovariance(state.estimate_error_covariance_);
    filter.setLastMeasurementTime(state.last_measurement_time_);
    while (!done_.empty() && done_.back()->time_ >= late) {
      if (state.last_measurement_time_ <= done_.back()->time_) waiting_.push(done_.back());
      done_.pop_back();
    }
  }

  void say_innovation(const Measurement& next) {
    if (!next.update_vector_[StateMemberX] || !filter.getInitializedStatus()) return;
    Ekf expected = filter;
    const rclcpp::Duration ahead = next.time_ - filter.getLastMeasurementTime();
    if (ahead > rclcpp::Duration(0, 0u)) expected.predict(next.time_, ahead);
    const Eigen::Vector2d off = next.measurement_.head<2>() - expected.getState().head<2>();
    const Eigen::Matrix2d spread =
        expected.getEstimateErrorCovariance().topLeftCorner<2, 2>() + next.covariance_.topLeftCorner<2, 2>();
    std::printf("innovation %lld %s %.9g\n", static_cast<long long>(next.time_.nanoseconds()), next.topic_name_.c_str(),
                off.dot(spread.inverse() * off));
  }
};

Eigen::MatrixXd diagonal(std::istream& line) {
  Eigen::VectorXd values(STATE_SIZE);
  for (double& value : values) line >> value;
  return values.asDiagonal();
}

}  // namespace

int main() {
  Node node;
  std::string text;
  while (std::getline(std::cin, text)) {
    std::istringstream line(text);
    std::string word;
    line >> word;
    if (word == "noise") node.filter.setProcessNoiseCovariance(diagonal(line));
    if (word == "initial") node.filter.setEstimateErrorCovariance(diagonal(line));
    if (word == "flat") line >> node.flat;
    if (word == "measure") node.take(line);
    if (word == "smooth") {
      double seconds;
      line >> seconds;
      node.smooth = true;
      node.history = rclcpp::Duration::from_seconds(seconds);
    }
    if (word == "ask") {
      std::int64_t now_ns;
      line >> now_ns;
      node.update(rclcpp::Time(now_ns));
      node.say_state();
    }
    if (line.fail()) {
      std::fprintf(stderr, "a line that cannot be read: %s\n", text.c_str());
      return 2;
    }
  }
}
