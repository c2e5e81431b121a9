//! What is known about a connection, and the one log line that says it.

use std::fmt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Plan, action_of};
use crate::config::Action;
use crate::decision::{Decision, Outcome};
use crate::limits::Permit;
use crate::listener::Peer;
use crate::relay::Report;

/// How a connection ends that nobody ended: the server has stopped.
pub(super) const CUT_OFF: &str = "cut-off";

/// What is known about a connection. It is logged when this is dropped at the latest, so that no connection ends unseen.
pub(super) struct Record {
    pub(super) peer: Peer,
    pub(super) plan: Rc<Plan>,
    pub(super) accepted_at: Instant,
    decided_after: Duration,
    first_flight_bytes: usize,
    decision: Option<Decision>,
    pub(super) upstream: Option<Upstream>,
    /// Targets that did not answer, each with the reason.
    failed: Option<Box<str>>,
    logged: bool,
    pub(super) permit: Permit,
}

/// What an action opened.
pub(super) enum Upstream {
    /// The target of this number in the service's list.
    Target(usize),
    /// A program, by its process id.
    Program(u32),
}

/// How a connection ended.
pub(super) struct Ended {
    /// The reason in a word.
    pub(super) end: &'static str,
    /// Bytes that were relayed to the upstream and to the client.
    pub(super) moved: Option<(u64, u64)>,
    /// How the program ended, unless it succeeded.
    pub(super) exit: Option<ExitStatus>,
    pub(super) error: Option<String>,
}

impl Ended {
    pub(super) fn because(end: &'static str) -> Ended {
        Ended { end, moved: None, exit: None, error: None }
    }

    pub(super) fn relayed(report: Report) -> Ended {
        Ended { moved: Some((report.bytes_in, report.bytes_out)), ..Ended::because(report.ending.name()) }
    }
}

impl Record {
    /// Begins with a connection that has just been accepted.
    pub(super) fn new(peer: Peer, plan: Rc<Plan>, permit: Permit) -> Record {
        Record {
            peer,
            plan,
            accepted_at: Instant::now(),
            decided_after: Duration::ZERO,
            first_flight_bytes: 0,
            decision: None,
            upstream: None,
            failed: None,
            logged: false,
            permit,
        }
    }

    /// Takes note of the decision and returns when it fell, which is now.
    pub(super) fn decided(&mut self, decision: Decision, first_flight_bytes: usize) -> Instant {
        let now = Instant::now();
        self.permit.decided();
        self.decided_after = now.duration_since(self.accepted_at);
        self.first_flight_bytes = first_flight_bytes;
        self.decision = Some(decision);
        now
    }

    pub(super) fn note_failed(&mut self, failed: &[String]) {
        self.failed = (!failed.is_empty()).then(|| failed.join("; ").into());
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.decision.map(|decision| decision.outcome)
    }

    pub(super) fn service(&self) -> &str {
        match self.outcome() {
            Some(Outcome::Service(number)) => self.plan.config.services.get(number).map_or("", |service| &service.name),
            Some(Outcome::Fallback) => "fallback",
            Some(Outcome::Timeout) => "timeout",
            Some(Outcome::Close) | None => "",
        }
    }

    /// Logs the end of what is over.
    pub(super) fn end(mut self, ended: Ended) {
        self.log_end(&ended);
    }

    /// Logs the end, once and for all.
    pub(super) fn log_end(&mut self, ended: &Ended) {
        self.log(ended);
        self.logged = true;
    }

    /// Ends without a log line.
    pub(super) fn forget(mut self) {
        self.logged = true;
    }

    fn log(&self, ended: &Ended) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let service = Some(self.service()).filter(|service| !service.is_empty());
        let reason = self.decision.map(|decision| tracing::field::display(decision.reason));
        let decided = self.decision.map(|decision| decision.deciding_bytes);
        tracing::info!(
            peer = %self.peer,
            listener = self.plan.listener,
            service,
            reason,
            deciding_bytes = decided,
            first_flight_bytes = self.first_flight_bytes,
            decide_us = u64::try_from(self.decided_after.as_micros()).unwrap_or(u64::MAX),
            upstream = self.upstream.as_ref().map(|_| tracing::field::display(ShownUpstream(self))),
            bytes_in = ended.moved.map(|(inward, _)| inward),
            bytes_out = ended.moved.map(|(_, outward)| outward),
            duration_ms = u64::try_from(self.accepted_at.elapsed().as_millis()).unwrap_or(u64::MAX),
            exit = ended.exit.map(tracing::field::display),
            end = ended.end,
            error = ended.error.as_deref().or(self.failed.as_deref()),
            "connection"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.logged {
            self.log(&Ended::because(CUT_OFF));
        }
    }
}

/// The upstream of a connection, as logs show it.
struct ShownUpstream<'a>(&'a Record);

impl fmt::Display for ShownUpstream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { plan, upstream, .. } = self.0;
        match upstream {
            Some(Upstream::Target(number)) => match self.0.outcome().map(|outcome| action_of(&plan.config, outcome)) {
                Some(Action::Connect(to)) => to.targets.get(*number).map_or(Ok(()), |target| target.fmt(f)),
                _ => Ok(()),
            },
            Some(Upstream::Program(id)) => write!(f, "pid:{id}"),
            None => Ok(()),
        }
    }
}
