//! The classifier for Kafka: the header of the first request (Kafka protocol guide, "Request Header" and "ApiVersions";
//! KIP-482 for the tagged fields, KIP-511 for the client's software).
//!
//! A length, the numbers of the API and of its version, a correlation number, and the client's identifier. Clients of
//! this decade begin with ApiVersions, whose body has to fill the length. Requests that others begin with (Metadata,
//! SaslHandshake, and what servers send each other) need an identifier of printable characters, or a body that fits.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod body;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: a header with the longest identifier, and the strings behind it.
const MAX_BYTES: usize = 2048;

/// The longest first request. Servers take 100 MiB unless told, but no client begins with that much (`max.request.size`
/// is 1 MiB unless told), and with a first byte of zero it can be told from SOCKS and others at once.
const MAX_REQUEST_BYTES: u32 = (16 << 20) - 1;

/// A header without an identifier.
const MIN_REQUEST_BYTES: u32 = 10;

/// The highest number of an API. Kafka 4.1 has about 90.
const MAX_API: u16 = 127;

/// The highest version of an API: Fetch has reached 18.
const MAX_VERSION: u16 = 31;

/// The longest identifier: programs put names, hosts and threads into theirs.
const MAX_CLIENT_BYTES: u16 = 512;

const METADATA: u16 = 3;
const SASL_HANDSHAKE: u16 = 17;
const API_VERSIONS: u16 = 18;

/// The names of the APIs that a connection can well begin with.
const NAMES: [(u16, &str); 14] = [
    (0, "Produce"),
    (1, "Fetch"),
    (2, "ListOffsets"),
    (METADATA, "Metadata"),
    (4, "LeaderAndIsr"),
    (5, "StopReplica"),
    (6, "UpdateMetadata"),
    (7, "ControlledShutdown"),
    (8, "OffsetCommit"),
    (9, "OffsetFetch"),
    (10, "FindCoordinator"),
    (11, "JoinGroup"),
    (SASL_HANDSHAKE, "SaslHandshake"),
    (API_VERSIONS, "ApiVersions"),
];

/// Recognises Kafka clients; it has nothing to configure.
pub struct Kafka;

impl Classifier for Kafka {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Kafka)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let len = c.u32_be_in(MIN_REQUEST_BYTES..=MAX_REQUEST_BYTES)?;
        c.limit(len as usize)?;
        let api = c.u16_be_in(0..=MAX_API)?;
        let version = c.u16_be_in(0..=MAX_VERSION)?;
        c.skip(4)?; // correlation
        let client = body::nullable(&mut c, MAX_CLIENT_BYTES, |b| matches!(b, b' '..=b'~'))?;
        match api {
            API_VERSIONS => body::api_versions(&mut c, version, facts)?,
            SASL_HANDSHAKE => body::sasl_handshake(&mut c)?,
            METADATA if version < body::FLEXIBLE_METADATA => body::metadata(&mut c, version)?,
            _ => ensure(!client.is_empty())?,
        }
        match NAMES.iter().find(|(number, _)| *number == api) {
            Some((_, name)) => facts.add("api", name),
            None => facts.add_number("api", api.into()),
        }
        if !client.is_empty() {
            facts.add("client", client);
        }
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Kafka,
    name: "kafka",
    description: "Kafka clients, and servers of a cluster among themselves, by the header of the first request.",
    protocols: ["kafka"],
    max_bytes: MAX_BYTES,
    facts: {
        "client": "the client identifier (`client.id`), unless it is empty",
        "api": "what the client asks first: `ApiVersions`, `SaslHandshake`, `Metadata` and so on, or the API's number",
        "software": "the client's software such as `apache-kafka-java`, in ApiVersions since version 3",
    },
    cannot_see: [
        "topics and user",
        "a client whose identifier has more than 512 bytes",
        "a client without an identifier that begins with another request than ApiVersions, SaslHandshake or Metadata",
    ],
    examples: [
        Example::bytes(b"\0\0\0\x11\0\x12\0\0\0\0\0\x01\0\x07rdkafka")
            .matches(21).fact("client", "rdkafka").fact("api", "ApiVersions"),
        Example::bytes(b"\0\0\0\x1e\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\x05java\x063.9.0\0")
            .matches(34).fact("client", "rdkafka").fact("software", "java"),
        Example::bytes(b"\0\0\0\x12\0\x03\0\0\0\0\0\x01\0\x04shop\0\0\0\0").matches(22).fact("api", "Metadata"),
        Example::bytes(b"\0\0\0\x11\0\x12\0\0\0\0").undecided(),
        Example::bytes(b"\0\0\0\x11\x04\xd2").rejects(5),
        Example::bytes(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\0\x07rd").rejects(14),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
