//! `plugin bench --all`: whole decisions with the shipped plugins as services.

use serde_json::Value;

use crate::Folder;

#[test]
fn decisions_are_measured_with_more_and_more_services() {
    let folder = Folder::new();
    let json = folder.plugin(&["bench", "--all", "--calls", "3", "--json"]).exits_with(0).json();
    let rows = json["rows"].as_array().unwrap();
    let all = json["plugins"].as_u64().unwrap();
    for flight in ["SSH", "TLS", "HTTP"] {
        let of_flight: Vec<&Value> = rows.iter().filter(|row| row["flight"] == flight).collect();
        let services: Vec<u64> = of_flight.iter().map(|row| row["services"].as_u64().unwrap()).collect();
        assert!(services.first() == Some(&1) && services.last() == Some(&all) && services.is_sorted(), "{json}");
        // A plugin that still needs more of these bytes would make every service behind it wait.
        assert!(of_flight.iter().all(|row| row["decision"].is_string()), "{flight}: {json}");
        assert!(of_flight.iter().all(|row| row["median_us"].as_f64().unwrap() > 0.0), "{flight}: {json}");
    }
    let ssh = rows.iter().filter(|row| row["flight"] == "SSH");
    assert!(ssh.into_iter().all(|row| row["decision"] == "ssh"), "{json}");
    folder.plugin(&["bench", "--all", "--calls", "1"]).exits_with(0).says(&["flight  bytes  services  decision"]);
    for also in [&["ssh"][..], &["--text", "x"], &["--config", "{}"]] {
        folder.plugin(&[&["bench", "--all"], also].concat()).exits_with(2);
    }
    folder.plugin(&["bench"]).exits_with(2).says(&["PLUGIN"]);
}
