//! A run of this program under ptrace, from jump to jump.
//!
//! **Flow.** The parent starts its own executable again with the name of a scenario and of a
//! kernel, and the number of a secret. The child requests to be traced, and marks the ends of three
//! phases with a signal:
//!
//! 1. detection of the processor: traced, and the parent hides the features that the kernel does
//!    not use;
//! 2. the scenario with a fixed secret, so that lazily created tables exist, and preparation;
//! 3. the scenario with its secret: traced, and recorded.
//!
//! While it is traced, the child stops at a breakpoint at the end of every block of instructions,
//! and the parent evaluates the jump there.
//!
//! **Why not something simpler.** Single steps would need no decoding of instructions, but in a
//! virtual machine each takes 30 µs, and there are 80 million of them.
//!
//! **Assumptions.** One thread, fixed addresses (no randomisation), a fixed environment and
//! arguments of equal length. Two runs therefore differ only by their secret, allocator included.

use std::error::Error;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::{env, hint};

use iced_x86::{Code as Opcode, FlowControl, Instruction};
use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::sys::personality::{self, Persona};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use opaque_pir::machine::VectorKernel;
use opaque_secrets::sampling::{Stream, Ternary};

use super::code::{Code, is_taken, repeats};
use super::scenarios;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The first argument of a child.
pub(crate) const CHILD: &str = "traced-child";
/// Ends a phase. Nothing else sends it.
const MARK: Signal = Signal::SIGUSR1;

/// The child's side.
///
/// # Errors
/// Tracing is not permitted, or there is no such scenario or kernel.
pub(crate) fn child(name: &str, kernel: &str, secret: &str) -> Result<()> {
    let scenario = scenarios::find(name).ok_or("no such scenario")?;
    let secret = secret.parse()?;
    ptrace::traceme().map_err(|error| not_permitted("ptrace", error))?;
    raise(MARK)?;
    // Both detect the processor at their first use.
    let found = VectorKernel::best();
    Stream::new(&[0; 32], 0).fill(&Ternary, &mut [0], |value, sample| *value = sample);
    raise(MARK)?;
    if found.name() != kernel {
        return Err(format!("kernel {kernel} was asked for, {} was found", found.name()).into());
    }
    scenario(0)();
    let traced = hint::black_box(scenario(secret));
    raise(MARK)?;
    traced();
    raise(MARK)?;
    Ok(())
}

fn not_permitted(call: &str, error: Errno) -> String {
    format!(
        "{call} is not permitted here ({error}), and this test needs it: run it outside debuggers \
         and containers, or permit the call in the container's seccomp profile"
    )
}

/// One block of instructions that was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Address of the first instruction.
    pub(crate) start: u64,
    /// Address of the last instruction.
    pub(crate) end: u64,
    /// How often the last instruction repeats, if it is a repeating one.
    repeats: u64,
}

/// What a run did in its last phase.
pub(crate) struct Trace {
    /// In the order of execution.
    pub(crate) steps: Vec<Step>,
    /// The number of instructions. Repeating ones count once.
    pub(crate) instructions: usize,
    /// Addresses of divisions that were executed.
    pub(crate) divisions: Vec<u64>,
    /// The child's `/proc/PID/maps`.
    maps: String,
}

impl Trace {
    /// Runs a scenario and records it.
    ///
    /// # Errors
    /// Tracing is not permitted, or the child fails.
    pub(crate) fn record(name: &str, kernel: VectorKernel, secret: u8) -> Result<Self> {
        let tracee = Tracee::start(name, kernel, secret)?;
        let hidden = hidden_from(kernel);
        tracee.trace_to_mark(&mut tracee.code()?, hidden, |_| {})?;
        tracee.run_to_mark()?;
        let (mut steps, mut code) = (Vec::new(), tracee.code()?);
        tracee.trace_to_mark(&mut code, 0, |step| steps.push(step))?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", tracee.0))?;
        tracee.finish()?;
        let blocks = code.blocks();
        let instructions = steps.iter().map(|step| blocks[&step.start].instructions).sum();
        let divisions = blocks.values().flat_map(|block| &block.divisions).copied().collect();
        Ok(Self { steps, instructions, divisions, maps })
    }

    /// How to find the source of the instruction at an address.
    pub(crate) fn locate(&self, address: u64) -> String {
        let mappings = || {
            self.maps.lines().filter_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (start, end) = range.split_once('-')?;
                let parse = |hex| u64::from_str_radix(hex, 16).ok();
                Some((parse(start)?..parse(end)?, rest.split_ascii_whitespace().nth(4)?))
            })
        };
        let found = mappings().find(|(range, _)| range.contains(&address));
        let first = found.and_then(|(_, file)| mappings().find(|(_, other)| *other == file));
        first.map_or_else(
            || format!("{address:#x}, in no file"),
            |(range, file)| format!("addr2line -Cife {file} {:#x}", address - range.start),
        )
    }
}

/// Features beyond a kernel: bits of EBX in leaf 7 of CPUID.
fn hidden_from(kernel: VectorKernel) -> u64 {
    // F, DQ, IFMA, CD, BW, VL.
    const AVX512: u64 = 1 << 16 | 1 << 17 | 1 << 21 | 1 << 28 | 1 << 30 | 1 << 31;
    const AVX2: u64 = 1 << 5;
    match kernel {
        VectorKernel::Scalar => AVX512 | AVX2,
        VectorKernel::Avx2 => AVX512,
        _ => 0,
    }
}

/// A child that is stopped. The kernel kills it when this process ends.
struct Tracee(Pid);

impl Tracee {
    /// Starts a child and takes it to its first mark.
    fn start(name: &str, kernel: VectorKernel, secret: u8) -> Result<Self> {
        // Both settings are inherited. Parent and child take turns, which is faster on one
        // processor.
        personality::get()
            .and_then(|persona| personality::set(persona | Persona::ADDR_NO_RANDOMIZE))
            .map_err(|error| not_permitted("personality(ADDR_NO_RANDOMIZE)", error))?;
        let mut processor = CpuSet::new();
        processor.set(sched_getcpu()?)?;
        sched_setaffinity(Pid::from_raw(0), &processor)?;
        let child = Command::new(env::current_exe()?)
            .args([CHILD, name, kernel.name(), &secret.to_string()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let tracee = Self(Pid::from_raw(child.id().try_into()?));
        match tracee.wait()? {
            Some(MARK) => ptrace::setoptions(tracee.0, Options::PTRACE_O_EXITKILL)?,
            status => return Err(format!("a first mark was expected, not {status:?}").into()),
        }
        Ok(tracee)
    }

    /// The signal that stops the child, or none at its successful end.
    fn wait(&self) -> Result<Option<Signal>> {
        match waitpid(self.0, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Stopped(_, signal) => Ok(Some(signal)),
            WaitStatus::Exited(_, 0) => Ok(None),
            status => Err(format!("the traced child has failed: {status:?}").into()),
        }
    }

    fn code(&self) -> Result<Code> {
        let path = format!("/proc/{}/mem", self.0);
        Ok(Code::new(File::options().read(true).write(true).open(path)?))
    }

    fn run_to_mark(&self) -> Result<()> {
        ptrace::cont(self.0, None)?;
        match self.wait()? {
            Some(MARK) => Ok(()),
            status => Err(format!("a mark was expected, not {status:?}").into()),
        }
    }

    /// Reports every block that is executed up to the next mark. Clears the bits `hidden` of EBX in
    /// the result of CPUID leaf 7.
    fn trace_to_mark(
        &self,
        code: &mut Code,
        hidden: u64,
        mut each: impl FnMut(Step),
    ) -> Result<()> {
        let mut registers = ptrace::getregs(self.0)?;
        loop {
            let start = registers.rip;
            let end = code.block(start)?.end;
            code.break_at(end.ip())?;
            ptrace::cont(self.0, None)?;
            let status = self.wait()?;
            registers = ptrace::getregs(self.0)?;
            let mut step = Step { start, end: end.ip(), repeats: 0 };
            match status {
                Some(MARK) => {
                    each(step);
                    return code.unbreak_all();
                }
                Some(Signal::SIGTRAP) if registers.rip == end.ip() + 1 => registers.rip = end.ip(),
                status => {
                    let at = registers.rip;
                    return Err(format!("{status:?} at {at:#x} in the block of {start:#x}").into());
                }
            }
            if repeats(&end) {
                step.repeats = registers.rcx;
            }
            each(step);
            let leaf_7 = end.code() == Opcode::Cpuid && (registers.rax, registers.rcx) == (7, 0);
            self.pass(code, &end, &mut registers)?;
            if leaf_7 {
                registers.rbx &= !hidden;
                ptrace::setregs(self.0, registers)?;
            }
        }
    }

    /// Executes the last instruction of a block. The child is stopped at its breakpoint.
    fn pass(
        &self,
        code: &mut Code,
        end: &Instruction,
        registers: &mut user_regs_struct,
    ) -> Result<()> {
        let target = match end.flow_control() {
            FlowControl::UnconditionalBranch => Some(end.near_branch_target()),
            FlowControl::ConditionalBranch => is_taken(end, registers.eflags)
                .map(|taken| if taken { end.near_branch_target() } else { end.next_ip() }),
            _ => None,
        };
        if let Some(target) = target {
            registers.rip = target;
            return Ok(ptrace::setregs(self.0, *registers)?);
        }
        code.unbreak(end.ip())?;
        ptrace::setregs(self.0, *registers)?;
        if end.flow_control() == FlowControl::Next {
            // A single step would be one repetition.
            code.break_at(end.next_ip())?;
            ptrace::cont(self.0, None)?;
        } else {
            ptrace::step(self.0, None)?;
        }
        match self.wait()? {
            Some(Signal::SIGTRAP) => {}
            status => return Err(format!("{status:?} at {:#x}", end.ip()).into()),
        }
        *registers = ptrace::getregs(self.0)?;
        if end.flow_control() == FlowControl::Next {
            registers.rip = end.next_ip();
            ptrace::setregs(self.0, *registers)?;
            code.unbreak(end.next_ip())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        ptrace::cont(self.0, None)?;
        match self.wait()? {
            None => Ok(()),
            status => Err(format!("the child's end was expected, not {status:?}").into()),
        }
    }
}
