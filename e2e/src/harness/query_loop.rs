//! Private queries, one after the other, while something else happens.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::way::{Forward, Way};
use crate::command;

/// How long one query may take, from the start of the program to its end.
const QUERY: Duration = Duration::from_secs(60);
/// Number of failures whose text is kept.
const KEPT: usize = 5;
/// Number of results that may wait for the reader.
const RESULTS: usize = 4096;

/// A query and where to send it.
#[derive(Clone, Debug)]
pub struct Question {
    /// How to reach the cluster.
    pub way: Way,
    /// `https://demo-query.NAMESPACE.svc.cluster.local:7100`
    pub url: String,
    /// File with the authority of the servers' certificates.
    pub ca: PathBuf,
    /// `OPAQUE_HOME`: a separate folder, kept between queries, since it holds the keys.
    pub home: PathBuf,
    /// Further options of `opaque`, such as `--token-file FILE`.
    pub options: Vec<String>,
    /// The statement.
    pub sql: String,
    /// The right answers, as CSV. There are several while a table changes from one epoch to the
    /// next.
    pub right: Vec<String>,
}

/// Results of a loop.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Number of right answers.
    pub right: usize,
    /// The first few wrong answers.
    pub wrong: Vec<String>,
    /// Queries without an answer: the first few, with the program's output.
    pub failed: Vec<String>,
    /// Number of wrong or failed queries.
    pub bad: usize,
    /// The right answers that came, by index, in order and without repetitions.
    pub order: Vec<usize>,
    /// The slowest query.
    pub slowest: Duration,
    /// Longest time between two right answers.
    pub gap: Duration,
}

/// A running loop. Dropping it ends the loop and prints its results.
#[derive(Debug)]
pub struct QueryLoop {
    stop: watch::Sender<bool>,
    results: mpsc::Receiver<Outcome>,
    task: JoinHandle<Result<()>>,
    question: Question,
    summary: Summary,
    last: Instant,
}

#[derive(Debug)]
struct Outcome {
    answer: Result<String>,
    time: Duration,
    end: Instant,
}

impl Question {
    /// Sends the query once.
    pub async fn ask(&self) -> Result<String> {
        self.opaque(&["query", "--format", "csv", &self.sql], QUERY).await
    }

    /// Runs another command of `opaque` against the same cluster, such as `load`, and returns its
    /// output.
    pub async fn opaque(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        let opaque = super::binary("opaque")?;
        match &self.way {
            Way::Inside(faults) => {
                self.run(faults.inside(&opaque), &self.url, arguments, limit).await
            }
            Way::Forwarded(namespace) => {
                let forward = Forward::start(namespace).await?;
                self.run(Command::new(&opaque), &forward.url(), arguments, limit).await
            }
        }
    }

    /// Runs `opaque`, like a user does.
    async fn run(
        &self,
        mut opaque: Command,
        url: &str,
        arguments: &[&str],
        limit: Duration,
    ) -> Result<String> {
        opaque
            .args(["--cluster", url, "--ca"])
            .arg(&self.ca)
            .args(&self.options)
            .args(arguments)
            .env("OPAQUE_HOME", &self.home);
        command::success(opaque, limit).await
    }
}

impl QueryLoop {
    /// Starts the loop, and waits for the first right answer.
    pub async fn start(question: Question) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (sender, results) = mpsc::channel(RESULTS);
        let task = tokio::spawn(ask(question.clone(), sender, stopped));
        let summary = Summary::default();
        let mut this = Self { stop, results, task, question, summary, last: Instant::now() };
        this.answers(1, QUERY).await?;
        this.summary.gap = Duration::ZERO;
        Ok(this)
    }

    /// Waits for `count` more right answers.
    pub async fn answers(&mut self, count: usize, limit: Duration) -> Result<()> {
        let (end, wanted) = (Instant::now() + limit, self.summary.right + count);
        while self.summary.right < wanted {
            let left = end.saturating_duration_since(Instant::now());
            match timeout(left, self.results.recv()).await {
                Ok(Some(outcome)) => self.note(outcome),
                Ok(None) => bail!("the loop has ended: {:?}", self.summary),
                Err(_) => bail!("no {count} right answers within {limit:?}: {:?}", self.summary),
            }
        }
        Ok(())
    }

    /// Waits until the answer is the right one with this index, such as that of a new epoch.
    pub async fn until_answer(&mut self, index: usize, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        while self.summary.order.last() != Some(&index) {
            let left = limit.saturating_sub(start.elapsed());
            self.answers(1, left).await.with_context(|| format!("waiting for answer {index}"))?;
        }
        Ok(start.elapsed())
    }

    /// Waits for `count` more right answers, and stops. No answer may have been wrong or missing.
    pub async fn finish(mut self, count: usize, limit: Duration) -> Result<()> {
        self.answers(count, limit).await?;
        self.stop().await?.check()
    }

    /// Stops after the query in progress, and returns the results.
    pub async fn stop(mut self) -> Result<Summary> {
        self.stop.send_replace(true);
        while let Some(outcome) = self.results.recv().await {
            self.note(outcome);
        }
        let task = std::mem::replace(&mut self.task, tokio::spawn(async { Ok(()) }));
        task.await??;
        Ok(self.summary.clone())
    }

    fn note(&mut self, outcome: Outcome) {
        let Outcome { answer, time, end } = outcome;
        let Summary { right, wrong, failed, bad, order, slowest, gap } = &mut self.summary;
        *slowest = time.max(*slowest);
        let text = match answer {
            Ok(text) => text,
            Err(error) => {
                *bad += 1;
                if failed.len() < KEPT {
                    failed.push(format!("{error:#}"));
                }
                return;
            }
        };
        let Some(index) = self.question.right.iter().position(|right| *right == text) else {
            *bad += 1;
            if wrong.len() < KEPT {
                wrong.push(text);
            }
            return;
        };
        *right += 1;
        if order.last() != Some(&index) {
            order.push(index);
        }
        *gap = end.duration_since(self.last).max(*gap);
        self.last = end;
    }
}

impl Summary {
    /// Fails unless every query returned a right answer.
    pub fn check(&self) -> Result<()> {
        if self.bad > 0 || self.right == 0 {
            bail!(
                "{} of {} queries were wrong or failed: {self:#?}",
                self.bad,
                self.bad + self.right
            );
        }
        println!(
            "measured: {} queries, all right; slowest {:.2} s, longest wait between two {:.2} s",
            self.right,
            self.slowest.as_secs_f64(),
            self.gap.as_secs_f64()
        );
        Ok(())
    }
}

impl Drop for QueryLoop {
    fn drop(&mut self) {
        self.task.abort();
        // A test has failed. The results of its queries are part of the failure.
        if !*self.stop.borrow() {
            while let Ok(outcome) = self.results.try_recv() {
                self.note(outcome);
            }
            eprintln!("queries until the test failed: {:#?}", self.summary);
        }
    }
}

async fn ask(
    question: Question,
    results: mpsc::Sender<Outcome>,
    stopped: watch::Receiver<bool>,
) -> Result<()> {
    while !*stopped.borrow() {
        let start = Instant::now();
        let answer = question.ask().await;
        let end = Instant::now();
        if results.send(Outcome { answer, time: end - start, end }).await.is_err() {
            break;
        }
    }
    Ok(())
}
