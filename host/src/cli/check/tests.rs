#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const FILE: &str = r#"
listen = ["127.0.0.1:4430", { address = "[::1]:4431", services = ["ssh"] }]
[[service]]
name = "ssh"
prefix = 'SSH-'
connect = ["127.0.0.1:22", "localhost:2222"]
[[service]]
name = "web"
regex = 'GET '
exec = ["sh", "-c", "exec cat"]
"#;

#[test]
fn the_summary_lists_listeners_and_services_with_their_actions() {
    let (config, warnings) = Config::parse(Path::new("x.toml"), FILE).unwrap();
    assert_eq!(
        summary(&config, warnings.len()),
        "x.toml: can be used, 1 warning\n\
         \x20 listener  127.0.0.1:4430\n\
         \x20 listener  [::1]:4431      for ssh\n\
         \x20 service  ssh       connect to 127.0.0.1:22, else localhost:2222\n\
         \x20 service  web       exec sh -c 'exec cat'\n\
         \x20 service  fallback  close\n\
         \x20 service  timeout   close\n"
    );
}

#[test]
fn problems_as_json_have_place_message_and_help() {
    let (_, warnings) = Config::parse(Path::new("x.toml"), FILE).unwrap();
    let json = as_json(&warnings);
    assert_eq!(json.len(), 1);
    assert_eq!((&json[0]["file"], &json[0]["line"], &json[0]["column"]), (&json!("x.toml"), &json!(9), &json!(9)));
    assert!(json[0]["message"].as_str().unwrap().contains("never reject"), "{json:?}");
    assert!(json[0]["help"].is_string(), "{json:?}");
}
