//! The machine code of a stopped process as blocks, each up to the next jump, with breakpoints at
//! their ends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;

use iced_x86::{Code as Opcode, ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction};

use super::tracer::Result;

/// The instruction of a breakpoint.
const INT3: u8 = 0xcc;
/// More than the longest block has.
const BLOCK_BYTES: usize = 1 << 16;

/// A run of instructions, of which only the last may jump.
pub(crate) struct Block {
    /// Number of instructions.
    pub(crate) instructions: usize,
    /// Addresses of its divisions.
    pub(crate) divisions: Vec<u64>,
    /// The last instruction.
    pub(crate) end: Instruction,
}

impl Block {
    fn decode(bytes: &[u8], start: u64) -> Option<Self> {
        let (mut instructions, mut divisions) = (0, Vec::new());
        let decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
        for instruction in decoder {
            instructions += 1;
            if instruction.is_invalid() {
                return None;
            }
            if divides(&instruction) {
                divisions.push(instruction.ip());
            }
            if ends_block(&instruction) {
                return Some(Self { instructions, divisions, end: instruction });
            }
        }
        None
    }
}

/// Whether the instruction is DIV, IDIV or a division of floating-point numbers, whose mnemonics
/// all contain "div".
fn divides(instruction: &Instruction) -> bool {
    format!("{:?}", instruction.mnemonic()).to_lowercase().contains("div")
}

/// Whether the instruction jumps, repeats itself or is CPUID, which the tracer changes.
fn ends_block(instruction: &Instruction) -> bool {
    match instruction.code() {
        Opcode::Syscall => false,
        Opcode::Cpuid => true,
        _ => instruction.flow_control() != FlowControl::Next || repeats(instruction),
    }
}

/// Whether the instruction repeats as often as RCX specifies.
pub(crate) fn repeats(instruction: &Instruction) -> bool {
    let prefixed = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    prefixed && instruction.is_string_instruction()
}

/// Whether a conditional jump is taken, from the flags; `None` for jumps that depend on RCX.
pub(crate) fn is_taken(jump: &Instruction, flags: u64) -> Option<bool> {
    let [carry, parity, zero, sign, overflow] = [0, 2, 6, 7, 11].map(|bit| flags >> bit & 1 == 1);
    Some(match jump.condition_code() {
        ConditionCode::None => return None,
        ConditionCode::o => overflow,
        ConditionCode::no => !overflow,
        ConditionCode::b => carry,
        ConditionCode::ae => !carry,
        ConditionCode::e => zero,
        ConditionCode::ne => !zero,
        ConditionCode::be => carry || zero,
        ConditionCode::a => !carry && !zero,
        ConditionCode::s => sign,
        ConditionCode::ns => !sign,
        ConditionCode::p => parity,
        ConditionCode::np => !parity,
        ConditionCode::l => sign != overflow,
        ConditionCode::ge => sign == overflow,
        ConditionCode::le => zero || sign != overflow,
        ConditionCode::g => !zero && sign == overflow,
    })
}

/// The blocks that a process has entered, and its breakpoints.
pub(crate) struct Code {
    memory: File,
    blocks: BTreeMap<u64, Block>,
    /// Addresses of breakpoints, and the bytes that they replace.
    breakpoints: BTreeMap<u64, u8>,
}

impl Code {
    /// `memory` is the process's `/proc/PID/mem`.
    pub(crate) fn new(memory: File) -> Self {
        Self { memory, blocks: BTreeMap::new(), breakpoints: BTreeMap::new() }
    }

    /// The block that starts at an address.
    pub(crate) fn block(&mut self, start: u64) -> Result<&Block> {
        match self.blocks.entry(start) {
            Entry::Occupied(block) => Ok(block.into_mut()),
            Entry::Vacant(place) => {
                let mut bytes = vec![0; BLOCK_BYTES];
                // Fewer bytes at the end of a mapping.
                let length = self.memory.read_at(&mut bytes, start)?;
                bytes.truncate(length);
                for (address, byte) in self.breakpoints.range(start..start + length as u64) {
                    bytes[(address - start) as usize] = *byte;
                }
                let block = Block::decode(&bytes, start);
                Ok(place.insert(block.ok_or_else(|| format!("no code at {start:#x}"))?))
            }
        }
    }

    /// The blocks that the process has entered, by start address.
    pub(crate) fn blocks(&self) -> &BTreeMap<u64, Block> {
        &self.blocks
    }

    /// Stops the process before the instruction at an address.
    pub(crate) fn break_at(&mut self, address: u64) -> Result<()> {
        if let Entry::Vacant(place) = self.breakpoints.entry(address) {
            let mut byte = [0];
            self.memory.read_exact_at(&mut byte, address)?;
            self.memory.write_all_at(&[INT3], address)?;
            place.insert(byte[0]);
        }
        Ok(())
    }

    /// Lets the instruction at an address be executed again.
    pub(crate) fn unbreak(&mut self, address: u64) -> Result<()> {
        if let Some(byte) = self.breakpoints.remove(&address) {
            self.memory.write_all_at(&[byte], address)?;
        }
        Ok(())
    }

    /// Restores the original code.
    pub(crate) fn unbreak_all(&mut self) -> Result<()> {
        while let Some((address, byte)) = self.breakpoints.pop_first() {
            self.memory.write_all_at(&[byte], address)?;
        }
        Ok(())
    }
}
