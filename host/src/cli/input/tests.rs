#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

#[test]
fn hex_ignores_what_is_there_for_the_eye() {
    for written in ["160301", "16 03 01", "16:03:01", "0x160301", "0x16, 0x03, 0x01", " 16\n0301 "] {
        assert_eq!(hex(written), Ok(Bytes(vec![0x16, 3, 1])), "{written:?}");
    }
    assert_eq!(hex(""), Ok(Bytes(Vec::new())));
    assert_eq!(hex("aBcD"), Ok(Bytes(vec![0xab, 0xcd])));
}

#[test]
fn hex_refuses_other_letters_and_half_bytes() {
    assert_eq!(hex("4g"), Err("`g` is not a hex digit".to_owned()));
    assert_eq!(hex("4\x1b"), Err(r"`\u{1b}` is not a hex digit".to_owned()));
    assert_eq!(hex("16 3 01"), Err("`3` has an odd number of hex digits; a byte takes two".to_owned()));
    assert_eq!(hex("0x"), Ok(Bytes(Vec::new())));
}

#[test]
fn text_knows_the_escapes_of_the_configuration() {
    assert_eq!(text(r"a\r\n\t\0\\\x7f"), Ok(Bytes(b"a\r\n\t\0\\\x7f".to_vec())));
    assert_eq!(text("ä"), Ok(Bytes("ä".as_bytes().to_vec())));
    let refused = text(r"\q").unwrap_err();
    assert!(refused.contains(r"`\q`") && refused.contains(r"`\xNN`"), "{refused}");
}

#[test]
fn cuts_rise_from_one() {
    assert_eq!(cuts("1, 3,7"), Ok(Cuts(vec![1, 3, 7])));
    for wrong in ["0", "3,3", "3,1", "", "1,,2", "x", "-1"] {
        assert!(cuts(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn no_more_is_read_than_wanted() {
    assert_eq!(read(io::repeat(7), 3).unwrap(), [7, 7, 7]);
    assert_eq!(read(&b"ab"[..], 3).unwrap(), b"ab");
}
