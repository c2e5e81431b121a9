//! The classifier for PostgreSQL: the message a client begins with (PostgreSQL documentation, chapter "Frontend/Backend
//! Protocol", sections "Message Flow" and "Message Formats": StartupMessage, SSLRequest, GSSENCRequest, CancelRequest).
//!
//! These messages have no type byte: a length, a code, and what the code says. The three requests are 64 fixed bits or
//! nearly so. A StartupMessage is a list of parameters, each a name and a value that end in a zero byte, and the list's
//! own zero byte has to be the last one the length counts; one of them is `user`. In protocol 2 it is fields of fixed
//! sizes, `StartupPacket` of the documentation up to 7.3, so that length and version are 64 fixed bits.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::MAX_FACT_BYTES;
use portsplit_plugin_sdk::prelude::*;

/// The longest first message that PostgreSQL's server takes (`MAX_STARTUP_PACKET_LENGTH`), so no client sends more.
const MAX_MESSAGE_BYTES: u32 = 10_000;

/// The most bytes looked at: messages have a hundred bytes, or some hundred with settings.
const MAX_BYTES: usize = 4096;

/// A request that is only a length and a code.
const REQUEST_BYTES: u32 = 8;

/// A CancelRequest: length, code, process, and a key of 4 bytes, since protocol 3.2 up to 256.
const CANCEL_BYTES: core::ops::RangeInclusive<u32> = 16..=12 + 256;

/// A StartupMessage: length, version, `user`, a name of one letter, and the end of the list.
const MIN_STARTUP_BYTES: u32 = 8 + 5 + 2 + 1;

/// The StartupMessage of protocol 2, with its length and version: database, user, options, spare bytes and terminal.
const OLD_STARTUP_BYTES: u32 = 8 + (OLD_DATABASE_BYTES + OLD_USER_BYTES) as u32 + 64 + 64 + 64;
const OLD_DATABASE_BYTES: usize = 64;
const OLD_USER_BYTES: usize = 32;

/// The highest minor version: 0 and 2 are in use, and 9999 asks whether the server negotiates.
const MAX_MINOR: u16 = 9_999;

/// The longest name of a parameter: names of settings have at most 63 bytes, with a class before them twice that.
const MAX_NAME_BYTES: usize = 127;

/// The most parameters that are read: clients send two to ten. Behind them nothing is waited for.
const MAX_PARAMETERS: usize = 64;

/// The longest value that is read to its end; settings in `options` can have some hundred bytes.
const MAX_VALUE_BYTES: usize = 2048;

/// The longest parameter, with the zero bytes behind name and value.
const MAX_PARAMETER_BYTES: usize = MAX_NAME_BYTES + 1 + MAX_VALUE_BYTES + 1;

/// Recognises PostgreSQL clients; it has nothing to configure.
pub struct Postgres;

impl Classifier for Postgres {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Postgres)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let len = c.u32_be_in(REQUEST_BYTES..=MAX_MESSAGE_BYTES)?;
        if len == REQUEST_BYTES {
            let request = c.one_of(&[b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30"])?;
            facts.add("kind", if request == 0 { "ssl" } else { "gssenc" });
            return Ok(Match);
        }
        ensure(len >= MIN_STARTUP_BYTES)?;
        if CANCEL_BYTES.contains(&len) && c.peek()? != 0 {
            c.tag(b"\x04\xd2\x16\x2e")?;
            facts.add("kind", "cancel");
            return Ok(Match);
        }
        c.tag(b"\0")?;
        if c.u8_where(|major| major == 3 || major == 2 && len == OLD_STARTUP_BYTES)? == 2 {
            return old_startup(&mut c, facts);
        }
        c.u16_be_in(0..=MAX_MINOR)?;
        c.limit(len as usize - c.position())?;
        let startup = parameters(&mut c)?;
        facts.add("kind", "startup");
        startup.teach(facts);
        Ok(Match)
    }
}

/// Reads a StartupMessage of protocol 2 from behind its major version.
fn old_startup(c: &mut Cursor<'_>, facts: &mut Facts) -> Answer {
    c.tag(b"\0\0")?;
    let mut field = |len: usize| c.take(len).map(|field| field.split(|b| *b == 0).next().unwrap_or_default());
    let (database, user) = (field(OLD_DATABASE_BYTES)?, field(OLD_USER_BYTES)?);
    ensure(!user.is_empty())?;
    facts.add("kind", "startup");
    Startup { user, database, ..Startup::default() }.teach(facts);
    Ok(Match)
}

/// What a StartupMessage says about the session. A parameter that is given twice counts as the server counts it, the
/// last time.
#[derive(Default)]
struct Startup<'a> {
    user: &'a [u8],
    database: &'a [u8],
    application_name: &'a [u8],
}

impl Startup<'_> {
    fn teach(&self, facts: &mut Facts) {
        let parameters =
            [("user", self.user), ("database", self.database), ("application_name", self.application_name)];
        for (name, value) in parameters {
            if (1..=MAX_FACT_BYTES).contains(&value.len()) {
                facts.add(name, value);
            }
        }
    }
}

fn parameters<'a>(c: &mut Cursor<'a>) -> Result<Startup<'a>, Stop> {
    let mut startup = Startup::default();
    for _ in 0..MAX_PARAMETERS {
        let name = c.take_until_where(0, MAX_NAME_BYTES, |b| b.is_ascii_graphic())?;
        if name.is_empty() {
            c.end()?;
            break;
        }
        let Some(value) = c.take_short(MAX_VALUE_BYTES, |b| b != 0)? else { break };
        c.tag(b"\0")?;
        match name {
            b"user" => startup.user = value,
            b"database" => startup.database = value,
            b"application_name" => startup.application_name = value,
            _ => {}
        }
        if c.position() + MAX_PARAMETER_BYTES > MAX_BYTES {
            break;
        }
    }
    ensure(!startup.user.is_empty())?;
    Ok(startup)
}

portsplit_plugin_sdk::export! {
    classifier: Postgres,
    name: "postgres",
    description: "PostgreSQL clients of protocols 2 and 3, by their startup message or the request they send before it.",
    protocols: ["postgres"],
    max_bytes: MAX_BYTES,
    facts: {
        "kind": "what the client begins with: `ssl` or `gssenc` (it asks for encryption), `cancel` or `startup`",
        "user": "the user name, in a startup message",
        "database": "the database, in a startup message; most clients leave it out if it is named like the user",
        "application_name": "the application's name, in a startup message that has one",
    },
    cannot_see: [
        "user and database of a client that asks for encryption first, which most do unless told `sslmode=disable`",
        "clients that begin with TLS at once (`sslnegotiation=direct`): they are TLS, with the ALPN `postgresql`",
        "a startup message whose user name does not come in the first 2 KiB",
        "other databases that speak PostgreSQL's protocol are taken for it",
    ],
    examples: [
        Example::bytes(b"\0\0\0\x08\x04\xd2\x16\x2f").matches(8).fact("kind", "ssl"),
        Example::bytes(b"\0\0\0\x08\x04\xd2\x16\x30").matches(8).fact("kind", "gssenc"),
        Example::bytes(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x30\x39\xde\xad\xbe\xef").matches(8).fact("kind", "cancel"),
        Example::bytes(b"\0\0\0\x22\0\x03\0\0user\0alice\0database\0shop\0\0")
            .matches(34).fact("kind", "startup").fact("user", "alice").fact("database", "shop"),
        Example::bytes(b"\0\0\0\x08\x04\xd2").undecided(),
        Example::bytes(b"\0\0\0\x08\x04\xd2\x16\x31").rejects(8),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
