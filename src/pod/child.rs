//! The command that a credential is held for: started, passed its signals, waited for.
//!
//! As the first process of a container this one also inherits every orphan, so it waits for whatever ends, not for its child alone. Called by
//! `exec`, which starts no other process.

use std::{fs::File, future::poll_fn, io, os::unix::process::CommandExt, path::Path, process::Command, task::Poll};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{Signal as Listening, SignalKind, signal};

use super::signal::Signal;
use crate::secret::Secret;

/// Why a command did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// It is not there.
    #[error("{0}: command not found")]
    NotFound(String),
    /// It is there and cannot be started.
    #[error("cannot start {0}: {1}")]
    NotStarted(String, io::Error),
}

/// Signals that came for this process.
pub struct Signals {
    streams: Vec<(Signal, Listening)>,
    ended: Listening,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A signal that a command would want to know of.
    Signal(Signal),
    /// Some child has ended.
    Child,
}

impl Signals {
    /// From now on signals are kept for [`Signals::next`] and do nothing else.
    pub fn listen() -> io::Result<Self> {
        let streams = Signal::all().map(|named| Ok((named, signal(SignalKind::from_raw(named.number()))?))).collect::<io::Result<_>>()?;
        Ok(Self { streams, ended: signal(SignalKind::child())? })
    }

    /// The next one.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| {
            if self.ended.poll_recv(context).is_ready() {
                return Poll::Ready(Event::Child);
            }
            for (named, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(Event::Signal(*named));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next one that asks a process to end.
    pub async fn stop(&mut self) -> Signal {
        loop {
            if let Event::Signal(signal) = self.next().await
                && signal.ends()
            {
                return signal;
            }
        }
    }
}

/// A command that runs.
pub struct Child {
    pid: Pid,
    /// A terminal sends its own signals to everything in its foreground, this process and its child alike. As the first process of a
    /// container this one alone is sent what ends the container, so there a child may hear a signal twice rather than never.
    hears_terminal: bool,
}

impl Child {
    /// Starts a command with these variables added. Without a terminal it gets a process group of its own, so that a signal reaches it once:
    /// through us.
    pub fn start(words: &[String], directory: &Path, variables: &[(String, Secret<String>)]) -> Result<Self, SpawnError> {
        let program = words.first().cloned().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(words.iter().skip(1)).env("DAYPASS_DIR", directory);
        for (name, value) in variables {
            command.env(name, value.expose().trim_end_matches('\n'));
        }
        let has_terminal = File::open("/dev/tty").is_ok();
        if !has_terminal {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SpawnError::NotFound(program.clone()),
            _ => SpawnError::NotStarted(program.clone(), error),
        })?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| SpawnError::NotStarted(program, io::Error::other("it has no process number")))?;
        Ok(Self { pid, hears_terminal: has_terminal && std::process::id() != 1 })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Passes a signal on.
    pub fn pass(&self, signal: Signal) {
        if !(self.hears_terminal && signal.is_from_terminal()) {
            // It may have ended in the meantime.
            let _ = signal.send(self.pid);
        }
    }

    /// Takes note of everything that has ended. The child's exit code, if it is among them: its own, or 128 and the signal that ended it.
    pub fn reap(&self) -> Option<u8> {
        let mut code = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                code = Some(exit_code(status));
            }
        }
        code
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
