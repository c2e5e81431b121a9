//! Black-box tests of the runtime: every rule of the ABI, kept and broken, with modules written as text.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

mod abi;
mod cache;
mod hostile;
mod isolation;
