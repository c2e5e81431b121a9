//! What a detector uses: `use portsplit_plugin_sdk::prelude::*;`.

pub use crate::Stop::{NeedMore, Reject};
pub use crate::{
    Answer, Classifier, Config, ConfigError, Cursor, Example, Facts, Framing, Input, List, Match, Stop, Text, Verdict,
    config, ensure, export, from_json,
};
