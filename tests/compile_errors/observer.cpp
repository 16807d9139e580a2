// Things that are no observer.
#include "parts.hpp"

using parts::T;

template <class Observer> void run(T x, const Observer& o) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known, parts::update, {}, o);
}

struct of_nothing {
  void operator()() const;
};
// error: the observer is not callable with a `const progress<T>&`, or returns neither void nor a verdict
template void run(T, const of_nothing&);

struct answers_with_bool {
  bool operator()(const pushforward::progress<T>&) const;
};
// error: the observer is not callable with a `const progress<T>&`, or returns neither void nor a verdict
template void run(T, const answers_with_bool&);
