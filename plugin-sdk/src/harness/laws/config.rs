//! The law about configurations: what a plugin accepts and what it must refuse, by its own schema.

use serde_json::{Map, Value, json};

use crate::harness::plugin::{LoadFailure, Plugin};

/// A key no plugin has.
const UNKNOWN: &str = "zz_no_such_key";

/// Checks the law; the configuration that broke it comes with the message.
pub(super) fn check(plugin: &Plugin) -> Option<(Value, String)> {
    let schema = plugin.manifest().and_then(|manifest| manifest.config_schema.as_ref());
    let required = schema.map(required).unwrap_or_default();
    let empty = json!({});
    if required.is_empty() {
        for config in [Value::Null, empty.clone()] {
            match plugin.with_config(&config) {
                Err(error) if !unsupported(&error) => {
                    return Some((config, format!("the default configuration is refused: {error}")));
                }
                _ => {}
            }
        }
    } else if plugin.with_config(&empty).is_ok() {
        return Some((empty, format!("`{}` is required, but its absence is accepted", required.join("`, `"))));
    }
    let base = plugin.options().config.clone();
    let mut with_unknown = base.as_object().cloned().unwrap_or_default();
    with_unknown.insert(UNKNOWN.to_owned(), json!(1));
    if let Some(wrong) = not_refused(plugin, Value::Object(with_unknown), "an unknown key is accepted") {
        return Some(wrong);
    }
    let schema = schema?;
    for (key, wrong, what) in violations(schema) {
        let mut config = base.as_object().cloned().unwrap_or_default();
        config.insert(key.clone(), wrong);
        let message = format!("`{key}` {what}, but the value is accepted");
        if let Some(wrong) = not_refused(plugin, Value::Object(config), &message) {
            return Some(wrong);
        }
    }
    None
}

fn unsupported(error: &LoadFailure) -> bool {
    matches!(error, LoadFailure::Wasm(portsplit_runtime::LoadError::ConfigUnsupported))
}

/// Says what is wrong unless the configuration is refused with a reason.
fn not_refused(plugin: &Plugin, config: Value, accepted: &str) -> Option<(Value, String)> {
    match plugin.with_config(&config) {
        Ok(_) => Some((config, accepted.to_owned())),
        Err(error) => match error.refused_config() {
            // The runtime's words for a plugin that gave none.
            Some(reason) if reason.starts_with("it gave no reason") => {
                Some((config, "it is refused without a reason; pass one to `portsplit.fail`".to_owned()))
            }
            Some(_) => None,
            None => Some((config, format!("it fails instead of being refused: {error}"))),
        },
    }
}

fn required(schema: &Value) -> Vec<String> {
    let keys = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
}

/// For each key of the schema, values it does not allow and why.
fn violations(schema: &Value) -> Vec<(String, Value, String)> {
    let empty = Map::new();
    let keys = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut out = Vec::new();
    for (key, schema) in keys {
        let Some(kind) = schema.get("type").and_then(Value::as_str) else { continue };
        for (of, value) in [
            ("boolean", json!(true)),
            ("string", json!("x")),
            ("array", json!([])),
            ("object", json!({})),
            ("integer", json!(1)),
            ("number", json!(1.5)),
        ] {
            let allowed = of == kind || (kind == "number" && of == "integer");
            if !allowed {
                out.push((key.clone(), value, format!("must be of type {kind}")));
            }
        }
        if let Some(least) = schema.get("minimum").and_then(Value::as_i64).and_then(|least| least.checked_sub(1)) {
            out.push((key.clone(), json!(least), format!("must be more than {least}")));
        }
        if let Some(most) = schema.get("maximum").and_then(Value::as_u64).and_then(|most| most.checked_add(1)) {
            out.push((key.clone(), json!(most), format!("must be less than {most}")));
        }
        if let Some(max) = schema.get("maxLength").and_then(Value::as_u64).filter(|max| *max < 4_096) {
            let long = "x".repeat(max as usize + 1);
            out.push((key.clone(), json!(long), format!("must have at most {max} characters")));
        }
        if schema.get("enum").is_some() && kind == "string" {
            out.push((key.clone(), json!("zz-no-such-value"), "is one of a list".to_owned()));
        }
    }
    out
}
