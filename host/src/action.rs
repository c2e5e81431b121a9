//! What a decision leads to: opens the upstream, a socket or a program, that a connection is relayed to.

pub mod connect;
pub mod exec;
