//! A few threads with large stacks that run whatever they are given.
//!
//! Parsing and evaluating recurse, and an overflowing stack ends the process without a panic: nothing of this crate's may run
//! outside of these threads. A job that panics costs its caller an answer and nothing else. Knows nothing of expressions.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::limits;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when the last clone is gone and the queue is empty.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    queue: mpsc::Sender<Job>,
}

/// The answer to a job. It fails if the job panicked.
pub(super) type Answer<T> = oneshot::Receiver<T>;

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Pool {
    /// Starts that many threads, one at least.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel::<Job>(limits::QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("cel-{number}")).stack_size(limits::STACK_BYTES).spawn(move || serve(&jobs))?;
        }
        Ok(Self { queue })
    }

    /// Queues a job at once, or not at all.
    pub(super) fn try_run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<Answer<T>, Full> {
        let (job, answer) = answering(job);
        self.queue.try_send(job).map_err(|_| Full)?;
        Ok(answer)
    }

    /// Queues a job as soon as there is room.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let (job, answer) = answering(job);
        // A job that cannot be sent is dropped, and its answer fails.
        let _ = self.queue.send(job).await;
        answer
    }
}

/// A job that answers, unless nobody waits for it any more: late work must not delay what is still wanted.
fn answering<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> (Job, Answer<T>) {
    let (sender, answer) = oneshot::channel();
    let job = move || {
        if !sender.is_closed() {
            let _ = sender.send(job());
        }
    };
    (Box::new(job), answer)
}

fn serve(jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is given back before the job runs.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        // Nothing of a job outlives it, so a panic leaves nothing broken behind: the thread takes the next one.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;

    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_no_thread() {
        let pool = Pool::start(1).unwrap();
        for _ in 0..3 {
            let lost = pool.run(|| -> u8 { panic!("on purpose") }).await;
            assert!(lost.await.is_err());
        }
        assert_eq!(pool.run(|| 7).await.await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_that_nobody_waits_for_is_skipped() {
        let pool = Pool::start(1).unwrap();
        let (open, gate) = blocking::channel::<()>();
        let busy = pool.run(move || gate.recv()).await;
        let (ran, seen) = blocking::channel();
        drop(pool.run(move || ran.send(())).await);
        open.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(pool.run(|| ()).await.await, Ok(()));
        assert!(seen.recv().is_err(), "the job must have been dropped unrun");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = Pool::start(1).unwrap();
        let (open, gate) = blocking::channel::<()>();
        let (started, running) = blocking::channel();
        let busy = pool
            .try_run(move || {
                started.send(()).unwrap();
                gate.recv()
            })
            .unwrap();
        running.recv().unwrap();
        let waiting: Vec<_> = (0..limits::QUEUE).map(|_| pool.try_run(|| ()).unwrap()).collect();
        assert_eq!(pool.try_run(|| ()).unwrap_err(), Full);
        open.send(()).unwrap();
        busy.await.unwrap().unwrap();
        for answer in waiting {
            answer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn threads_have_room_for_deep_recursion() {
        fn deep(levels: u32) -> u32 {
            let ballast = std::hint::black_box([levels; 256]);
            if levels == 0 { 0 } else { deep(levels - 1) + ballast[0] / levels }
        }
        let pool = Pool::start(1).unwrap();
        // About 16 MiB of stack: an ordinary thread would end the process.
        assert_eq!(pool.run(|| deep(10_000)).await.await, Ok(10_000));
    }
}
