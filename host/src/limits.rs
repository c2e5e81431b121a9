//! How many connections may be open, undecided, or come from one source; and what is counted over all workers.
//!
//! A permit is taken at accept and gives its places back when it is dropped, whatever ends the connection. All workers
//! write these counts, so a connection touches them as seldom as it can: one that is decided by what is there at accept
//! never takes a place among the undecided.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::config::Limits;

/// Counts shared by all workers.
#[derive(Debug, Default)]
pub struct Counters {
    open: AtomicUsize,
    undecided: AtomicUsize,
    per_source: Mutex<HashMap<Source, usize>>,
    /// Connections that were let in since the start.
    pub accepted: AtomicU64,
    /// Connections that were closed at accept because of a limit.
    pub refused: AtomicU64,
    /// Connections whose upstream could not be opened.
    pub upstream_failures: AtomicU64,
    /// Told whenever the last open connection ends.
    pub none_open: Notify,
}

/// Whom a connection is counted for: an IPv4 address or an IPv6 network of 64 bits, which one host can use as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// Returns the source that an address belongs to.
    pub fn of(address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        })
    }
}

/// Why a connection is closed as soon as it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `max_connections` are open.
    Connections,
    /// `max_undecided` are undecided.
    Undecided,
    /// `max_connections_per_source` are open from this source.
    Source,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Connections => "max_connections",
            Refusal::Undecided => "max_undecided",
            Refusal::Source => "max_connections_per_source",
        })
    }
}

/// A connection's place among the open ones, and among the undecided ones from [`Permit::undecided`] on until
/// [`Permit::decided`].
#[derive(Debug)]
pub struct Permit {
    counters: Arc<Counters>,
    source: Option<Source>,
    undecided: bool,
}

impl Counters {
    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns how many connections are undecided.
    pub fn undecided(&self) -> usize {
        self.undecided.load(Ordering::Relaxed)
    }

    /// Lets a connection in if the limits on open ones allow it; `None` is a client without an address.
    ///
    /// # Errors
    /// Names the limit that is reached; nothing is counted as open then.
    pub fn admit(self: &Arc<Counters>, limits: &Limits, address: Option<IpAddr>) -> Result<Permit, Refusal> {
        let refused = |refusal| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(refusal)
        };
        // Count first and look afterwards, so that workers that race for the last place never exceed the limit.
        let mut permit = Permit { counters: Arc::clone(self), source: None, undecided: false };
        if self.open.fetch_add(1, Ordering::Relaxed) >= limits.max_connections {
            return refused(Refusal::Connections);
        }
        if let (Some(max), Some(address)) = (limits.max_connections_per_source, address) {
            let source = Source::of(address);
            let mut per_source = self.per_source.lock().unwrap_or_else(PoisonError::into_inner);
            let count = per_source.entry(source).or_insert(0);
            if *count >= max {
                drop(per_source);
                return refused(Refusal::Source);
            }
            *count += 1;
            permit.source = Some(source);
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(permit)
    }
}

impl Permit {
    /// Takes a place among the undecided.
    ///
    /// # Errors
    /// There is none; the connection is to be closed, and counts as refused instead of accepted.
    pub fn undecided(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.undecided = true;
        if self.counters.undecided.fetch_add(1, Ordering::Relaxed) < limits.max_undecided {
            return Ok(());
        }
        self.counters.accepted.fetch_sub(1, Ordering::Relaxed);
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::Undecided)
    }

    /// Gives back the place among the undecided, if it has one.
    pub fn decided(&mut self) {
        if std::mem::take(&mut self.undecided) {
            self.counters.undecided.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.decided();
        if let Some(source) = self.source {
            let mut per_source = self.counters.per_source.lock().unwrap_or_else(PoisonError::into_inner);
            match per_source.get_mut(&source) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    per_source.remove(&source);
                }
            }
        }
        if self.counters.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.counters.none_open.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn limits(connections: usize, undecided: usize, source: Option<usize>) -> Limits {
        Limits { max_connections: connections, max_undecided: undecided, max_connections_per_source: source }
    }

    #[test]
    fn each_limit_refuses_one_too_many_and_recovers() {
        let counters = Arc::new(Counters::default());
        let mut open = [(); 2].map(|()| counters.admit(&limits(2, 2, None), None).unwrap());
        assert_eq!(counters.admit(&limits(2, 2, None), None).unwrap_err(), Refusal::Connections);
        assert_eq!((counters.open(), counters.undecided()), (2, 0));
        for permit in &mut open {
            permit.undecided(&limits(9, 2, None)).unwrap();
        }
        let mut third = counters.admit(&limits(9, 2, None), None).unwrap();
        assert_eq!(third.undecided(&limits(9, 2, None)), Err(Refusal::Undecided));
        drop(third);
        assert_eq!((counters.open(), counters.undecided()), (2, 2));
        let [mut first, second] = open;
        first.decided();
        first.decided();
        let mut third = counters.admit(&limits(9, 2, None), None).unwrap();
        assert_eq!(third.undecided(&limits(9, 2, None)), Ok(()));
        let counts = [&counters.accepted, &counters.refused].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [3, 2], "refused later counts like refused at once");
        drop((first, second, third));
        assert_eq!((counters.open(), counters.undecided()), (0, 0));
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let counters = Arc::new(Counters::default());
        let admit = |address: &str| counters.admit(&limits(9, 9, Some(1)), Some(address.parse().unwrap()));
        let held = [admit("127.0.0.1").unwrap(), admit("127.0.0.2").unwrap(), admit("2001:db8::1").unwrap()];
        assert_eq!(admit("127.0.0.1").unwrap_err(), Refusal::Source);
        assert_eq!(admit("::ffff:127.0.0.1").unwrap_err(), Refusal::Source);
        assert_eq!(admit("2001:db8::ffff:1").unwrap_err(), Refusal::Source);
        assert!(admit("2001:db8:0:1::1").is_ok());
        drop(held);
        assert!(admit("127.0.0.1").is_ok());
        assert!(counters.per_source.lock().unwrap().is_empty());
    }
}
