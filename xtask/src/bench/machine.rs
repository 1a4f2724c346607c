//! The machine and what its processes use, read from /proc. Linux only, as is the control plane of the tests.
//!
//! Figures of a shared machine mean little without knowing what the others did meanwhile: see [`Machine::others`].

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use serde::Serialize;

/// Ticks a second in /proc: 100 on every architecture that Linux runs on today.
const TICKS: f64 = 100.0;

/// The machine that figures were taken on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// Processor, as it names itself.
    pub processor: String,
    /// How many of them this process may use.
    pub cpus: usize,
    /// Memory in MB.
    pub memory_mb: u64,
    /// Kernel.
    pub kernel: String,
    /// Kubernetes.
    pub kubernetes: String,
    /// Load averages before the first measurement.
    pub load_before: String,
    /// Load averages after the last.
    pub load_after: String,
    /// Processors that processes other than the benchmark's kept busy while rates were measured, mean.
    pub others: f64,
}

impl Machine {
    /// This machine, before anything was measured.
    pub fn here(kubernetes: String) -> Self {
        let first = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.split_once(':').map(|(_, value)| value.trim().to_owned()))
                .unwrap_or_default()
        };
        let memory = first("/proc/meminfo", "MemTotal");
        Self {
            processor: first("/proc/cpuinfo", "model name"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mb: memory.split(' ').next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            kubernetes,
            load_before: load(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} × {}, {} MB, Linux {}, Kubernetes {}", self.cpus, self.processor, self.memory_mb, self.kernel, self.kubernetes)?;
        write!(
            f,
            "load {} before, {} after; others kept {:.2} processors busy while rates were measured",
            self.load_before, self.load_after, self.others
        )
    }
}

/// Load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Processor time that a process has used so far; nothing of one that is gone.
pub fn cpu_of(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    ticks(process_ticks(&text).unwrap_or_default())
}

/// Processor time that everything on the machine has used so far.
fn cpu_of_all() -> Duration {
    ticks(busy_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()))
}

/// Resident memory of a process in MB: now, and the most there ever was.
pub fn memory_of(pid: u32) -> Option<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mb = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|kb| kb / 1024.0)
    };
    Some((mb("VmRSS")?, mb("VmHWM")?))
}

/// `utime` and `stime` of a line of /proc/PID/stat. The name before them may hold spaces and parentheses.
fn process_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Everything but idle and waiting for disks on the first line of /proc/stat. Guests are counted in `user` already.
fn busy_ticks(stat: &str) -> u64 {
    let first = stat.lines().next().unwrap_or_default();
    let fields = first.split_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or_default());
    fields.enumerate().filter(|(at, _)| matches!(at, 0 | 1 | 2 | 5 | 6 | 7)).map(|(_, ticks)| ticks).sum()
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / TICKS)
}

/// Processor time of the processes that matter, at one moment.
#[derive(Clone, Debug)]
pub struct Usage {
    parts: BTreeMap<&'static str, Duration>,
    all: Duration,
}

/// Processor time in seconds that was used between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// By the processes that were named.
    pub parts: BTreeMap<&'static str, f64>,
    /// By everything else on the machine.
    pub others: f64,
}

impl Usage {
    /// Now. Several processes may have one name.
    pub fn now(processes: &[(&'static str, u32)]) -> Self {
        let mut parts = BTreeMap::new();
        for (name, pid) in processes {
            *parts.entry(*name).or_default() += cpu_of(*pid);
        }
        Self { parts, all: cpu_of_all() }
    }

    /// What was used since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Used {
        let seconds = |later: Duration, earlier: Duration| later.saturating_sub(earlier).as_secs_f64();
        let parts: BTreeMap<_, _> =
            self.parts.iter().map(|(name, now)| (*name, seconds(*now, earlier.parts.get(name).copied().unwrap_or_default()))).collect();
        let others = (seconds(self.all, earlier.all) - parts.values().sum::<f64>()).max(0.0);
        Used { parts, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_named_anything() {
        let stat = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 100 1000 200";
        assert_eq!(process_ticks(stat), Some(300));
        assert_eq!(process_ticks(""), None);
    }

    #[test]
    fn waiting_is_not_being_busy() {
        assert_eq!(busy_ticks("cpu  100 10 50 9000 700 1 2 3 40 5\ncpu0 1 1 1"), 166);
    }

    #[test]
    fn this_process_has_memory_and_nobody_has_the_process_id_zero() {
        let (now, most) = memory_of(std::process::id()).unwrap();
        assert!(now > 0.0 && most >= now);
        assert_eq!(memory_of(0), None);
        assert_eq!(cpu_of(0), Duration::ZERO);
    }

    #[test]
    fn what_nobody_named_is_the_others() {
        let at = |own: u64, all: u64| Usage { parts: BTreeMap::from([("own", Duration::from_secs(own))]), all: Duration::from_secs(all) };
        assert_eq!(at(5, 20).since(&at(2, 10)), Used { parts: BTreeMap::from([("own", 3.0)]), others: 7.0 });
    }
}
