//! Compares the runs of each scenario and reports what differs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test, helpers included"
)]

mod code;
mod scenarios;
mod tracer;

use std::process::ExitCode;
use std::time::Instant;
use std::{env, fmt};

use opaque_pir::machine::VectorKernel;

use scenarios::{BRANCHES, CLIENT, DIVIDES, SECRETS};
use tracer::{CHILD, Result, Trace};

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [CHILD, name, kernel, secret] => tracer::child(name, kernel, secret),
        _ => check(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the scenarios whose names contain one of the arguments, or all scenarios.
fn check(arguments: &[&str]) -> Result<()> {
    // Flags of libtest: there are no tests to list, and none is ignored.
    if arguments.iter().any(|argument| ["--list", "--ignored"].contains(argument)) {
        return Ok(());
    }
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let filters: Option<Vec<_>> = filters.peek().is_some().then(|| filters.collect());
    control(BRANCHES.0, |finding| matches!(finding, Finding::Differs { .. }))?;
    control(DIVIDES.0, |finding| matches!(finding, Finding::Divides { .. }))?;
    let mut failures = 0;
    for (name, _) in CLIENT {
        if filters.as_ref().is_some_and(|all| !all.iter().any(|part| name.contains(**part))) {
            continue;
        }
        for kernel in VectorKernel::available() {
            let started = Instant::now();
            let (steps, findings) = trace(name, kernel)?;
            let seconds = started.elapsed().as_secs_f64();
            println!("{name}, {}: {steps} instructions, {seconds:.1} s", kernel.name());
            for finding in &findings {
                println!("  {finding}");
            }
            failures += findings.len();
        }
    }
    if failures == 0 { Ok(()) } else { Err(format!("{failures} findings").into()) }
}

/// Checks that a control is reported, with the right finding.
fn control(name: &str, expected: impl Fn(&Finding) -> bool) -> Result<()> {
    let (_, findings) = trace(name, VectorKernel::best())?;
    if findings.is_empty() || !findings.iter().all(expected) {
        return Err(format!("{name} was not reported as what it is: {findings:?}").into());
    }
    Ok(())
}

/// A violation of what the test requires.
#[derive(Debug)]
enum Finding {
    /// The run with this secret leaves the path of the first secret's run after so many blocks, at
    /// the instruction `last`.
    Differs { secret: u8, blocks: usize, last: String },
    /// The instruction is a division.
    Divides { instruction: String },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { secret, blocks, last } => {
                write!(f, "secret {secret} takes another path after {blocks} blocks: {last}")
            }
            Self::Divides { instruction } => write!(f, "a division: {instruction}"),
        }
    }
}

/// Traces a scenario with every secret: the number of instructions, and the findings.
fn trace(name: &str, kernel: VectorKernel) -> Result<(usize, Vec<Finding>)> {
    let first = Trace::record(name, kernel, 0)?;
    let mut findings = divisions(&first);
    for secret in 1..SECRETS {
        let other = Trace::record(name, kernel, secret)?;
        if first.steps != other.steps {
            let same = first.steps.iter().zip(&other.steps).take_while(|(a, b)| a == b).count();
            let last = same.checked_sub(1).and_then(|last| first.steps.get(last));
            let last = last.map(|step| first.locate(step.end)).unwrap_or_default();
            findings.push(Finding::Differs { secret, blocks: same, last });
            findings.extend(divisions(&other));
        }
    }
    Ok((first.instructions, findings))
}

fn divisions(trace: &Trace) -> Vec<Finding> {
    let divides = |address: &u64| Finding::Divides { instruction: trace.locate(*address) };
    trace.divisions.iter().map(divides).collect()
}
