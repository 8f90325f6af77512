//! Jobs on parallel threads.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::run::Interrupt;

/// Runs jobs on `workers` threads and passes each result, with the index of its job, to `done` on the calling thread.
///
/// Jobs start in the order of `jobs`; results arrive in the order in which the jobs finish. `work` receives a child of
/// `interrupt`. If a job or `done` returns an error, no further job is started and the running jobs are asked to stop
/// through that child.
///
/// # Errors
/// Returns the first error of `work` or `done`.
///
/// # Panics
/// Panics with the panic of a job if one panics.
pub fn run_parallel<J: Sync, R: Send, E: Send>(
    workers: usize,
    interrupt: &Interrupt,
    jobs: &[J],
    work: impl Fn(&J, &Interrupt) -> Result<R, E> + Sync,
    mut done: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let (next, stop) = (AtomicUsize::new(0), interrupt.child());
    let (sender, results) = mpsc::channel();
    let worker = |sender: mpsc::Sender<(usize, Result<R, E>)>| {
        while !stop.asked() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return };
            let result = work(job, &stop);
            if result.is_err() {
                stop.ask();
            }
            if sender.send((index, result)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.clamp(1, jobs.len().max(1)))
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(|| worker(sender))
            })
            .collect();
        drop(sender);
        let mut first_error = None;
        for (index, result) in results {
            if let Err(error) = result.and_then(|result| done(index, result)) {
                stop.ask();
                first_error.get_or_insert(error);
            }
        }
        for thread in threads {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
        first_error.map_or(Ok(()), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    #[test]
    fn every_job_runs_once_and_in_parallel() {
        let jobs: Vec<usize> = (0..6).collect();
        let both = Barrier::new(2);
        let mut seen = vec![0; jobs.len()];
        let work = |job: &usize, _: &Interrupt| {
            // Returns only if another job runs at the same time.
            both.wait();
            Ok::<_, String>(job * 10)
        };
        let done = |index: usize, result: usize| {
            seen[index] += result + 1;
            Ok(())
        };
        run_parallel(2, &Interrupt::default(), &jobs, work, done).unwrap();
        assert_eq!(seen, [1, 11, 21, 31, 41, 51]);
    }

    #[test]
    fn after_an_error_no_job_starts_and_the_caller_is_not_stopped() {
        let interrupt = Interrupt::default();
        let started = AtomicUsize::new(0);
        let work = |job: &usize, _: &Interrupt| {
            started.fetch_add(1, Ordering::Relaxed);
            if *job == 1 { Err("failed") } else { Ok(()) }
        };
        let error = run_parallel(1, &interrupt, &[0, 1, 2, 3], work, |_, ()| Ok(())).unwrap_err();
        assert_eq!((error, started.into_inner(), interrupt.asked()), ("failed", 2, false));
        let refused = run_parallel(1, &interrupt, &[0; 9], |_, stop| Ok(stop.asked()), |_, _| Err("full"));
        assert_eq!(refused.unwrap_err(), "full");
    }

    #[test]
    fn a_stop_request_reaches_the_running_job() {
        let interrupt = Interrupt::default();
        let work = |_: &usize, stop: &Interrupt| {
            interrupt.ask();
            Ok::<_, String>(stop.asked())
        };
        let mut results = Vec::new();
        let done = |_, result| {
            results.push(result);
            Ok(())
        };
        run_parallel(1, &interrupt, &[0, 1, 2], work, done).unwrap();
        assert_eq!(results, [true]);
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let work = |job: &usize, _: &Interrupt| if *job == 1 { panic!("out of memory") } else { Ok::<_, String>(()) };
        let run = || run_parallel(2, &Interrupt::default(), &[0, 1, 2], work, |_, ()| Ok(()));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"out of memory"));
    }
}
