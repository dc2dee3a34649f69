//! The progress of reading and loading files.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use opaque_client::{Event, OnEvent};

/// One progress bar that changes with the stage. It is drawn only if standard error is a terminal.
#[derive(Clone)]
pub(in crate::commands) struct Bar(pub(in crate::commands) ProgressBar);

impl Bar {
    pub(in crate::commands) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    pub(in crate::commands) fn clear(&self) {
        self.0.finish_and_clear();
    }

    pub(in crate::commands) fn stage(&self, name: &'static str, template: &str) {
        if self.0.message() != name {
            self.0.set_message(name);
            self.0.reset();
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.0.set_style(style);
            }
        }
    }

    /// Shows how far a file has been read. `stage` says what for.
    pub(in crate::commands) fn reading(&self, stage: &'static str, read: u64, total: Option<u64>) {
        self.stage(stage, "{msg:<10} {bar:30} {bytes} of {total_bytes}");
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(read);
    }

    pub(in crate::commands) fn listener(&self) -> OnEvent {
        let bar = self.clone();
        Arc::new(move |event| match event {
            Event::Sending { rows, total } => {
                bar.stage(
                    "sending",
                    "{msg:<10} {bar:30} {human_pos} of {human_len} rows, {per_sec}",
                );
                bar.0.set_length(total);
                bar.0.set_position(rows);
            }
            Event::Planning => bar.stage("planning", "{msg:<10} {spinner}"),
            Event::Building { bytes, total } => {
                bar.stage("building", "{msg:<10} {bar:30} {bytes} of {total_bytes}");
                bar.0.set_length(total);
                bar.0.set_position(bytes);
            }
            Event::Activating => bar.stage("activating", "{msg:<10} {spinner} {elapsed}"),
            Event::Scanning { .. } => {}
        })
    }
}
