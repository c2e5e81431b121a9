//! What a program reads and writes on pipes, and its stderr.

use super::*;

#[test]
fn half_close_reaches_a_program_on_pipes() {
    run(async {
        let Running { io, mut child } = spawn(&program(&["wc", "-c"]), &CONTEXT).unwrap();
        let (stdin, stdout) = ends(io);
        let stdin = stdin.unwrap();
        write_all(&stdin, &[b'x'; 100_000]).await;
        drop(stdin);
        assert_eq!(read_to_end(&stdout).await, b"100000\n");
        assert!(child.exited().await.unwrap().success());
    });
}

#[test]
fn output_is_complete_to_the_last_byte_after_the_program_has_gone() {
    run(async {
        let script = "seq 1 200000 | tr '\\n' , | head -c 1048576";
        let expected: String = (1..=200_000).map(|number| format!("{number},")).collect();
        for program in [shell(script), shell_on_pty(script)] {
            for _ in 0..10 {
                let output = output_of(&program).await;
                assert_eq!(output.len(), 1_048_576);
                assert!(output == expected[..1_048_576]);
            }
        }
        // Read only when the program is known to be dead.
        for program in [shell("printf last"), shell_on_pty("printf last")] {
            let Running { io, mut child } = spawn(&program, &CONTEXT).unwrap();
            child.exited().await.unwrap();
            assert_eq!(read_to_end(&ends(io).1).await, b"last");
        }
    });
}

#[test]
fn stderr_goes_to_the_log_and_neither_blocks_nor_reaches_the_client() {
    let log = SharedLog::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    run(async {
        // Far more than a pipe holds: it would stop the program if nobody read it.
        let script = "printf 'odd \\033[2J line\\n' >&2; seq 1 100000 >&2; printf done";
        let Running { io, mut child } = spawn(&shell(script), &CONTEXT).unwrap();
        let pid = child.id();
        assert_eq!(read_to_end(&ends(io).1).await, b"done");
        child.exited().await.unwrap();
        drop(child);
        wait_for(|| log.text().contains("wrote more")).await;
        let text = log.text();
        let first = text.lines().next().unwrap();
        assert!(first.contains(r#"the program wrote to stderr service="demo""#), "{first}");
        assert!(first.contains(&format!("pid={pid}")) && first.contains(r"u{1b}[2J line"), "{first}");
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().count() < 100, "{}", text.lines().count());
    });
}

#[test]
fn a_background_process_that_holds_stderr_does_not_keep_the_log_task() {
    run(async {
        let Running { io, mut child } = spawn(&shell("setsid sleep 1000 & echo $!"), &CONTEXT).unwrap();
        let (_stdin, stdout) = ends(io);
        let escaped: i32 = read_line(&stdout).await.parse().unwrap();
        child.exited().await.unwrap();
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        assert_eq!(tasks(), 1);
        child.end_with(QUICK).await.unwrap();
        wait_for(|| tasks() == 0).await;
        rustix::process::kill_process(Pid::from_raw(escaped).unwrap(), Signal::KILL).unwrap();
    });
}

#[derive(Clone, Default)]
struct SharedLog(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl SharedLog {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for SharedLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
