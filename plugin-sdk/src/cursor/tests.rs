#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::vec::Vec;

use crate::prelude::*;

/// What a parser says about every prefix of `bytes`, checked for the laws every parser must keep: final answers stay,
/// and nothing changes before the number that need-more gave.
#[track_caller]
fn sweep<T: PartialEq + core::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, Stop>,
) -> Vec<Result<T, Stop>> {
    let answers: Vec<_> = (0..=bytes.len()).map(|n| parse(&bytes[..n])).collect();
    for (n, answer) in answers.iter().enumerate() {
        match answer {
            Err(NeedMore(total)) => {
                assert!(*total > n, "{n} bytes: asks for {total}");
                for later in answers.iter().take(*total).skip(n) {
                    assert!(matches!(later, Err(NeedMore(_))), "{n} bytes asked for {total}, but earlier: {later:?}");
                }
            }
            done => assert!(answers[n..].iter().all(|later| later == done), "{n} bytes: {done:?} does not stay"),
        }
    }
    answers
}

#[test]
fn a_tag_rejects_at_the_first_byte_that_differs() {
    let tag = |bytes: &[u8]| Cursor::new(bytes).tag(b"SSH-");
    assert_eq!(sweep(b"SSH-x", tag)[3..], [Err(NeedMore(4)), Ok(()), Ok(())]);
    for wrong in 0..4 {
        let mut bytes = *b"SSH-";
        bytes[wrong] ^= 0x20;
        let answers = sweep(&bytes, tag);
        assert_eq!(answers[wrong], Err(NeedMore(wrong + 1)));
        assert_eq!(answers[wrong + 1], Err(Reject));
    }
}

#[test]
fn a_number_in_a_range_rejects_when_its_bytes_leave_the_range() {
    // Every range of a few bounds and every value: at each byte the answer is the one that trying all continuations
    // gives.
    let bounds = [0u16, 1, 2, 0xfe, 0xff, 0x100, 0x101, 0x1ff, 0x200, 0xfe00, 0xffff];
    for low in bounds {
        for high in bounds.into_iter().filter(|high| *high >= low) {
            for first in 0..=255u8 {
                let big = (0..=255u8).any(|second| (low..=high).contains(&u16::from_be_bytes([first, second])));
                let little = (0..=255u8).any(|second| (low..=high).contains(&u16::from_le_bytes([first, second])));
                let expect = |possible| Err(if possible { NeedMore(2) } else { Reject });
                assert_eq!(
                    Cursor::new(&[first]).u16_be_in(low..=high),
                    expect(big),
                    "{first:#x} in {low:#x}..={high:#x}"
                );
                assert_eq!(
                    Cursor::new(&[first]).u16_le_in(low..=high),
                    expect(little),
                    "{first:#x} le {low:#x}..={high:#x}"
                );
            }
            for value in bounds {
                let expect = if (low..=high).contains(&value) { Ok(value) } else { Err(Reject) };
                assert_eq!(Cursor::new(&value.to_be_bytes()).u16_be_in(low..=high), expect);
                assert_eq!(Cursor::new(&value.to_le_bytes()).u16_le_in(low..=high), expect);
            }
        }
    }
}

#[test]
fn wide_numbers_have_their_byte_order() {
    let bytes = [1, 2, 3, 4];
    assert_eq!(Cursor::new(&bytes).u32_be(), Ok(0x0102_0304));
    assert_eq!(Cursor::new(&bytes).u32_le(), Ok(0x0403_0201));
    assert_eq!(Cursor::new(&bytes).u24_be(), Ok(0x01_0203));
    assert_eq!(Cursor::new(&bytes).u24_le(), Ok(0x03_0201));
    assert_eq!(Cursor::new(&bytes).u32_be_in(0..=u32::MAX), Ok(0x0102_0304));
    assert_eq!(Cursor::new(&bytes).u32_le_in(0..=0x0403_0200), Err(Reject));
    assert_eq!(Cursor::new(&bytes[..2]).u32_be(), Err(NeedMore(4)));
}

#[test]
fn a_part_bounds_what_is_in_it() {
    let parse = |bytes: &[u8]| {
        let mut c = Cursor::new(bytes);
        let len = c.u8()?;
        c.part(len.into(), |c| {
            let inner = c.u8()?;
            c.part(inner.into(), |c| c.skip_rest())?;
            c.end()
        })
    };
    assert_eq!(sweep(b"\x03\x02ab", parse)[4], Ok(()));
    assert_eq!(sweep(b"\x03\x03abc", parse)[2], Err(Reject)); // longer than the part around it, known at its length
    assert_eq!(sweep(b"\x04\x02abc", parse)[4], Err(Reject)); // one byte of the outer part is left over
    assert_eq!(sweep(b"\x00abc", parse)[1], Err(Reject)); // no room for the inner length
    assert_eq!(parse(b"\x03\x02a"), Err(NeedMore(4)));
}

#[test]
fn a_limit_bounds_what_follows_and_needs_no_end() {
    let parse = |bytes: &[u8]| {
        let mut c = Cursor::new(bytes);
        let len = c.u8()?;
        c.limit(len.into())?;
        let inner = c.u8()?;
        c.limit(inner.into())?;
        c.u16_be()
    };
    assert_eq!(sweep(b"\x08\x02ab", parse)[4], Ok(0x6162));
    assert_eq!(sweep(b"\x08\x01ab", parse)[2], Err(Reject)); // no room for two bytes
    assert_eq!(sweep(b"\x03\x03ab", parse)[2], Err(Reject)); // longer than what is around it
}

#[test]
fn a_run_that_may_be_long_is_known_at_its_end_or_its_limit() {
    let parse = |bytes: &[u8]| {
        let mut c = Cursor::new(bytes);
        let run = c.take_short(3, |b| b.is_ascii_digit())?;
        Ok((run.map(<[u8]>::to_vec), c.position()))
    };
    assert_eq!(sweep(b"12;", parse)[2..], [Err(NeedMore(3)), Ok((Some(b"12".to_vec()), 2))]);
    assert_eq!(sweep(b"1234;", parse)[2..4], [Err(NeedMore(3)), Ok((None, 0))]);
    assert_eq!(parse(b";"), Ok((Some(Vec::new()), 0)));
    // The end of a part ends the run, too, and is known before it arrives.
    let inside = |bytes: &[u8]| {
        Cursor::new(bytes).part(2, |c| c.take_short(3, |b| b.is_ascii_digit()).map(|run| run.map(<[u8]>::to_vec)))
    };
    assert_eq!(sweep(b"123", inside)[1..3], [Err(NeedMore(2)), Ok(Some(b"12".to_vec()))]);
}

#[test]
fn an_asn1_length_rejects_when_its_bytes_leave_the_range() {
    // Every form of every value, and every prefix of each, against what trying all continuations says.
    let bounds = [0u32, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u32::MAX];
    let forms = |value: u32| {
        let short = u8::try_from(value).ok().filter(|value| *value < 0x80).map(|value| std::vec![value]);
        let long = (1..=4usize).filter(move |width| u64::from(value) >> (8 * width) == 0).map(move |width| {
            let mut form = std::vec![0x80 | width as u8];
            form.extend(&value.to_be_bytes()[4 - width..]);
            form
        });
        short.into_iter().chain(long)
    };
    for low in bounds {
        for high in bounds.into_iter().filter(|high| *high >= low) {
            for value in bounds {
                for form in forms(value) {
                    for n in 0..=form.len() {
                        let read = Cursor::new(&form[..n]).ber_len_in(low..=high);
                        let missing = 8 * (form.len() - n) as u32;
                        let least = u64::from(value) >> missing << missing;
                        let most = least + ((1 << missing) - 1);
                        let expect = match n {
                            0 => Err(NeedMore(1)),
                            _ if most < low.into() || least > high.into() => Err(Reject),
                            _ if missing > 0 => Err(NeedMore(n + 1)),
                            _ => Ok(value),
                        };
                        assert_eq!(read, expect, "{:x?} in {low:#x}..={high:#x}", &form[..n]);
                    }
                }
            }
        }
    }
    for bad in [&b"\x80"[..], b"\x85", b"\xff"] {
        assert_eq!(Cursor::new(bad).ber_len_in(0..=u32::MAX), Err(Reject));
    }
}

#[test]
fn an_asn1_length_fits_its_part() {
    let inside = |bytes: &[u8]| {
        let mut c = Cursor::new(bytes);
        c.limit(5)?;
        c.ber_len_in(0..=100)
    };
    assert_eq!(inside(b"\x04"), Ok(4));
    assert_eq!(inside(b"\x05"), Err(Reject));
    assert_eq!(inside(b"\x81\x03"), Ok(3));
    assert_eq!(inside(b"\x81\x04"), Err(Reject));
    let filling = |bytes: &[u8]| {
        let mut c = Cursor::new(bytes);
        c.limit(5)?;
        c.ber_len_to_end()
    };
    assert_eq!(filling(b"\x04"), Ok(4));
    assert_eq!(filling(b"\x03"), Err(Reject));
    assert_eq!(filling(b"\x82\x00\x02"), Ok(2));
    assert_eq!(filling(b"\x82\x01"), Err(Reject));
    assert_eq!(filling(b"\x84\x00\x00\x00"), Err(NeedMore(5)));
    assert_eq!(filling(b"\x86"), Err(Reject));
    assert_eq!(Cursor::new(b"\x01a").ber_len_to_end(), Err(Reject));
}

#[test]
fn huge_lengths_do_not_overflow() {
    let mut c = Cursor::new(b"abc");
    assert_eq!(c.skip(usize::MAX), Err(NeedMore(usize::MAX)));
    let mut c = Cursor::new(b"abc");
    c.skip(2).unwrap();
    assert_eq!(c.part(usize::MAX, |c| c.skip_rest()), Err(NeedMore(usize::MAX)));
    assert_eq!(Cursor::new(b"abc").take(usize::MAX), Err(NeedMore(usize::MAX)));
}

#[test]
fn lines_end_with_lf_and_lose_a_cr() {
    let line =
        |max| move |bytes: &[u8]| Cursor::new(bytes).line_where(max, |b| b.is_ascii_graphic()).map(<[u8]>::to_vec);
    assert_eq!(sweep(b"ab\r\nx", line(4))[4], Ok(b"ab".to_vec()));
    assert_eq!(sweep(b"ab\nx", line(4))[3], Ok(b"ab".to_vec()));
    assert_eq!(sweep(b"abc\nx", line(4))[4], Ok(b"abc".to_vec()));
    assert_eq!(sweep(b"abcd\n", line(4))[4], Err(Reject)); // no room for the LF
    assert_eq!(sweep(b"a\rb\n", line(9))[3], Err(Reject)); // a CR inside is not allowed
    assert_eq!(sweep(b"\r\r\n", line(9))[2], Err(Reject));
    assert_eq!(sweep(b"a\0", line(9))[2], Err(Reject));
    assert_eq!(sweep(b"\n", line(1))[1], Ok(Vec::new()));
}

#[test]
fn runs_and_fields_keep_their_limits() {
    let until = |bytes: &[u8]| Cursor::new(bytes).take_until(b'=', 3).map(<[u8]>::to_vec);
    assert_eq!(sweep(b"abc=", until)[4], Ok(b"abc".to_vec()));
    assert_eq!(sweep(b"abcd=", until)[4], Err(Reject));
    let digits = |bytes: &[u8]| Cursor::new(bytes).take_while(3, |b| b.is_ascii_digit()).map(<[u8]>::to_vec);
    assert_eq!(sweep(b"123;", digits)[4], Ok(b"123".to_vec()));
    assert_eq!(sweep(b"1234;", digits)[4], Err(Reject));
    assert_eq!(Cursor::new(b"12x").part(2, |c| c.take_while(3, |_| true)), Ok(&b"12"[..]));
}

#[test]
fn varints_end_or_reject() {
    let varint = |bytes: &[u8]| Cursor::new(bytes).varint(4);
    assert_eq!(sweep(b"\xff\xff\xff\x7f", varint)[4], Ok(268_435_455));
    assert_eq!(sweep(b"\xff\xff\xff\xff", varint)[4], Err(Reject));
    assert_eq!(Cursor::new(&[0xff; 12]).varint(99), Err(Reject));
    let quic = |bytes: &[u8]| Cursor::new(bytes).varint_quic();
    assert_eq!(sweep(b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c", quic)[8], Ok(151_288_809_941_952_652));
    assert_eq!(sweep(b"\x9d\x7f\x3e\x7d", quic)[4], Ok(494_878_333));
    assert_eq!(quic(b"\xc2"), Err(NeedMore(8)));
}

#[test]
fn alternatives_wait_for_the_one_that_is_preferred() {
    let tags: [&[u8]; 2] = [b"GETX", b"GET"];
    let one_of = |bytes: &[u8]| Cursor::new(bytes).one_of(&tags);
    assert_eq!(sweep(b"GET ", one_of)[3..], [Err(NeedMore(4)), Ok(1)]);
    assert_eq!(sweep(b"GETX", one_of)[4], Ok(0));
    assert_eq!(sweep(b"GOT", one_of)[2], Err(Reject));
    let either = |bytes: &[u8]| Cursor::new(bytes).either(|c| c.tag(b"ab").map(|()| 1), |c| c.tag(b"a").map(|()| 2));
    assert_eq!(sweep(b"ac", either)[1..], [Err(NeedMore(2)), Ok(2)]);
    assert_eq!(Cursor::new(b"").one_of(&[]), Err(Reject));
}

/// A zero byte and a length byte before each chunk.
#[derive(Clone, Copy)]
struct Chunks;

impl Framing for Chunks {
    fn header(&mut self, c: &mut Cursor<'_>) -> Result<usize, Stop> {
        c.tag(b"\0")?;
        Ok(c.u8()?.into())
    }
}

#[test]
fn chunks_read_as_one_run_however_they_are_cut() {
    let message = b"\x00\x06SSH-ab!";
    let parse = |bytes: &[u8]| {
        let mut c = Cursor::new(bytes).framed(Chunks);
        let len = c.u16_be_in(4..=9)?;
        let mut rest = [0; 2];
        c.part(len.into(), |c| {
            c.tag(b"SSH-")?;
            c.copy_to(&mut rest)
        })?;
        Ok((rest, c.u8()?))
    };
    for size in 1..=message.len() {
        let mut bytes = Vec::new();
        for chunk in message.chunks(size) {
            bytes.extend([0, chunk.len() as u8]);
            bytes.extend(chunk);
        }
        let answers = sweep(&bytes, parse);
        assert_eq!(answers[bytes.len()], Ok((*b"ab", b'!')), "chunks of {size}");
        assert!(matches!(answers[bytes.len() - 1], Err(NeedMore(_))), "chunks of {size}");
    }
}

#[test]
fn the_hint_counts_up_to_the_next_header_and_no_further() {
    let skip = |bytes: &[u8]| Cursor::new(bytes).framed(Chunks).skip(6);
    assert_eq!(skip(b"\0\x04a"), Err(NeedMore(7))); // the chunk, and one byte of the next header, which may be wrong
    assert_eq!(sweep(b"\0\x04abcd\x01", skip)[7], Err(Reject));
    assert_eq!(sweep(b"\0\x04abcd\0\x02ef", skip)[10], Ok(()));
}

#[test]
fn framing_that_reads_nothing_rejects() {
    #[derive(Clone, Copy)]
    struct Nothing;
    impl Framing for Nothing {
        fn header(&mut self, _: &mut Cursor<'_>) -> Result<usize, Stop> {
            Ok(0)
        }
    }
    assert_eq!(Cursor::new(b"abc").framed(Nothing).u8(), Err(Reject));
    // Chunks of no bytes are passed over and end with the bytes.
    assert_eq!(Cursor::new(&[0; 100]).framed(Chunks).u8(), Err(NeedMore(101)));
}
