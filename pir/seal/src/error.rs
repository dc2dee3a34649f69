//! What can go wrong here, without any bytes of a query in it.

/// Why a BFV operation was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Bytes or entries of a plane of the wrong length.
    #[error("{what}: expected {expected}, found {found}")]
    Size {
        /// What was read, and its unit.
        what: &'static str,
        /// The length it must have.
        expected: usize,
        /// The length it had.
        found: usize,
    },
    /// Bytes that do not start with the marker and version of their format.
    #[error("{what}: unknown version")]
    Version {
        /// What was read.
        what: &'static str,
    },
    /// A residue that is not below its prime.
    #[error("{what}: a residue is out of range")]
    Residue {
        /// What was read.
        what: &'static str,
    },
    /// A stored secret key whose checksum does not match.
    #[error("the secret key is damaged: its checksum does not match")]
    Checksum,
    /// A coefficient of the scan's secret that the plaintext modulus cannot carry.
    #[error("a coefficient of the scan's secret is out of range")]
    Coefficient,
    /// SEAL does not accept the parameter set, or changed it.
    #[error("SEAL does not accept the parameter set")]
    Parameters,
    /// SEAL wrote an object in a format that is not the expected one.
    #[error("{what}: unexpected serialization by SEAL")]
    Format {
        /// What was written.
        what: &'static str,
    },
    /// SEAL's encoder refused its operand.
    #[error("{call} failed")]
    Encoder {
        /// The C function.
        call: &'static str,
    },
    /// SEAL refused: malformed operands, a transparent result.
    #[error("{call} failed with code {code:#x}")]
    Library {
        /// The C function.
        call: &'static str,
        /// Its HRESULT.
        code: u32,
    },
    /// The system's randomness cannot be read.
    #[error("the system's randomness is not available")]
    Randomness(#[source] std::io::Error),
}
