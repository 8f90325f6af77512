//! Progress on stderr: a bar with the remaining time in a terminal, otherwise a line every ten seconds.

use std::{
    io::IsTerminal,
    sync::LazyLock,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All progress bars of the process. The bars of parallel runs are shown one below the other.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Time between two lines if stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Reports progress over a known number of steps on stderr.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    label: String,
    total: usize,
    first: usize,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts the report with `first` of `total` steps already done.
    pub fn new(label: &str, first: usize, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| terminal_bar(label, first, total));
        let now = Instant::now();
        Self { bar, label: label.into(), total, first, started: now, last_line: now }
    }

    /// Reports that `done` steps are done.
    pub fn update(&mut self, done: usize, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(message.to_string());
            }
            None if self.last_line.elapsed() >= LINE_EVERY => self.line(done, message),
            None => {}
        }
    }

    /// Ends the report with a final message.
    pub fn finish(self, done: usize, message: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.finish_with_message(message.to_string());
            }
            None => {
                let seconds = self.started.elapsed().as_secs_f64();
                eprintln!("{}: {done}/{} in {seconds:.1} s  {message}", self.label, self.total);
            }
        }
    }

    fn line(&mut self, done: usize, message: &str) {
        self.last_line = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let left = seconds / (done - self.first).max(1) as f64 * self.total.saturating_sub(done) as f64;
        eprintln!("{}: {done}/{}, {left:.0} s left  {message}", self.label, self.total);
    }
}

/// Progress of work that may be short: nothing is reported in its first two seconds.
#[derive(Debug)]
pub(crate) struct DelayedProgress {
    label: &'static str,
    started: Instant,
    bar: Option<Progress>,
    total: usize,
}

impl DelayedProgress {
    /// Time without a report.
    const QUIET: Duration = Duration::from_secs(2);

    /// Starts the two seconds.
    pub(crate) fn new(label: &'static str) -> Self {
        Self { label, started: Instant::now(), bar: None, total: 0 }
    }

    /// Reports that `done` of `total` steps are done.
    pub(crate) fn update(&mut self, done: usize, total: usize) {
        self.total = total;
        if self.started.elapsed() > Self::QUIET && done < total {
            self.bar.get_or_insert_with(|| Progress::new(self.label, done, total)).update(done, "");
        }
    }

    /// Ends the report, if there was one.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish(self.total, "");
        }
    }
}

fn terminal_bar(label: &str, first: usize, total: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_position(first as u64).with_prefix(label.to_string());
    let bar = BARS.add(bar);
    let template = "{prefix} {bar:24} {pos}/{len} [{elapsed} < {eta}] {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.reset_eta();
    bar
}
