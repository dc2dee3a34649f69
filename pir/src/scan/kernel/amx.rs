//! AMX int8: 16 rows times 64 buckets times 16 columns per instruction.
//!
//! `tdpbsud` multiplies a tile of signed bytes (16 rows of the table, 64 buckets) by a tile of
//! unsigned bytes (the same buckets, 16 columns) and adds to 32-bit sums, wrapping. A query takes
//! four columns, the bytes of its words: b = Σ_l 2^(8l)·b_l, so Σ D·b ≡ Σ_l 2^(8l)·(Σ D·b_l) modulo
//! 2^32.
//!
//! Two tiles of rows and two of queries give four tiles of sums. The eight queries are an
//! [`Octet`]; unused columns are zero. Tiles are loaded directly from the rows, which are 1024
//! bytes apart. The processor's own prefetching does not follow this order of lines, so the kernel
//! itself prefetches the next 32 rows to the second-level cache, line after line in memory order.
//! Memory must never wait for arithmetic:
//!
//! - One octet leaves the tiles idle most of the time. Its sums stay in the tiles over [`SPAN`]
//!   partitions, because each change of sums stalls.
//! - Several octets take turns on the same 32 rows, and each prefetches its share of the next ones.
//!   If one octet after the other processed a whole band, the first would wait only for memory, and
//!   the others would leave memory idle.
#![expect(unsafe_code, reason = "tile instructions behind a run-time check")]

use std::arch::asm;
use std::array;
use std::mem::offset_of;

use super::lines::{LINE, Line, zeroed};
use super::{ROW_UNIT, RowScan, blocks};
use crate::machine::detect;
use crate::params::PARTITION_BUCKETS;

#[cfg(all(test, target_os = "linux"))]
pub(super) mod emulation;

/// Whether processor and system support tiles, or a test emulates them.
fn tiles_work() -> bool {
    #[cfg(all(test, target_os = "linux"))]
    if emulation::installed() {
        return true;
    }
    detect::amx()
}

/// Rows of a tile, and its columns of words.
const SIDE: usize = 16;
/// Bytes of a word.
const LIMBS: usize = 4;
/// Queries of a tile.
const TILE_QUERIES: usize = SIDE / LIMBS;
/// Number of query tiles that are multiplied together.
const TILES: usize = 2;
/// Queries of an octet.
const OCTET: usize = TILES * TILE_QUERIES;
/// Partitions over which one octet's sums stay in the tiles.
const SPAN: usize = 4;
/// Tiles of buckets in a partition's row.
const STEPS: usize = PARTITION_BUCKETS / LINE;
/// Eight queries' words for one partition. Tile line k, byte 4m + j is byte m mod 4 of the word of
/// query m / 4 for bucket 4k + j.
type Octet = [[[Line<[u8; LINE]>; SIDE]; TILES]; STEPS];
/// The rows of two tiles in one partition.
type Rows = [u8; ROW_UNIT * PARTITION_BUCKETS];
/// One tile of sums: \[row\]\[query\]\[byte\].
type Tile = [Line<[[u32; LIMBS]; TILE_QUERIES]>; SIDE];
/// Sums of two tiles' rows times an octet.
type Sums = [[Tile; TILES]; ROW_UNIT / SIDE];

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

/// Queries as tiles; all octets of a partition are contiguous. A value proves that this machine
/// supports the kernel.
pub(super) struct Queries {
    octets: Vec<Octet>,
    partitions: usize,
    count: usize,
}

impl Queries {
    /// `None` if this machine lacks the instructions or withholds the registers.
    pub(super) fn new(queries: &[&[u32]]) -> Option<Self> {
        let partitions = queries.first().map_or(0, |query| query.len() / PARTITION_BUCKETS);
        tiles_work().then(|| Self {
            octets: blocks(queries, OCTET, octet),
            partitions,
            count: queries.len(),
        })
    }

    fn octets_per_partition(&self) -> usize {
        self.count.div_ceil(OCTET)
    }
}

/// Up to eight queries as tiles.
fn octet(queries: &[&[u32]]) -> Octet {
    let mut octet = [[[Line([0; LINE]); SIDE]; TILES]; STEPS];
    for (query, words) in queries.iter().enumerate() {
        fill(&mut octet, query, words);
    }
    octet
}

/// Writes the words of an octet's query to their columns. Each line of a tile takes four words of a
/// query: first the lowest byte of each, then the next byte of each, and so on.
#[expect(clippy::indexing_slicing, reason = "indices are remainders of the array lengths")]
fn fill(octet: &mut Octet, query: usize, words: &[u32]) {
    for (step, words) in octet.iter_mut().zip(words.as_chunks().0.as_chunks::<SIDE>().0) {
        let tile = &mut step[query / TILE_QUERIES % TILES];
        for (line, words) in tile.iter_mut().zip(words) {
            let bytes: [[u8; LIMBS]; 4] = words.map(u32::to_le_bytes);
            let columns = array::from_fn(|place| bytes[place % 4][place / 4]);
            line.0.as_chunks_mut::<{ 4 * LIMBS }>().0[query % TILE_QUERIES] = columns;
        }
    }
}

impl RowScan for Queries {
    fn task_rows(&self) -> usize {
        if self.count <= 4 { 256 } else { 512 }
    }

    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]) {
        let octets = self.octets_per_partition().max(1);
        let blocks = sums.len() / (ROW_UNIT * self.count.max(1));
        // SAFETY: sums are numbers.
        let mut tiles: Box<[Sums]> = unsafe { zeroed(blocks * octets) };
        let bands: Vec<&[Rows]> = bands.iter().map(|band| band.as_chunks().0).collect();
        let partitions = self.partitions.min(bands.len());
        let span = if octets == 1 { SPAN } else { 1 };
        // Number of octets that prefetch: a power of two, so that their shares are whole lines.
        let shares = 1 << octets.ilog2();
        // SAFETY: `self` exists, so `Queries::new` has found AMX int8 tiles granted.
        let _configured = unsafe { Tiles::configure() };
        let mut parts = Vec::with_capacity(span);
        for first in (0..partitions).step_by(span) {
            let group = first..partitions.min(first + span);
            for (block, tiles) in tiles.chunks_exact_mut(octets).enumerate() {
                for (octet, sums) in tiles.iter_mut().enumerate() {
                    parts.clear();
                    parts.extend(group.clone().filter_map(|partition| {
                        let rows = bands.get(partition)?.get(block)?;
                        let following = match partition + 1 {
                            next if next < group.end => bands.get(next)?.get(block),
                            next if block + 1 == blocks => bands.get(next).and_then(|b| b.first()),
                            _ => bands.get(first)?.get(block + 1),
                        };
                        // After the last rows, the same rows are used again, which prefetches
                        // nothing new.
                        let next = following.unwrap_or(rows).as_ptr();
                        let next = next.wrapping_add(octet % shares * (size_of::<Rows>() / shares));
                        let octet = self.octets.get(partition * octets + octet)?;
                        Some(Part { rows, octet, next })
                    }));
                    let asks = if octet < shares { shares } else { 0 };
                    // SAFETY: the tiles are configured.
                    unsafe {
                        match asks {
                            0 => multiply::<0>(&parts, sums),
                            1 => multiply::<32>(&parts, sums),
                            2 => multiply::<16>(&parts, sums),
                            4 => multiply::<8>(&parts, sums),
                            _ => multiply::<4>(&parts, sums),
                        }
                    }
                }
            }
        }
        for (tiles, sums) in tiles.chunks_exact(octets).zip(sums.chunks_mut(ROW_UNIT * self.count))
        {
            for (octet, tiles) in tiles.iter().enumerate() {
                let rows = tiles.iter().flat_map(|[left, right]| left.iter().zip(right));
                for ((Line(left), Line(right)), sums) in rows.zip(sums.chunks_mut(self.count)) {
                    let queries = left.iter().chain(right);
                    for (sum, limbs) in sums.iter_mut().skip(octet * OCTET).zip(queries) {
                        let total = limbs.iter().rev();
                        let total =
                            total.fold(0, |total: u32, limb| (total << 8).wrapping_add(*limb));
                        *sum = sum.wrapping_add(total);
                    }
                }
            }
        }
    }
}

/// The configured tiles of this thread. They are released on drop, so that the system need not save
/// them.
struct Tiles;

impl Tiles {
    /// # Safety
    /// The processor must have AMX int8 tiles, and the process must be permitted to use them.
    unsafe fn configure() -> Self {
        // SAFETY: the caller has the tiles; the block reads `CONFIG` and zeroes all of them. No
        // other code of this process uses tiles, so the configuration remains until `drop`.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                config = in(reg) &raw const CONFIG,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        Self
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: `self` exists, so this thread has configured tiles.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}

/// One partition's rows of a block, the queries to multiply them by, and the address to prefetch.
#[repr(C)]
struct Part<'a> {
    rows: &'a Rows,
    octet: &'a Octet,
    next: *const u8,
}

/// Adds each part's rows times its octet to their sums, and prefetches `LINES` lines, a multiple of
/// four, from its `next` per step: 32 keep pace with the rows.
///
/// # Safety
/// The tiles must be configured ([`Tiles`]).
unsafe fn multiply<const LINES: usize>(parts: &[Part<'_>], sums: &mut Sums) {
    const { assert!(LINES.is_multiple_of(4)) };
    if parts.is_empty() {
        return;
    }
    // SAFETY: the tiles are configured; the block declares them changed. In each of `count` rounds,
    // of which `parts` has as many, it reads one `Part` and what it refers to: its `Rows` (16 steps
    // of 64 bytes from 16 rows 1024 apart, twice) and its octet (16 steps of two tiles). Before
    // them it reads `Sums` (four tiles), and writes it after them; any value of it is valid.
    // Prefetches fault nowhere.
    unsafe {
        asm!(
            "tileloadd tmm0, [{sums} + {line}*1]",
            "tileloadd tmm1, [{sums} + {line}*1 + 1024]",
            "tileloadd tmm2, [{sums} + {line}*1 + 2048]",
            "tileloadd tmm3, [{sums} + {line}*1 + 3072]",
            "2:",
            "mov {rows}, [{parts} + {rows_at}]",
            "mov {octet}, [{parts} + {octet_at}]",
            "mov {next}, [{parts} + {next_at}]",
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
            ".rept {fours}",
            "prefetcht1 [{next}]",
            "prefetcht1 [{next} + 64]",
            "prefetcht1 [{next} + 128]",
            "prefetcht1 [{next} + 192]",
            "add {next}, 256",
            ".endr",
            "add {rows}, 64",
            "add {octet}, 2048",
            "dec {step:e}",
            "jnz 3b",
            "add {parts}, {part}",
            "dec {count}",
            "jnz 2b",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilestored [{sums} + {line}*1 + 1024], tmm1",
            "tilestored [{sums} + {line}*1 + 2048], tmm2",
            "tilestored [{sums} + {line}*1 + 3072], tmm3",
            line = in(reg) LINE,
            row = in(reg) PARTITION_BUCKETS,
            sums = in(reg) sums.as_mut_ptr(),
            steps = const STEPS,
            fours = const LINES / 4,
            part = const size_of::<Part<'_>>(),
            rows_at = const offset_of!(Part<'_>, rows),
            octet_at = const offset_of!(Part<'_>, octet),
            next_at = const offset_of!(Part<'_>, next),
            parts = inout(reg) parts.as_ptr() => _,
            count = inout(reg) parts.len() => _,
            step = out(reg) _,
            rows = out(reg) _,
            octet = out(reg) _,
            next = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
