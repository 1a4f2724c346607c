//! Child processes that cannot outlive the one that started them.
//!
//! Each child is held by a small shell (`hold.sh`) in a process group of its own, which ends it when its pipe from us closes: also when
//! we are killed with -9 and no destructor runs. PDEATHSIG would follow the thread that happened to spawn, and needs unsafe code.
//! Nothing here knows what the children are. Used for the control plane, for builds, and by tests for the operator.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;

/// The holding shell.
const HOLD: &str = include_str!("hold.sh");

/// What went wrong with a child, named by its program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started or its log not be opened.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It is still running and was asked to start again.
    #[error("{program} is still running (pid {pid}): stop it before starting it again")]
    Running {
        /// Its program.
        program: String,
        /// Its process id.
        pid: u32,
    },
}

/// How to start a child, now and again.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program: a path, or a name on PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables besides the inherited ones.
    pub envs: Vec<(OsString, OsString)>,
    /// Working directory; inherited if `None`.
    pub dir: Option<PathBuf>,
    /// Where stdout and stderr go, appended.
    pub log: PathBuf,
    /// How long it may take to stop before it is killed.
    pub grace: Duration,
}

impl Spec {
    /// A program with no arguments and a grace of two seconds.
    pub fn new(program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        let (program, log) = (program.into(), log.into());
        Self { program, args: Vec::new(), envs: Vec::new(), dir: None, log, grace: Duration::from_secs(2) }
    }

    /// With these arguments as well.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With this environment variable as well.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// In this working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code. The shell reports signal N as 128+N, so codes above 128 are not told apart from signals.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The holder died before it could say; the child's end is not known.
    Unknown,
}

impl Exit {
    /// Ended by itself with code 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

/// A child. Dropping it stops it and waits for that, at most for its grace.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    run: Mutex<Run>,
}

impl Process {
    /// Starts a child.
    pub fn start(spec: Spec) -> Result<Self, Error> {
        let run = Run::start(&spec).map_err(|source| Error::Start { program: name(&spec), source })?;
        Ok(Self { spec, run: Mutex::new(run) })
    }

    /// The process id of the child itself, not of its holder.
    pub fn pid(&self) -> u32 {
        self.run().pid
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// The last lines of its output, as far as they can be read.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.spec.log, lines).unwrap_or_else(|error| format!("({}: {error})", self.spec.log.display()))
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.run().reported.borrow().exit
    }

    /// Waits for its end.
    pub async fn exited(&self) -> Exit {
        let mut reported = self.run().reported.clone();
        // An error means that the reporter is gone without a word.
        reported.wait_for(|reported| reported.exit.is_some()).await.ok().and_then(|reported| reported.exit).unwrap_or(Exit::Unknown)
    }

    /// Sends SIGTERM and waits for the end; SIGKILL when its grace is over. A paused child is resumed, so that it can obey.
    pub async fn stop(&self) -> Exit {
        self.signal("TERM").await;
        self.signal("CONT").await;
        match tokio::time::timeout(self.spec.grace, self.exited()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&self) -> Exit {
        self.signal("KILL").await;
        self.exited().await
    }

    /// Freezes it: SIGSTOP.
    pub async fn pause(&self) {
        self.signal("STOP").await;
    }

    /// Lets it go on: SIGCONT.
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    /// Sends a signal by its name without SIG, and returns when it was sent. Nothing happens to a child that has ended: its holder sends,
    /// so never to a stranger that got its process id.
    pub async fn signal(&self, name: &str) {
        let (order, mut reported) = {
            let mut run = self.run();
            (run.order(name), run.reported.clone())
        };
        // An error means that the reporter is gone, and the child with it.
        let _ = reported.wait_for(|reported| reported.sent >= order || reported.exit.is_some()).await;
    }

    /// Sends SIGKILL without waiting for anything.
    pub(crate) fn kill_soon(&self) {
        self.run().order("KILL");
    }

    /// Starts it again with the same arguments, after it has ended.
    pub fn start_again(&self) -> Result<(), Error> {
        let mut run = self.run();
        if run.reported.borrow().exit.is_none() {
            return Err(Error::Running { program: name(&self.spec), pid: run.pid });
        }
        *run = Run::start(&self.spec).map_err(|source| Error::Start { program: name(&self.spec), source })?;
        Ok(())
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One run of the child: from a start to its end.
#[derive(Debug)]
struct Run {
    pid: u32,
    /// Names of signals, one a line; the child's life hangs on this pipe.
    orders: Option<ChildStdin>,
    /// How many were written to it.
    ordered: u64,
    reported: watch::Receiver<Reported>,
    reporter: Option<JoinHandle<()>>,
}

/// What the holder has said.
#[derive(Debug, Default)]
struct Reported {
    /// How many signals it has sent.
    sent: u64,
    exit: Option<Exit>,
}

impl Run {
    fn start(spec: &Spec) -> io::Result<Self> {
        let mut holder = shell(spec)?.spawn()?;
        let orders = holder.stdin.take();
        let mut reports = BufReader::new(holder.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut first = String::new();
        reports.read_line(&mut first)?;
        let pid = first.trim().parse().map_err(|_| io::Error::other("the holding shell did not say the process id"))?;
        let (tell, reported) = watch::channel(Reported::default());
        let reporter = std::thread::spawn(move || {
            for line in reports.lines().map_while(Result::ok) {
                tell.send_modify(|reported| match parse_exit(&line) {
                    Some(exit) => reported.exit = Some(exit),
                    None => reported.sent += 1,
                });
            }
            let _ = holder.wait();
            tell.send_modify(|reported| reported.exit = reported.exit.or(Some(Exit::Unknown)));
        });
        Ok(Self { pid, orders, ordered: 0, reported, reporter: Some(reporter) })
    }

    /// Orders a signal, and returns how many that makes.
    fn order(&mut self, signal: &str) -> u64 {
        if let Some(orders) = &mut self.orders {
            // A broken pipe means that the holder has ended, and it ends after the child.
            let _ = writeln!(orders, "{signal}");
        }
        self.ordered += 1;
        self.ordered
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(reporter) = self.reporter.take() {
            let _ = reporter.join();
        }
    }
}

/// The holding shell, about to hold.
fn shell(spec: &Spec) -> io::Result<Command> {
    if let Some(parent) = spec.log.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
    let tenths = spec.grace.as_millis().div_ceil(100).to_string();
    let mut shell = Command::new("sh");
    shell.args(["-c", HOLD, "hold", &tenths]).arg(&spec.program).args(&spec.args);
    shell.envs(spec.envs.iter().map(|(name, value)| (name, value)));
    if let Some(dir) = &spec.dir {
        shell.current_dir(dir);
    }
    // In its own group, so that Ctrl-C in a terminal reaches us alone and we end the children in our order.
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    Ok(shell)
}

fn name(spec: &Spec) -> String {
    spec.program.display().to_string()
}

fn parse_exit(report: &str) -> Option<Exit> {
    let code: i32 = report.strip_prefix("exit ")?.parse().ok()?;
    Some(if code > 128 { Exit::Signal(code - 128) } else { Exit::Code(code) })
}

/// The last lines of a file, read from its end.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<String> {
    use std::io::{Seek, SeekFrom};
    const ENOUGH: u64 = 64 * 1024;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

#[cfg(test)]
mod tests;
