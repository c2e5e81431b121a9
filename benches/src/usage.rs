//! What a process uses, as `/proc` has it: CPU time of all its threads and children, and memory.

use std::fs;
use std::io;
use std::time::Duration;

/// The unit of times in `/proc/PID/stat`, the same on every usual system.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process and its children since they began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// In user and kernel mode together, to the nanosecond.
    pub(crate) total: Duration,
    /// In user mode, in ticks of 10 ms as the kernel divides the total; good for a share over a second or more.
    pub(crate) user_ticks: u64,
    /// In kernel mode, likewise.
    pub(crate) system_ticks: u64,
}

impl Cpu {
    /// Reads the CPU time of process `id` and its children.
    ///
    /// # Errors
    /// Fails if the process is gone.
    pub(crate) fn of(id: u32) -> io::Result<Cpu> {
        let mut cpu = Cpu::default();
        cpu.add(id)?;
        for child in tree(id).into_iter().skip(1) {
            // A child may end while we look; its parent then has its time.
            let _ = cpu.add(child);
        }
        Ok(cpu)
    }

    /// Adds the time of one process and of the children it has seen end.
    fn add(&mut self, id: u32) -> io::Result<()> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            // A thread may end while we look.
            let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let nanos = schedstat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            self.total += Duration::from_nanos(nanos.unwrap_or(0));
        }
        // The name of the program, in parentheses, may have spaces; behind it the times in ticks are fields 12 to 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().unwrap_or(0));
        let mut next = || ticks.next().unwrap_or(0);
        let (user, system, ended_user, ended_system) = (next(), next(), next(), next());
        self.user_ticks += user + ended_user;
        self.system_ticks += system + ended_system;
        self.total += TICK * u32::try_from(ended_user + ended_system).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Returns what was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Cpu) -> Cpu {
        Cpu {
            total: self.total.saturating_sub(earlier.total),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// Returns the share of user mode, 0 to 1.
    pub(crate) fn user_share(&self) -> f64 {
        let ticks = self.user_ticks + self.system_ticks;
        if ticks == 0 { 0.0 } else { self.user_ticks as f64 / ticks as f64 }
    }
}

/// Returns the proportional set size of a process and its children, in KiB: what they map, shared pages divided by the
/// number of sharers. Memory of the kernel, such as socket buffers, is not in it.
///
/// # Errors
/// Fails if the process is gone.
pub(crate) fn memory_kib(id: u32) -> io::Result<f64> {
    let mut sum = 0.0;
    for process in tree(id) {
        let rollup = match fs::read_to_string(format!("/proc/{process}/smaps_rollup")) {
            Err(error) if process == id => return Err(error),
            rollup => rollup.unwrap_or_default(),
        };
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        sum += line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(sum)
}

/// Returns a process and everything below it.
pub(crate) fn tree(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let mut at = 0;
    while let Some(id) = all.get(at).copied() {
        at += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_shows_as_cpu_time_and_as_memory() {
        let id = std::process::id();
        let (before, empty) = (Cpu::of(id).unwrap_or_default(), memory_kib(id).unwrap_or(0.0));
        let block = vec![1u8; 8 << 20];
        let end = Instant::now() + Duration::from_millis(50);
        while Instant::now() < end {
            std::hint::black_box(&block);
        }
        let used = Cpu::of(id).unwrap_or_default().since(&before);
        assert!(used.total > Duration::from_millis(5), "{used:?}");
        assert!(memory_kib(id).unwrap_or(0.0) > empty + 4096.0);
        drop(block);
    }
}
