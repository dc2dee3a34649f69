//! Compares the tokenizer with crate `csv`, in turns over the same bytes in memory.
//!
//! `cargo bench --locked --workspace --bench tokens`
//! prints the rate of both, the best of several passes, and their ratio.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark may stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use opaque_source::tokens::{Quotes, Syntax, Tokenizer};

const PASSES: usize = 15;
const BYTES: usize = 32 << 20;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (what, bytes) in [
        ("short fields", filled(|n| format!("{n},{},x,{},1", n % 97, n * 7))),
        ("text", filled(|n| format!("{n},{},{}", words(n, 6), words(n + 1, 20)))),
        ("all quoted", filled(|n| format!("\"{n}\",\"{}\",\"{}\"", words(n, 2), words(n, 5)))),
        ("quotes in quotes", filled(|n| format!("{n},\"the \"\"{}\"\" of {n}\"", words(n, 2)))),
    ] {
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        let (mut rows, mut expected) = (0, 0);
        for _ in 0..PASSES {
            let begun = Instant::now();
            rows = tokens(&bytes);
            ours = ours.min(begun.elapsed());
            let begun = Instant::now();
            expected = csv(&bytes);
            theirs = theirs.min(begun.elapsed());
        }
        assert_eq!(rows, expected, "both read the same");
        let rate = |time: Duration| bytes.len() as f64 / time.as_secs_f64() / 1e6;
        writeln!(
            out,
            "{what:18} {:6.0} MB/s, csv {:6.0} MB/s: {:.2} times as fast",
            rate(ours),
            rate(theirs),
            theirs.as_secs_f64() / ours.as_secs_f64(),
        )?;
    }
    Ok(())
}

fn filled(line: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = String::new();
    for n in 0.. {
        if text.len() >= BYTES {
            break;
        }
        writeln!(text, "{}", line(n)).expect("a string");
    }
    text.into_bytes()
}

fn words(n: usize, count: usize) -> String {
    const WORDS: [&str; 7] = ["north", "a", "harbour", "of", "lights", "Å", "everywhere"];
    let words = (0..count).map(|i| WORDS[(n * 5 + i * 3) % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ")
}

/// Rows and bytes of fields.
fn tokens(bytes: &[u8]) -> usize {
    let mut tokens = Tokenizer::new(bytes, Syntax::CSV, Quotes::Strict, 1 << 24);
    let mut total = 0;
    while let Some(record) = tokens.read().expect("valid") {
        total += 1 + black_box(&record).fields().map(<[u8]>::len).sum::<usize>();
    }
    total
}

fn csv(bytes: &[u8]) -> usize {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (mut record, mut total) = (csv::ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record).expect("valid") {
        total += 1 + black_box(&record).iter().map(<[u8]>::len).sum::<usize>();
    }
    total
}
