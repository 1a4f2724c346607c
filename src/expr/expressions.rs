//! The handle that the controller holds: compiles and evaluates on the pool, within a deadline.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{cache::Cache, error::ExprError, inputs::Inputs, limits, pool::Pool, program::Program};
use crate::core::snapshot::Tri;

/// Compiles and evaluates expressions. Cheap to clone; all clones share the threads and the programs.
#[derive(Clone, Debug)]
pub struct Expressions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    programs: Mutex<Cache>,
    /// Compilations in the queue or running, so that a flood of them leaves room for decisions.
    compiling: Semaphore,
    deadline: Duration,
}

impl Expressions {
    /// Starts the threads, one at least. They end with the last clone.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        Ok(Self::over(Pool::start(threads)?, threads.max(1), limits::DEADLINE))
    }

    /// On threads that are there already.
    pub(super) fn over(pool: Pool, compiling: usize, deadline: Duration) -> Self {
        Self { shared: Arc::new(Shared { pool, programs: Mutex::default(), compiling: Semaphore::new(compiling), deadline }) }
    }

    /// Compiles an expression, or takes it from the cache of the last 1024 sources. Waits for its turn as long as it takes:
    /// a busy operator must not call a policy broken.
    pub async fn compile(&self, source: &str) -> Result<Arc<Program>, ExprError> {
        if source.len() > limits::SOURCE_BYTES {
            return Err(ExprError::TooLong { bytes: source.len() });
        }
        if let Some(program) = self.programs().get(source) {
            return Ok(program);
        }
        let _turn = self.shared.compiling.acquire().await;
        let owned = source.to_owned();
        let answer = self.shared.pool.run(move || Program::compile(&owned)).await;
        let program = Arc::new(answer.await.unwrap_or(Err(ExprError::Abandoned))?);
        self.programs().keep(program.clone());
        Ok(program)
    }

    /// What the program says of these objects. An error at run time, a full queue, and an answer that is not there 250 ms
    /// after the call are all [`Tri::Error`].
    pub async fn evaluate(&self, program: &Arc<Program>, inputs: &Arc<Inputs>) -> Tri {
        let (program, inputs) = (program.clone(), inputs.clone());
        let Ok(answer) = self.shared.pool.try_run(move || program.evaluate(&inputs)) else {
            return Tri::Error("too many expressions are waiting to be evaluated".to_owned());
        };
        let deadline = self.shared.deadline;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Tri::Error("the evaluation broke off".to_owned()),
            Err(_) => Tri::Error(format!("no answer within {} ms", deadline.as_millis())),
        }
    }

    fn programs(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.shared.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
