//! The handle: what callers get when all is well, when all is busy, and when something breaks.

use std::sync::{Arc, mpsc};

use super::*;
use crate::expr::{Expressions, pool::Pool};

/// On a busy machine an answer may take its time: where lateness is not what is tested, it is waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn compiles_and_evaluates_from_any_task() {
    let expressions = Expressions::over(Pool::start(2).unwrap(), 2, PATIENCE);
    let inputs = Arc::new(world());
    let program = expressions.compile("pod.metadata.labels.app == 'orders'").await.unwrap();
    assert_eq!(expressions.evaluate(&program, &inputs).await, Tri::True);
    let error = expressions.compile("pod.spec.containerz == []").await.unwrap_err();
    assert!(matches!(error, ExprError::Refused { line: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn the_same_source_is_compiled_once() {
    let expressions = Expressions::over(Pool::start(1).unwrap(), 1, PATIENCE);
    let first = expressions.compile("true || false").await.unwrap();
    assert!(Arc::ptr_eq(&first, &expressions.clone().compile("true || false").await.unwrap()));
}

#[tokio::test]
async fn the_cache_forgets_what_was_not_used_for_longest() {
    let expressions = Expressions::over(Pool::start(2).unwrap(), 2, PATIENCE);
    let kept = expressions.compile("1 == 0").await.unwrap();
    let forgotten = expressions.compile("2 == 0").await.unwrap();
    for n in 3..=limits::CACHED_PROGRAMS + 1 {
        expressions.compile("1 == 0").await.unwrap();
        expressions.compile(&format!("{n} == 0")).await.unwrap();
    }
    assert!(Arc::ptr_eq(&kept, &expressions.compile("1 == 0").await.unwrap()));
    assert!(!Arc::ptr_eq(&forgotten, &expressions.compile("2 == 0").await.unwrap()));
}

#[tokio::test]
async fn a_late_answer_is_an_error_and_the_next_one_is_not() {
    let pool = Pool::start(1).unwrap();
    let expressions = Expressions::over(pool.clone(), 1, PATIENCE);
    let hasty = Expressions::over(pool.clone(), 1, limits::DEADLINE);
    let inputs = Arc::new(world());
    let program = expressions.compile("true").await.unwrap();

    let (open, gate) = mpsc::channel::<()>();
    let stuck = pool.run(move || gate.recv()).await;
    assert!(error_of(hasty.evaluate(&program, &inputs).await).contains("no answer within 250 ms"));
    open.send(()).unwrap();
    stuck.await.unwrap().unwrap();
    assert_eq!(expressions.evaluate(&program, &inputs).await, Tri::True);
}

#[tokio::test]
async fn a_full_queue_is_an_error_at_once() {
    let pool = Pool::start(1).unwrap();
    let expressions = Expressions::over(pool.clone(), 1, PATIENCE);
    let program = expressions.compile("true").await.unwrap();

    let (open, gate) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let stuck = pool.try_run(move || (started.send(()).unwrap(), gate.recv())).unwrap();
    running.recv().unwrap();
    let waiting: Vec<_> = std::iter::from_fn(|| pool.try_run(|| ()).ok()).collect();
    assert!(error_of(expressions.evaluate(&program, &Arc::new(world())).await).contains("too many expressions"));
    open.send(()).unwrap();
    stuck.await.unwrap().1.unwrap();
    drop(waiting);
}

#[tokio::test]
async fn a_flood_of_compilations_leaves_room_for_decisions() {
    let pool = Pool::start(1).unwrap();
    let expressions = Expressions::over(pool.clone(), 1, PATIENCE);
    let program = expressions.compile("true").await.unwrap();

    let (open, gate) = mpsc::channel::<()>();
    let stuck = pool.run(move || gate.recv()).await;
    for n in 0..limits::QUEUE + 50 {
        let expressions = expressions.clone();
        tokio::spawn(async move { expressions.compile(&format!("{n} == 0")).await });
    }
    // Every one of them has had its turn to ask for a place in the queue.
    tokio::task::yield_now().await;
    let inputs = Arc::new(world());
    let (verdict, _) = tokio::join!(expressions.evaluate(&program, &inputs), async { open.send(()) });
    assert!(!matches!(&verdict, Tri::Error(message) if message.contains("too many")), "{verdict:?}");
    stuck.await.unwrap().unwrap();
}

#[tokio::test]
async fn deep_sources_leave_the_process_and_the_pool_alive() {
    let expressions = Expressions::over(Pool::start(1).unwrap(), 1, PATIENCE);
    for source in [vec!["1"; 512].join("+"), "(".repeat(1024), "!".repeat(1024), "-".repeat(1024), "[".repeat(512) + &"]".repeat(512)] {
        expressions.compile(&source).await.unwrap_err();
    }
    expressions.compile("true").await.unwrap();
}
