//! What a program on a pty finds, and what the bytes go through.

use super::*;

#[test]
fn half_close_reaches_a_program_on_a_pty_also_after_half_a_line() {
    run(async {
        for (sent, counted) in [("", "0"), ("one\n", "4"), ("one\ntwo", "7"), ("one\r", "4")] {
            let Running { io, mut child } = spawn(&shell_on_pty("wc -c"), &CONTEXT).unwrap();
            let (_, master) = ends(io);
            write_all(&master, sent.as_bytes()).await;
            write_all(&master, &pty_end_of_input(&master, sent.bytes().last())).await;
            let output = read_to_end(&master).await;
            assert_eq!(String::from_utf8(output).unwrap(), format!("{counted}\r\n"), "{sent:?}");
            assert!(child.exited().await.unwrap().success());
        }
    });
}

#[test]
fn end_of_input_adds_nothing_in_raw_mode() {
    run(async {
        let running = spawn(&shell_on_pty("stty raw; echo ready; exec cat"), &CONTEXT).unwrap();
        let (_, master) = ends(running.io);
        assert_eq!(read_line(&master).await, "ready");
        assert!(pty_end_of_input(&master, Some(b'x')).is_empty());
        assert!(pty_end_of_input(&master, None).is_empty());
        drop(master);
        running.child.end_with(QUICK).await.unwrap();
    });
}

#[test]
fn every_byte_survives_a_terminal_in_raw_mode() {
    run(async {
        let running = spawn(&shell_on_pty("stty raw; echo ready; exec head -c 256"), &CONTEXT).unwrap();
        let (_, master) = ends(running.io);
        assert_eq!(read_line(&master).await, "ready");
        let all: Vec<u8> = (0..=255).collect();
        write_all(&master, &all).await;
        assert_eq!(read_to_end(&master).await, all);
    });
}

#[test]
fn a_terminal_is_controlling_has_a_size_and_is_silent() {
    run(async {
        let script = "tty; stty size; exec 3</dev/tty && echo controlling; stty -a; echo error >&2; ps -o tty= $$";
        let output = output_of(&shell_on_pty(script)).await;
        let mut lines = output.lines();
        let name = lines.next().unwrap();
        assert!(name.starts_with("/dev/pts/"), "{output}");
        assert_eq!(lines.next(), Some("24 80"));
        assert_eq!(lines.next(), Some("controlling"));
        for mode in ["-echo", "icanon", "isig", "icrnl", "onlcr"] {
            assert!(output.split_whitespace().any(|word| word == mode), "{mode}: {output}");
        }
        // stderr is the terminal too.
        assert!(output.contains("error\r\n"), "{output}");
        assert!(output.trim_end().ends_with(name.strip_prefix("/dev/").unwrap()), "{output}");
    });
}

#[test]
fn a_terminal_echoes_only_if_asked() {
    run(async {
        for echo in [false, true] {
            let running = spawn(&Program { pty: Some(Pty { echo }), ..shell("read line; echo got $line") }, &CONTEXT);
            let Running { io, mut child } = running.unwrap();
            let (_, master) = ends(io);
            write_all(&master, b"hello\n").await;
            let expected = if echo { "hello\r\ngot hello\r\n" } else { "got hello\r\n" };
            assert_eq!(String::from_utf8(read_to_end(&master).await).unwrap(), expected);
            assert!(child.exited().await.unwrap().success());
        }
    });
}
