//! One choice of machine code for everything that answers queries.

use crate::{inline, scan};

/// The kernels of a process, chosen together by the name of the scan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels {
    /// For the scan.
    pub scan: scan::Kernel,
    /// For products with inline keys.
    pub inline: inline::Kernel,
}

impl Kernels {
    /// The fastest that this machine runs.
    pub fn best() -> Self {
        Self { scan: scan::Kernel::best(), inline: inline::Kernel::best() }
    }

    /// The scan's kernel of that name and, for the rest, the fastest that needs no wider registers;
    /// `None` if this machine does not run it.
    pub fn from_name(name: &str) -> Option<Self> {
        let scan = scan::Kernel::from_name(name)?;
        let inline = match scan {
            scan::Kernel::Scalar => inline::Kernel::Scalar,
            // Available where the scan's is.
            scan::Kernel::Avx2 | scan::Kernel::AvxVnni => inline::Kernel::Avx2,
            scan::Kernel::Neon | scan::Kernel::Avx512Vnni | scan::Kernel::Amx => {
                inline::Kernel::best()
            }
        };
        Some(Self { scan, inline })
    }

    /// The scan kernel's name.
    pub fn name(self) -> &'static str {
        self.scan.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_the_scan_names_a_set_that_runs() {
        for scan in scan::Kernel::available() {
            let kernels = Kernels::from_name(scan.name()).unwrap();
            assert_eq!((kernels.scan, kernels.name()), (scan, scan.name()));
            assert!(kernels.inline.is_available());
        }
        assert_eq!(Kernels::from_name(Kernels::best().name()), Some(Kernels::best()));
        assert_eq!(Kernels::from_name("none"), None);
    }
}
