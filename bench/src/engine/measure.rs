//! Rounds of one batch size on one number of shards.

use std::time::Duration;

use opaque_client::lookup::Request;
use opaque_pir::{
    codec::{self, Kind},
    inline,
    machine::Kernels,
};
use rand::rngs::StdRng;
use rayon::ThreadPool;

use super::{
    Subject,
    lookup::{self, Intent},
    shards::{Clock, Lap, ServerLaps, Shards},
};
use crate::{
    error::BenchError,
    host::{self, Scratch},
    plan::Plan,
    report::Measurement,
    samples::{Samples, millis},
};

/// State that all rounds share.
pub(crate) struct Bench<'a> {
    subject: &'a Subject,
    pool: &'a ThreadPool,
    kernels: Kernels,
    threads: usize,
    repeat: usize,
    scratch: Scratch,
}

/// Measurements of one round.
struct Round {
    read: Lap,
    tables_read: Lap,
    client: Duration,
    server: ServerLaps,
    bytes_up: u64,
    bytes_down: u64,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(subject: &'a Subject, pool: &'a ThreadPool, plan: &Plan) -> Self {
        let Plan { kernels, threads, repeat, .. } = *plan;
        Self { subject, pool, kernels, threads: threads.into(), repeat, scratch: Scratch::new() }
    }

    /// Repeats a batch and takes medians. The first round, which brings memory and code into
    /// caches, is not counted.
    pub(crate) fn measure(
        &self,
        shards: u32,
        batch: usize,
        rng: &mut StdRng,
        on_round: &mut dyn FnMut(),
    ) -> Result<Measurement, BenchError> {
        let servers = Shards::new(self.subject, shards);
        self.round(&servers, batch, rng)?;
        let mut rounds = Vec::with_capacity(self.repeat);
        for _ in 0..self.repeat {
            rounds.push(self.round(&servers, batch, rng)?);
            on_round();
        }
        let samples =
            |value: &dyn Fn(&Round) -> f64| Samples::new(rounds.iter().map(value).collect());
        let times =
            |value: &dyn Fn(&Round) -> Duration| samples(&|round: &Round| millis(value(round)));
        // Processor time of one thread is not lengthened by other processes. With several threads
        // it would include threads that wait.
        let fair: Clock = if self.threads == 1 { |lap| lap.processor } else { |lap| lap.clock };
        let ratio = |above: &dyn Fn(&Round) -> Duration, below: &dyn Fn(&Round) -> Duration| {
            samples(&|round: &Round| above(round).as_secs_f64() / below(round).as_secs_f64())
                .median()
        };
        let [scan, hint, server, client] = [
            times(&|round| round.server.scan(|lap| lap.clock)),
            times(&|round| round.server.hint(|lap| lap.clock)),
            times(&|round| round.server.server(|lap| lap.clock)),
            times(&|round| round.client),
        ];
        let geometry = &self.subject.geometry;
        let bytes = geometry.matrix_bytes() as f64;
        let bandwidth = samples(&|round| bytes / 1e9 / fair(&round.read).as_secs_f64());
        Ok(Measurement {
            size_bytes: geometry.matrix_bytes(),
            rows: geometry.bucket_bytes(),
            buckets: geometry.buckets(),
            batch,
            shards,
            threads: self.threads,
            kernel: self.kernels.scan.name(),
            hint_kernel: self.kernels.inline.name(),
            keys: "inline",
            parameters: inline::NAME,
            repeat: self.repeat,
            scan_ms: scan.median(),
            scan_spread_ms: scan.spread(),
            hint_ms: hint.median(),
            hint_spread_ms: hint.spread(),
            server_ms: server.median(),
            server_spread_ms: server.spread(),
            client_ms: client.median(),
            client_spread_ms: client.spread(),
            cpu_ms_per_query: times(&|round| round.server.processor()).median() / batch as f64,
            bytes_up: rounds.first().map_or(0, |round| round.bytes_up),
            bytes_down: rounds.first().map_or(0, |round| round.bytes_down),
            rss_bytes: host::resident_bytes().saturating_sub(self.scratch.bytes()),
            read_bandwidth_gb_s: bandwidth.median(),
            scan_to_read: ratio(&|round| round.server.all_scans(fair), &|round| fair(&round.read)),
            hint_to_read: ratio(&|round| round.server.all_hints(fair), &|round| {
                fair(&round.tables_read)
            }),
            server_to_scan: ratio(&|round| round.server.server(fair), &|round| {
                round.server.scan(fair)
            }),
            query_to_single: None,
            cpu_to_fewest_shards: None,
            large_pages: self.subject.large_pages(),
            machine: host::machine(),
            load_average: host::load_average(),
        })
    }

    /// Reads plainly, then performs one batch from end to end and checks it.
    fn round(
        &self,
        servers: &Shards<'_>,
        batch: usize,
        rng: &mut StdRng,
    ) -> Result<Round, BenchError> {
        let Self { subject, pool, kernels, scratch, .. } = self;
        let read = self.read(&subject.matrix());
        let tables_read = self.read(&subject.tables());
        let intent = Intent::draw(subject, batch, rng);
        let (request, encrypting) = Lap::of(pool, || intent.encrypt(subject));
        let Request { bytes: query, secrets } = request?;
        let (answer, server) = servers.answer(pool, *kernels, scratch, &query)?;
        let (opened, opening) = Lap::of(pool, || lookup::open(subject, secrets, &answer));
        for (bucket, bytes) in opened? {
            lookup::check(subject, bucket, &bytes)?;
        }
        let headers = [codec::query_bytes, codec::answer_bytes];
        let headers = headers.map(|bytes| bytes(&subject.geometry, Kind::Inline, 0));
        Ok(Round {
            read,
            tables_read,
            client: encrypting.clock + opening.clock,
            server,
            bytes_up: (query.len() - headers[0]) as u64,
            bytes_down: (answer.len() - headers[1]) as u64,
        })
    }

    /// A plain read with cold caches.
    fn read(&self, parts: &[&[u8]]) -> Lap {
        self.pool.install(|| self.scratch.evict());
        Lap::of(self.pool, || host::read(parts)).1
    }
}
