//! The kernels: which exist, which of them this machine supports, and one choice for everything
//! that answers queries.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::detect;

/// The kernels of a process, chosen together by the name of the scan kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels {
    /// For the scan.
    pub scan: ScanKernel,
    /// For products with inline keys.
    pub inline: VectorKernel,
}

impl Kernels {
    /// The fastest kernels that this machine supports.
    pub fn best() -> Self {
        Self { scan: ScanKernel::best(), inline: VectorKernel::best() }
    }

    /// The scan kernel with this name and, for the rest, the fastest kernel that needs no wider
    /// registers. `None` if this machine does not support the scan kernel.
    pub fn from_name(name: &str) -> Option<Self> {
        let scan = ScanKernel::from_name(name)?;
        let inline = match scan {
            ScanKernel::Scalar => VectorKernel::Scalar,
            // This kernel is available whenever the scan kernel is.
            ScanKernel::Avx2 | ScanKernel::AvxVnni => VectorKernel::Avx2,
            ScanKernel::Neon | ScanKernel::Avx512Vnni | ScanKernel::Amx => VectorKernel::best(),
        };
        Some(Self { scan, inline })
    }

    /// The scan kernel's name.
    pub fn name(self) -> &'static str {
        self.scan.name()
    }
}

/// Kernels of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScanKernel {
    /// Portable code in a form that compilers vectorise.
    Scalar,
    /// 16-bit multiply-adds on 32-byte registers.
    Avx2,
    /// 8-bit multiply-adds on 16-byte registers (`sdot`), ARM.
    Neon,
    /// 8-bit multiply-adds on 32-byte registers (`vpdpbusd`), for processors without AVX-512.
    AvxVnni,
    /// 8-bit multiply-adds on 64-byte registers (`vpdpbusd`).
    Avx512Vnni,
    /// 8-bit matrix tiles (`tdpbsud`), Sapphire Rapids and later. With only one query there is
    /// nothing to share, and a tile's 16 strided loads are slower than sequential reads. A single
    /// query is therefore scanned with the code of [`Avx512Vnni`](Self::Avx512Vnni).
    Amx,
}

impl ScanKernel {
    /// All kernels, slowest first.
    pub const ALL: [Self; 6] =
        [Self::Scalar, Self::Avx2, Self::Neon, Self::AvxVnni, Self::Avx512Vnni, Self::Amx];

    /// The kernels that this machine supports, slowest first. The scalar one is always among them.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    /// The fastest kernel that this machine supports.
    pub fn best() -> Self {
        Self::available().next_back().unwrap_or(Self::Scalar)
    }

    /// The kernel's name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Neon => "neon-dotprod",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Amx => "amx",
        }
    }

    /// The kernel with this name, if this machine supports it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().find(|kernel| kernel.name() == name)
    }

    /// Whether the processor has the instructions and the operating system allows them.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => detect::avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => detect::avx_vnni(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => detect::avx512_vnni(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => detect::amx(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => detect::dotprod(),
            // The kernel belongs to another architecture.
            _ => false,
        }
    }
}

/// Kernels of hints and of products with inline keys, named by the registers that they use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VectorKernel {
    /// Portable code: the reference.
    Scalar,
    /// Registers of 32 bytes.
    Avx2,
    /// Registers of 64 bytes: AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl VectorKernel {
    /// All kernels, slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The kernels that this machine supports, slowest first. The scalar one is always among them.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    /// The fastest kernel that this machine supports.
    pub fn best() -> Self {
        Self::available().next_back().unwrap_or(Self::Scalar)
    }

    /// The kernel's name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The kernel with this name, if this machine supports it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().find(|kernel| kernel.name() == name)
    }

    /// Whether the processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => detect::avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => detect::avx512(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_the_scan_names_a_set_that_runs() {
        for scan in ScanKernel::available() {
            let kernels = Kernels::from_name(scan.name()).unwrap();
            assert_eq!((kernels.scan, kernels.name()), (scan, scan.name()));
            assert!(kernels.inline.is_available());
        }
        assert_eq!(Kernels::from_name(Kernels::best().name()), Some(Kernels::best()));
        assert_eq!(Kernels::from_name("none"), None);
    }
}
