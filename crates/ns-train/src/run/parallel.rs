//! Jobs side by side.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::run::Interrupt;

/// Does jobs in their order with so many workers at once, and hands over each result on this thread as it comes, with the
/// job's place.
///
/// Work is asked to stop by its [`Interrupt`], which is `interrupt`'s child: when a job fails or its result cannot be
/// taken, no other is begun and those in work are asked to stop.
///
/// # Errors
/// The first.
///
/// # Panics
/// When a job does; the panic is the job's.
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
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else { return };
            let result = work(job, &stop);
            if result.is_err() {
                stop.ask();
            }
            if sender.send((place, result)).is_err() {
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
        for (place, result) in results {
            if let Err(error) = result.and_then(|result| done(place, result)) {
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
    fn every_job_is_done_once_and_side_by_side() {
        let jobs: Vec<usize> = (0..6).collect();
        let both = Barrier::new(2);
        let mut seen = vec![0; jobs.len()];
        let work = |job: &usize, _: &Interrupt| {
            // Ends only if another job is in work at the same time.
            both.wait();
            Ok::<_, String>(job * 10)
        };
        let done = |place: usize, result: usize| {
            seen[place] += result + 1;
            Ok(())
        };
        run_parallel(2, &Interrupt::default(), &jobs, work, done).unwrap();
        assert_eq!(seen, [1, 11, 21, 31, 41, 51]);
    }

    #[test]
    fn after_an_error_nothing_is_begun_and_the_caller_is_not_stopped() {
        let interrupt = Interrupt::default();
        let begun = AtomicUsize::new(0);
        let work = |job: &usize, _: &Interrupt| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *job == 1 { Err("no") } else { Ok(()) }
        };
        let error = run_parallel(1, &interrupt, &[0, 1, 2, 3], work, |_, ()| Ok(())).unwrap_err();
        assert_eq!((error, begun.into_inner(), interrupt.asked()), ("no", 2, false));
        let refused = run_parallel(1, &interrupt, &[0; 9], |_, stop| Ok(stop.asked()), |_, _| Err("full"));
        assert_eq!(refused.unwrap_err(), "full");
    }

    #[test]
    fn whoever_is_asked_to_stop_asks_the_work() {
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
    fn a_panic_goes_on_in_its_own_words() {
        let work = |job: &usize, _: &Interrupt| if *job == 1 { panic!("out of memory") } else { Ok::<_, String>(()) };
        let run = || run_parallel(2, &Interrupt::default(), &[0, 1, 2], work, |_, ()| Ok(()));
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"out of memory"));
    }
}
