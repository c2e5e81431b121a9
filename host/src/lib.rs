//! portsplit: one TCP port, many services.
//!
//! The reading order is the data flow: `cli` → `config` (raw → valid) → `server` → `listener` → `connection`
//! (read, decide, act, relay). `router`, `matcher` and `decision` take bytes and return values: they do no I/O and read
//! no clock.

pub mod cli;
pub mod config;
pub mod server;

pub mod limits;
pub mod listener;
pub mod sockets;

pub mod connection;

pub mod decision;
pub mod matcher;
pub mod plugin;
pub mod router;

pub mod action;
pub mod relay;
pub mod stream;

mod buffer;
pub mod log;
mod pipe;
mod reactor;
mod sys;
mod watched;
