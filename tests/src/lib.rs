//! The programs of README.md, which run as documentation tests. The tests of the server are in
//! `blackbox`.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
