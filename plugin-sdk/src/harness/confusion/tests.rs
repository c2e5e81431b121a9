#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::harness::corpus::tests::letter;

fn cases(text: &str) -> Cases {
    Cases::parse(text, ".").unwrap()
}

const OF_A: &str = "[[case]]\nname = 'a'\ntext = 'A1'\nexpect = 'match'\n\
                    [[case]]\nname = 'not a'\ntext = 'B1'\nexpect = 'reject'\n";

#[test]
fn plugins_that_leave_each_other_alone_have_a_diagonal_matrix() {
    let (a, b) = (letter("a", &[], b'A'), letter("b", &[], b'B'));
    let of_b = cases("[[case]]\nname = 'b'\ntext = 'B1'\nexpect = 'match'\n");
    let found = Confusion::of(&[(&a, &cases(OF_A)), (&b, &of_b)]);
    assert!(found.wrong.is_empty() && found.overlaps.is_empty(), "{found:?}");
    let cells: Vec<&[usize]> = found.rows.iter().map(|row| row.matched.as_slice()).collect();
    assert_eq!(cells, [[1, 0], [0, 1]]);
    assert_eq!((found.rows[0].cases, found.rows[0].undecided.as_slice()), (1, &[0, 0][..]));
}

#[test]
fn a_match_of_another_plugin_is_wrong_unless_the_case_declares_it() {
    let (a, thief) = (letter("a", &[], b'A'), letter("thief", &[], b'A'));
    let none = Cases::default();
    let found = Confusion::of(&[(&a, &cases(OF_A)), (&thief, &none)]);
    let [wrong] = found.wrong.as_slice() else { panic!("{found:?}") };
    assert_eq!((wrong.plugin.as_str(), wrong.case.as_str(), wrong.by.as_str()), ("a", "a", "thief"));

    let declared =
        "[[case]]\nname = 'a'\ntext = 'A1'\nexpect = 'match'\noverlaps = { thief = 'they share the letter' }\n";
    let found = Confusion::of(&[(&a, &cases(declared)), (&thief, &none)]);
    assert!(found.wrong.is_empty(), "{found:?}");
    assert_eq!(found.overlaps[0].reason, "they share the letter");

    let reformed = letter("thief", &[], b'C');
    let found = Confusion::of(&[(&a, &cases(declared)), (&reformed, &none)]);
    assert_eq!(found.wrong[0].what, "is declared to match as well and says reject");
}

#[test]
fn a_case_that_its_own_plugin_does_not_match_is_wrong() {
    let a = letter("a", &[], b'A');
    let found = Confusion::of(&[(&a, &cases("[[case]]\nname = 'half'\ntext = 'A'\nexpect = 'match'\n"))]);
    assert_eq!(found.wrong[0].what, "says need-more(2)");
    assert_eq!(found.rows[0].undecided, [1]);
}

#[test]
fn overlaps_are_read_strictly_and_written_back() {
    let text =
        "[[case]]\nname = \"a\"\ntext = 'A1'\nexpect = \"match\"\noverlaps = { b = \"why\", \"c d\" = \"so\" }\n";
    assert_eq!(cases(text).list[0].to_string(), text);
    let wrong = |text: &str| Cases::parse(text, ".").unwrap_err().to_string();
    let case = "[[case]]\nname = 'a'\ntext = 'A1'\n";
    assert!(wrong(&format!("{case}expect = 'reject'\noverlaps = {{ b = 'x' }}\n")).contains("this plugin matches"));
    assert!(wrong(&format!("{case}expect = 'match'\noverlaps = {{ b = ' ' }}\n")).contains("no reason for `b`"));
}
