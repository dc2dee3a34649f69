//! Emulates tile instructions on processors without them, so that the kernel's own machine code is
//! tested everywhere.
//!
//! A processor without the instructions raises "illegal instruction" (SIGILL). The handler performs
//! the instruction on the thread's tiles in plain code, and continues after it. Forms and meaning:
//! Intel SDM, volume 2, "LDTILECFG", "TILERELEASE", "TILELOADD", "TILESTORED", "TDPBSUD".
//!
//! **Limits.** This is for tests, and supports only the instructions above. Tiles as configured
//! must match the operands, which a processor checks and this code does not. Any other instruction
//! ends the process, as it would without the handler.
#![expect(unsafe_code, reason = "a signal handler that reads and writes as a processor would")]
#![expect(
    clippy::indexing_slicing,
    reason = "numbers of registers and tiles have as many bits as there are"
)]
#![expect(clippy::cast_possible_truncation, reason = "registers have the width of addresses")]

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr;
use std::sync::OnceLock;

use libc::{SA_NODEFER, SA_SIGINFO, SIG_DFL, SIGILL, greg_t, siginfo_t, ucontext_t};

/// Rows of a tile, and bytes of its rows.
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// The contents of a thread's tile registers.
struct Tiles {
    /// Bytes per row and number of rows for each tile; no rows without a configuration.
    shapes: [(usize, usize); 8],
    data: [[[u8; ROW_BYTES]; ROWS]; 8],
}

thread_local! {
    // It needs neither initialisation nor destruction, so a signal handler may use it.
    static TILES: RefCell<Tiles> =
        const { RefCell::new(Tiles { shapes: [(0, 0); 8], data: [[[0; ROW_BYTES]; ROWS]; 8] }) };
}

static INSTALLED: OnceLock<()> = OnceLock::new();

/// Emulates tiles in this process from now on.
pub(crate) fn install() {
    INSTALLED.get_or_init(|| {
        // SAFETY: the action is zeroed except for the fields set here, which makes it valid; the
        // handler only uses its thread's tiles and memory that the interrupted instruction refers
        // to.
        let done = unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = SA_SIGINFO | SA_NODEFER;
            libc::sigaction(SIGILL, &raw const action, ptr::null_mut())
        };
        assert_eq!(done, 0, "no handler for SIGILL");
    });
}

/// Whether tiles are emulated.
pub(crate) fn installed() -> bool {
    INSTALLED.get().is_some()
}

extern "C" fn handler(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the interrupted thread's context, which is this handler's until it
    // returns.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let done = TILES.with(|tiles| {
        let mut tiles = tiles.try_borrow_mut().ok()?;
        // SAFETY: the instruction pointer is at an instruction, of which at most 15 bytes are read.
        unsafe { step(&mut tiles, registers) }
    });
    if done.is_none() {
        // Another illegal instruction: run it again without this handler, as if the handler did not
        // exist. SAFETY: restores the default action.
        unsafe { libc::signal(SIGILL, SIG_DFL) };
    }
}

/// An operand in memory: its first byte, and the distance of rows.
#[derive(Clone, Copy)]
struct Memory {
    start: usize,
    stride: usize,
}

/// Performs one instruction and moves past it. Returns `None` if the instruction is not supported.
///
/// # Safety
/// The instruction's operands in memory must be what the code before it claims.
unsafe fn step(tiles: &mut Tiles, registers: &mut [greg_t; 23]) -> Option<()> {
    let start = usize::try_from(registers[libc::REG_RIP as usize]).ok()?;
    // SAFETY: an instruction is interrupted here. The longest known one has ten bytes; the test's
    // code does not end a page after it.
    let code: [u8; 10] = unsafe { ptr::read_unaligned(start as *const [u8; 10]) };
    let [0xc4, first, second, opcode, modrm, ..] = code else { return None };
    if first & 0x1f != 2 || second & 0x84 != 0 {
        return None;
    }
    let (prefix, third) = (second & 3, usize::from(!second >> 3 & 7));
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    let length = match (opcode, prefix, mode) {
        (0x49, 0, 3) if modrm == 0xc0 => {
            tiles.shapes = [(0, 0); 8];
            5
        }
        (0x5e, 2, 3) => {
            tiles.multiply(reg, rm, third);
            5
        }
        (0x49, 0, _) => {
            let (memory, length) = memory(registers, first, &code)?;
            // SAFETY: the operand is a configuration of 64 bytes.
            tiles.configure(&unsafe { ptr::read_unaligned(memory.start as *const [u8; 64]) });
            length
        }
        (0x4b, 3, _) if rm == 4 => {
            let (memory, length) = memory(registers, first, &code)?;
            for (row, bytes) in tiles.rows(reg).enumerate() {
                let from = (memory.start + row * memory.stride) as *const u8;
                // SAFETY: the operand has as many rows of as many bytes as the tile, readable.
                unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
            }
            length
        }
        (0x4b, 2, _) if rm == 4 => {
            let (memory, length) = memory(registers, first, &code)?;
            for (row, bytes) in tiles.rows(reg).enumerate() {
                let to = (memory.start + row * memory.stride) as *mut u8;
                // SAFETY: the operand has as many rows of as many bytes as the tile, writable.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
            }
            length
        }
        _ => return None,
    };
    registers[libc::REG_RIP as usize] += length;
    Some(())
}

/// The memory operand of an instruction with three prefix bytes and an opcode, and the length of
/// the instruction.
fn memory(registers: &[greg_t; 23], first: u8, code: &[u8; 10]) -> Option<(Memory, greg_t)> {
    /// Numbers of registers, in the order of their encoding.
    const ORDER: [c_int; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    let register = |number: u8| registers[ORDER[usize::from(number)] as usize] as usize;
    // The prefix holds the fourth bits of index and base inverted.
    let (high_index, high_base) = (!first >> 6 & 1, !first >> 5 & 1);
    let (mode, rm) = (code[4] >> 6, code[4] & 7);
    let (base, stride, at) = if rm == 4 {
        let (scale, index, base) = (code[5] >> 6, code[5] >> 3 & 7, code[5] & 7);
        let index = high_index << 3 | index;
        // The stack pointer as index means no index.
        let stride = if index == 4 { 0 } else { register(index) << scale };
        (high_base << 3 | base, stride, 6)
    } else {
        (high_base << 3 | rm, 0, 5)
    };
    if mode == 0 && base & 7 == 5 {
        return None;
    }
    let (displacement, length) = match mode {
        0 => (0, at),
        1 => (isize::from(code[at].cast_signed()), at + 1),
        _ => {
            let bytes = code.get(at..at + 4)?.try_into().ok()?;
            (i32::from_le_bytes(bytes) as isize, at + 4)
        }
    };
    let start = register(base).wrapping_add_signed(displacement);
    Some((Memory { start, stride }, length as greg_t))
}

impl Tiles {
    fn configure(&mut self, config: &[u8; 64]) {
        for (tile, shape) in self.shapes.iter_mut().enumerate() {
            let bytes = u16::from_le_bytes([config[16 + 2 * tile], config[17 + 2 * tile]]);
            *shape = (usize::from(bytes), usize::from(config[48 + tile]));
        }
        self.data = [[[0; ROW_BYTES]; ROWS]; 8];
    }

    fn rows(&mut self, tile: usize) -> impl Iterator<Item = &mut [u8]> {
        let (bytes, rows) = self.shapes[tile];
        self.data[tile].iter_mut().take(rows).map(move |row| &mut row[..bytes])
    }

    /// Multiplies signed bytes of `a` by unsigned bytes of `b`, four at a time.
    fn multiply(&mut self, to: usize, a: usize, b: usize) {
        let (bytes, rows) = self.shapes[to];
        for row in 0..rows {
            for column in 0..bytes / 4 {
                let place = 4 * column..4 * column + 4;
                let old = self.data[to][row][place.clone()].try_into().unwrap_or_default();
                let mut sum = i32::from_le_bytes(old);
                for k in 0..self.shapes[a].0 {
                    let x = i32::from(self.data[a][row][k].cast_signed());
                    let y = i32::from(self.data[b][k / 4][4 * column + k % 4]);
                    sum = sum.wrapping_add(x * y);
                }
                self.data[to][row][place].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
}
