// The threads of the engine. They are its own: a frame needs tens of barriers, and the threads that
// torch shares among operators cost more to call than the small layers take. No torch in here.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fastgan::engine {

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return threads_; }
  // Calls work(thread) on every thread, the caller's as number 0, and returns when all are done.
  // It must not throw, and every thread must pass the same barriers.
  void run(const std::function<void(int)>& work);
  // Waits for the other threads inside of `run`.
  void barrier();

 private:
  void worker(int thread);
  bool wait_for_work(unsigned seen);

  const int threads_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<unsigned> epoch_{0};  // counts calls of run
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};  // counts barriers
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace fastgan::engine
