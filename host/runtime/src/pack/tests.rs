#![allow(clippy::unwrap_used)]
use super::*;

/// The numbers of active and passive data segments.
fn segments(wasm: &[u8]) -> (usize, usize) {
    let mut found = (0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::DataSection(section) = payload.unwrap() else { continue };
        for segment in section {
            match segment.unwrap().kind {
                DataKind::Active { .. } => found.0 += 1,
                DataKind::Passive => found.1 += 1,
            }
        }
    }
    found
}

#[test]
fn passive_segments_go_where_no_code_can_ask_for_them() {
    let data = r#"(memory 1) (data "") (data (i32.const 8) "active") (data "passive") (data (i32.const 99) "x")"#;
    let plain = wat::parse_str(format!("(module {data})")).unwrap();
    assert_eq!(segments(&plain), (2, 2));
    let copy = without_passive_segments(&plain).unwrap();
    assert_eq!(segments(&copy), (2, 0));
    assert!(copy.windows(6).any(|bytes| bytes == b"active"));
    let init = "(func (memory.init 2 (i32.const 0) (i32.const 0) (i32.const 7)))";
    let asking = wat::parse_str(format!("(module {data} {init})")).unwrap();
    assert_eq!(without_passive_segments(&asking).unwrap(), asking);
    let none = wat::parse_str("(module (memory 1))").unwrap();
    assert_eq!(without_passive_segments(&none).unwrap(), none);
}
