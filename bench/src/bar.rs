//! Progress on standard error.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use opaque_client::{Event, OnEvent};

use crate::engine::Progress;

/// One progress bar that changes with the stage. It is drawn only if standard error is a terminal.
#[derive(Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// The engine's progress.
    pub(crate) fn show(&self, progress: Progress) {
        match progress {
            Progress::Filling { bytes, total } => self.bytes("data", bytes, total),
            Progress::Hint { bytes, total } => self.bytes("hint", bytes, total),
            Progress::Tables { planes, total } => self.numbers("tables", planes, total),
            Progress::Measuring { rounds, total } => self.numbers("measuring", rounds, total),
        }
    }

    /// A load's progress.
    pub(crate) fn listener(&self) -> OnEvent {
        let bar = self.clone();
        Arc::new(move |event| match event {
            Event::Sending { rows, total } => bar.numbers("sending", rows, total),
            Event::Planning => bar.wait("planning"),
            Event::Building { bytes, total } => bar.bytes("building", bytes, total),
            Event::Activating => bar.wait("activating"),
            Event::Scanning { .. } => {}
        })
    }

    pub(crate) fn bytes(&self, name: &'static str, done: u64, total: u64) {
        self.stage(name, "{msg:<10} {bar:30} {bytes} of {total_bytes}, {eta} left");
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Shows a spinner for a step of unknown duration.
    pub(crate) fn wait(&self, name: &'static str) {
        self.stage(name, "{msg:<10} {spinner} {elapsed}");
    }

    fn numbers(&self, name: &'static str, done: u64, total: u64) {
        self.stage(name, "{msg:<10} {bar:30} {human_pos} of {human_len}");
        self.0.set_length(total);
        self.0.set_position(done);
    }

    fn stage(&self, name: &'static str, template: &str) {
        if self.0.message() != name {
            self.0.set_message(name);
            self.0.reset();
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.0.set_style(style);
            }
        }
    }
}
