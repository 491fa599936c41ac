//! The spam filter: signals, classifiers, a verdict with its reasons. Pure.
