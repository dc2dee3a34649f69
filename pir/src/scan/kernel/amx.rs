//! AMX int8: 16 rows times 64 buckets times 16 columns an instruction.
//!
//! `tdpbsud` multiplies a tile of signed bytes (16 rows of the table, 64 buckets) with a tile of
//! unsigned ones (the same buckets, 16 columns) and adds to 32-bit sums, wrapping. A query takes four
//! columns, the bytes of its words: b = Σ_l 2^(8l)·b_l, so Σ D·b ≡ Σ_l 2^(8l)·(Σ D·b_l) modulo 2^32.
//!
//! Two tiles of rows and two of queries make four of sums: eight queries an [`Octet`]; spare columns
//! are zero. Tiles are loaded from the rows as they lie, 1024 bytes apart. A band passes once for
//! each octet, whose 32 KiB stay in the first-level cache. In the first pass the next 32 rows are
//! brought into the second-level cache, line after line in the order of memory: the loads' own order,
//! a line from each of 16 rows, is one that the processor's prefetching does not follow.
#![expect(unsafe_code, reason = "tile instructions behind a run-time check")]

use std::arch::asm;

use super::lines::{LINE, Line, ahead, limb};
use super::{ROW_UNIT, RowScan, detect};
use crate::params::PARTITION_BUCKETS;

/// Rows of a tile, and its columns of words.
const SIDE: usize = 16;
/// Bytes of a word.
const LIMBS: usize = 4;
/// Queries of a tile.
const TILE_QUERIES: usize = SIDE / LIMBS;
/// Tiles of queries that are multiplied together.
const TILES: usize = 2;
/// Queries of an octet.
const OCTET: usize = TILES * TILE_QUERIES;
/// Tiles of buckets in a partition's row.
const STEPS: usize = PARTITION_BUCKETS / LINE;
/// Eight queries' words for one partition. Tile line k, byte 4m + j is byte m mod 4 of the word of
/// query m / 4 for bucket 4k + j.
type Octet = [[[Line<[u8; LINE]>; SIDE]; TILES]; STEPS];
/// Two tiles' rows of one partition.
type Rows = [u8; ROW_UNIT * PARTITION_BUCKETS];
/// One tile of sums: \[row\]\[query\]\[byte\].
type Tile = [Line<[[u32; LIMBS]; TILE_QUERIES]>; SIDE];
/// Sums of two tiles' rows times an octet.
type Sums = [[Tile; TILES]; ROW_UNIT / SIDE];

const ZERO_SUMS: Sums = [[[Line([[0; LIMBS]; TILE_QUERIES]); SIDE]; TILES]; ROW_UNIT / SIDE];

/// What `ldtilecfg` loads (Intel SDM, volume 1, "Tile configuration").
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of 16 rows of 64 bytes; palette 1 has no more.
static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

const _: () = assert!(size_of::<Config>() == LINE);

/// Queries as tiles, all octets of a partition together. To have one is to know that this machine
/// runs the kernel.
pub(super) struct Queries {
    octets: Vec<Octet>,
    partitions: usize,
    count: usize,
}

impl Queries {
    /// `None` where this machine lacks the instructions or withholds the registers.
    pub(super) fn new(queries: &[&[u32]]) -> Option<Self> {
        if !detect::amx() {
            return None;
        }
        let partitions = queries.first().map_or(0, |query| query.len() / PARTITION_BUCKETS);
        let mut octets = Vec::with_capacity(partitions * queries.len().div_ceil(OCTET));
        for partition in 0..partitions {
            for queries in queries.chunks(OCTET) {
                octets.push([[[Line([0; LINE]); SIDE]; TILES]; STEPS]);
                let Some(octet) = octets.last_mut() else { continue };
                for (query, words) in queries.iter().enumerate() {
                    let words = words.get(partition * PARTITION_BUCKETS..).unwrap_or_default();
                    fill(octet, query, words);
                }
            }
        }
        Some(Self { octets, partitions, count: queries.len() })
    }

    fn octets_per_partition(&self) -> usize {
        self.count.div_ceil(OCTET)
    }
}

/// Puts the words of an octet's query in their columns.
#[expect(clippy::indexing_slicing, reason = "indices are remainders of the array lengths")]
fn fill(octet: &mut Octet, query: usize, words: &[u32]) {
    for (step, words) in octet.iter_mut().zip(words.chunks(LINE)) {
        let tile = &mut step[query / TILE_QUERIES % TILES];
        for (line, words) in tile.iter_mut().zip(words.chunks(4)) {
            for (j, word) in words.iter().enumerate() {
                for index in 0..LIMBS {
                    let column = query % TILE_QUERIES * LIMBS + index;
                    line.0[(4 * column + j) % LINE] = limb(*word, index);
                }
            }
        }
    }
}

impl RowScan for Queries {
    fn task_rows(&self) -> usize {
        if self.count <= 4 { 256 } else { 512 }
    }

    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]) {
        let blocks = sums.len() / (ROW_UNIT * self.count.max(1));
        let octets = self.octets_per_partition();
        let mut tiles = vec![ZERO_SUMS; octets * blocks];
        for (partition, band) in bands.iter().take(self.partitions).enumerate() {
            let (rows, _) = band.as_chunks::<{ size_of::<Rows>() }>();
            let of_partition = self.octets.chunks_exact(octets).nth(partition).unwrap_or_default();
            let parts = of_partition.iter().zip(tiles.chunks_exact_mut(blocks.max(1)));
            for (first, (octet, tiles)) in parts.enumerate() {
                if first > 0 {
                    // SAFETY: `self` exists, so `Queries::new` has found AMX int8 tiles granted.
                    unsafe { multiply::<0>(rows, octet, tiles, band.as_ptr()) };
                    continue;
                }
                // The last rows ask for the first ones of the next band.
                let last = rows.len().saturating_sub(1);
                let (rows, last_rows) = rows.split_at(last);
                let (tiles, last_tiles) = tiles.split_at_mut(last.min(tiles.len()));
                let within = ahead(bands, partition, size_of::<Rows>());
                let beyond = ahead(bands, partition, band.len());
                // SAFETY: as above.
                unsafe {
                    multiply::<ROW_UNIT>(rows, octet, tiles, within);
                    multiply::<ROW_UNIT>(last_rows, octet, last_tiles, beyond);
                }
            }
        }
        for (octet, tiles) in tiles.chunks_exact(blocks.max(1)).enumerate() {
            let rows = tiles.iter().flatten().flat_map(|[left, right]| left.iter().zip(right));
            for ((Line(left), Line(right)), sums) in rows.zip(sums.chunks_mut(self.count)) {
                let queries = left.iter().chain(right);
                for (sum, limbs) in sums.iter_mut().skip(octet * OCTET).zip(queries) {
                    let total = limbs.iter().rev();
                    let total = total.fold(0, |total: u32, limb| (total << 8).wrapping_add(*limb));
                    *sum = sum.wrapping_add(total);
                }
            }
        }
    }
}

/// Adds rows times an octet to their sums, and asks for `LINES` lines from `next` on a step: 32 keep
/// pace with the rows.
///
/// # Safety
/// The processor must have AMX int8 tiles, and the process the right to use them.
unsafe fn multiply<const LINES: usize>(
    rows: &[Rows],
    octet: &Octet,
    sums: &mut [Sums],
    next: *const u8,
) {
    let blocks = rows.len().min(sums.len());
    if blocks == 0 {
        return;
    }
    // SAFETY: the caller has the tiles; the block configures them first, releases them last and
    // declares them changed. In each of `blocks` rounds, of which both slices have as many, it
    // reads one `Rows` (16 steps of 64 bytes from 16 rows 1024 apart, twice), the whole octet (16
    // steps of two tiles) and one `Sums` (four tiles), and writes that `Sums`, any of whose values
    // is valid. Prefetches fault nowhere.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "2:",
            "tileloadd tmm0, [{sums} + {line}*1]",
            "tileloadd tmm1, [{sums} + {line}*1 + 1024]",
            "tileloadd tmm2, [{sums} + {line}*1 + 2048]",
            "tileloadd tmm3, [{sums} + {line}*1 + 3072]",
            "mov {step:e}, {steps}",
            "3:",
            "tileloadd tmm4, [{rows} + {row}*1]",
            "tileloadd tmm5, [{octet} + {line}*1]",
            "tdpbsud tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{octet} + {line}*1 + 1024]",
            "tdpbsud tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{rows} + {row}*1 + 16384]",
            "tdpbsud tmm2, tmm7, tmm5",
            "tdpbsud tmm3, tmm7, tmm6",
            ".rept {eights}",
            // The processor's own prefetching stops at pages of 4 KiB: this starts it on the next.
            "prefetcht2 [{next} + 4096]",
            "prefetcht1 [{next}]",
            "prefetcht1 [{next} + 64]",
            "prefetcht1 [{next} + 128]",
            "prefetcht1 [{next} + 192]",
            "prefetcht1 [{next} + 256]",
            "prefetcht1 [{next} + 320]",
            "prefetcht1 [{next} + 384]",
            "prefetcht1 [{next} + 448]",
            "add {next}, 512",
            ".endr",
            "add {rows}, 64",
            "add {octet}, 2048",
            "dec {step:e}",
            "jnz 3b",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilestored [{sums} + {line}*1 + 1024], tmm1",
            "tilestored [{sums} + {line}*1 + 2048], tmm2",
            "tilestored [{sums} + {line}*1 + 3072], tmm3",
            // The steps have moved along the first of 32 rows, and past the octet.
            "add {rows}, 31744",
            "sub {octet}, 32768",
            "add {sums}, 4096",
            "dec {blocks}",
            "jnz 2b",
            "tilerelease",
            config = in(reg) &raw const CONFIG,
            line = in(reg) LINE,
            row = in(reg) PARTITION_BUCKETS,
            steps = const STEPS,
            eights = const LINES / 8,
            step = out(reg) _,
            rows = inout(reg) rows.as_ptr() => _,
            octet = inout(reg) octet.as_ptr() => _,
            sums = inout(reg) sums.as_mut_ptr() => _,
            next = inout(reg) next => _,
            blocks = inout(reg) blocks => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
